package pep

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/jobward/jobward/pdp/authz"
)

// guarded is a service with one stream, behind the interceptor of a guard: it sends its
// caller's job and user for every message, and counts how often it ran.
type guarded struct {
	asker *said
	tell  bool
	want  error // what says what the call needs fails with this
	ran   int
	conn  *grpc.ClientConn
}

func (g *guarded) serve(t *testing.T) {
	t.Helper()
	guard := &Guard{Asker: g.asker, Tell: g.tell}
	server := grpc.NewServer(grpc.WaitForHandlers(true), grpc.StreamInterceptor(guard.Stream(func(ctx context.Context, method string) (Wanted, error) {
		if method != "/test.Echo/Who" {
			t.Errorf("asked about %s", method)
		}
		return Wanted{Token: TokenOfMetadata(ctx), Target: authz.Target{ID: 2}, Permission: "p", Surface: authz.SurfaceREST}, g.want
	})))
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "test.Echo", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: "Who", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			g.ran++
			for {
				var m wrapperspb.StringValue
				if err := s.RecvMsg(&m); err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
				id, ok := IdentityOf(s.Context())
				if !ok {
					m.Value = "nobody"
				} else if m.Value += ":" + string(id.Job); id != (Identity{"j", 1, 3, 2}) {
					t.Errorf("%+v", id)
				}
				if err := s.SendMsg(&m); err != nil {
					return err
				}
			}
		},
	}}}, nil)
	at := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	if g.conn, err = grpc.NewClient("unix:"+at, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.conn.Close()
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// call says two things on one stream and gives what was answered, the trailer and the error.
func (g *guarded) call(t *testing.T, token string) (answers []string, trailer metadata.MD, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "job-token", token)
	}
	s, err := g.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Echo/Who")
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"a", "b"} {
		if s.SendMsg(wrapperspb.String(word)) != nil {
			break // Recv says why
		}
	}
	s.CloseSend()
	for {
		var m wrapperspb.StringValue
		if err := s.RecvMsg(&m); err != nil {
			if err == io.EOF {
				err = nil
			}
			return answers, s.Trailer(), err
		}
		answers = append(answers, m.Value)
	}
}

// TestGuardStream: a stream that is allowed has its identity in the handler's context; one
// that is not ends before the handler runs, with its reason where that is wanted.
func TestGuardStream(t *testing.T) {
	allow := authz.Decision{Allow: true, Reason: authz.AllowedListed, Job: "j", Source: 1, User: 3, Target: 2}
	deny := func(r authz.Reason) authz.Decision {
		return authz.Decision{Reason: r, Source: 1, Target: 2, Job: "secret-job"}
	}
	for _, c := range []struct {
		name    string
		g       guarded
		token   string
		code    codes.Code
		answers string
		reason  string // in the trailer
		asked   bool
	}{
		{"allowed", guarded{asker: &said{d: allow}, tell: true}, "tok", codes.OK, "a:j b:j", "", true},
		{"refused", guarded{asker: &said{d: deny(authz.NotMember)}, tell: true}, "tok", codes.NotFound, "", "not_member", true},
		{"refused, silently", guarded{asker: &said{d: deny(authz.NotMember)}}, "tok", codes.NotFound, "", "", true},
		{"dead", guarded{asker: &said{d: deny(authz.JobErased)}, tell: true}, "tok", codes.Unauthenticated, "", "job_erased", true},
		{"nobody's", guarded{asker: &said{d: deny(authz.TokenMissing)}, tell: true}, "tok", codes.Unauthenticated, "", "token_missing", true},
		{"undecided", guarded{asker: &said{err: authz.Errorf(authz.KindInternal, "X", "x")}, tell: true}, "tok", codes.Unavailable, "", "", true},
		{"no token", guarded{asker: &said{d: allow}, tell: true}, "", codes.Unauthenticated, "", "", false},
		{"not guarded", guarded{asker: &said{d: deny(authz.NotMember)}, want: ErrUnguarded}, "tok", codes.OK, "nobody nobody", "", false},
		{"a bad question", guarded{asker: &said{d: allow}, want: authz.Invalid("name", "is too long")}, "tok", codes.InvalidArgument, "", "", false},
		{"a fault", guarded{asker: &said{d: allow}, want: errors.New("boom")}, "tok", codes.Unavailable, "", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &c.g
			g.serve(t)
			answers, trailer, err := g.call(t, c.token)
			if status.Code(err) != c.code || strings.Join(answers, " ") != c.answers {
				t.Errorf("%q, %v; want %q, %v", answers, err, c.answers, c.code)
			}
			if got := strings.Join(trailer.Get(ReasonHeader), ","); got != c.reason {
				t.Errorf("the trailer says %q, want %q", got, c.reason)
			}
			if ran := g.ran; ran != map[bool]int{true: 1, false: 0}[c.code == codes.OK] {
				t.Errorf("the handler ran %d times", ran)
			}
			if asked := g.asker.req == (authz.Request{Token: digestOf("tok"), Target: authz.Target{ID: 2}, Permission: "p", Surface: authz.SurfaceREST}); asked != c.asked {
				t.Errorf("asked %+v", g.asker.req)
			}
			if err != nil && (strings.Contains(err.Error(), "secret-job") || strings.Contains(err.Error(), "boom")) {
				t.Errorf("it tells too much: %v", err)
			}
		})
	}
}
