package pep

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/jobward/jobward/pdp/authz"
)

// said is an Asker that gives one answer.
type said struct {
	d   authz.Decision
	err error
	req authz.Request
}

func (s *said) Check(_ context.Context, r authz.Request) (authz.Decision, error) {
	s.req = r
	return s.d, s.err
}

func (s *said) Digest(text string) authz.Digest { return digestOf(text) }

func TestGuard(t *testing.T) {
	deny := func(r authz.Reason) authz.Decision {
		return authz.Decision{Reason: r, Source: 1, Target: 2, Job: "secret-job"}
	}
	seen := func(d authz.Decision, role authz.Role) authz.Decision { d.Role = role; return d }
	for _, c := range []struct {
		name string
		said said
		http int
		grpc codes.Code
	}{
		{"allowed", said{d: authz.Decision{Allow: true, Reason: authz.AllowedListed, Job: "j", Source: 1, User: 3, Target: 2}}, 200, codes.OK},
		{"malformed", said{d: deny(authz.TokenMalformed)}, 401, codes.Unauthenticated},
		{"unknown", said{d: deny(authz.TokenUnknown)}, 401, codes.Unauthenticated},
		{"ended", said{d: deny(authz.JobNotRunning)}, 401, codes.Unauthenticated},
		{"source gone", said{d: deny(authz.SourceGone)}, 401, codes.Unauthenticated},
		{"blocked", said{d: deny(authz.UserBlocked)}, 403, codes.PermissionDenied},
		{"own limits", said{d: deny(authz.LimitedTarget)}, 403, codes.PermissionDenied},
		{"absent", said{d: deny(authz.TargetNotFound)}, 404, codes.NotFound},
		{"not listed", said{d: deny(authz.InboundNotListed)}, 404, codes.NotFound},
		{"no member", said{d: deny(authz.NotMember)}, 404, codes.NotFound},
		{"hidden feature", said{d: deny(authz.FeatureMembersOnly)}, 404, codes.NotFound},
		{"role too low", said{d: seen(deny(authz.RoleTooLow), authz.RoleGuest)}, 403, codes.PermissionDenied},
		{"archived, seen", said{d: seen(deny(authz.TargetArchived), authz.RoleDeveloper)}, 403, codes.PermissionDenied},
		{"archived, not seen", said{d: deny(authz.TargetArchived)}, 404, codes.NotFound},
		{"open to all but this", said{d: deny(authz.PublicSetOnly)}, 403, codes.PermissionDenied},
		{"lapsed", said{d: authz.Decision{Reason: authz.LeaseLapsed}}, 503, codes.Unavailable},
		{"no PDP", said{err: noPDP()}, 503, codes.Unavailable},
		{"overloaded", said{err: authz.Errorf(authz.KindExhausted, "X", "x")}, 503, codes.Unavailable},
		{"a fault", said{err: errors.New("boom")}, 503, codes.Unavailable},
		{"a bad question", said{err: authz.Invalid("target_project_path", "is too long")}, 400, codes.InvalidArgument},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &Guard{Asker: &c.said, Tell: true}
			var id Identity
			h := g.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { id, _ = IdentityOf(r.Context()) }),
				func(r *http.Request) (Wanted, error) {
					return Wanted{Token: TokenOf(r), Target: authz.Target{ID: 2}, Permission: "p"}, nil
				})
			r := httptest.NewRequest("GET", "/", nil)
			r.SetBasicAuth(CIUser, "tok")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.http {
				t.Errorf("%d, want %d: %s", w.Code, c.http, w.Body)
			}
			if got := w.Header().Get(ReasonHeader); !c.said.d.Allow && c.said.err == nil && got != c.said.d.Reason.String() {
				t.Errorf("reason %q", got)
			}
			if want := (Identity{"j", 1, 3, 2}); c.http == 200 && id != want {
				t.Errorf("%+v", id)
			}
			if c.said.req.Token != digestOf("tok") {
				t.Error("another token was asked about")
			}
			ctx := metadata.NewIncomingContext(context.Background(), metadata.Pairs("job-token", "tok"))
			_, err := g.Unary(func(ctx context.Context, _ string, _ any) (Wanted, error) {
				return Wanted{Token: TokenOfMetadata(ctx), Target: authz.Target{ID: 2}, Permission: "p"}, nil
			})(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/x/Y"}, func(ctx context.Context, _ any) (any, error) {
				if i, ok := IdentityOf(ctx); !ok || i.Job != "j" {
					t.Errorf("%+v", i)
				}
				return nil, nil
			})
			if status.Code(err) != c.grpc {
				t.Errorf("%v, want %v", err, c.grpc)
			}
		})
	}
}

func TestGuardWithoutAsking(t *testing.T) {
	g := &Guard{Asker: &said{d: authz.Decision{Allow: true}}}
	for want, err := range map[int]error{200: ErrUnguarded, 400: authz.Invalid("x", "y"), 503: errors.New("x"), 401: nil} {
		w := httptest.NewRecorder()
		g.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if _, ok := IdentityOf(r.Context()); ok {
				t.Error("an identity from nowhere")
			}
		}), func(*http.Request) (Wanted, error) { return Wanted{}, err }).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.Code != want {
			t.Errorf("%v: %d, want %d", err, w.Code, want)
		}
	}
}

func TestTokenOf(t *testing.T) {
	for _, c := range []struct{ header, value, want string }{
		{"Authorization", "Bearer abc", "abc"},
		{"Authorization", "bearer  abc ", "abc"},
		{"Authorization", "Basic Z2l0bGFiLWNpLXRva2VuOmFiYw==", "abc"},
		{"Authorization", "Basic Ym9iOmFiYw==", ""},
		{"Authorization", "Basic !", ""},
		{"Authorization", "Bearer", ""},
		{"JOB-TOKEN", " abc", "abc"},
		{"PRIVATE-TOKEN", "abc", ""},
	} {
		r := httptest.NewRequest("GET", "/?job_token=q", nil)
		r.Header.Set(c.header, c.value)
		if got := TokenOf(r); got != c.want {
			t.Errorf("%s: %s gives %q", c.header, c.value, got)
		}
	}
}
