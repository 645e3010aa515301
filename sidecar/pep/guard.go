package pep

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

// Wanted is what a call of the service that is guarded needs.
type Wanted struct {
	// Token is the text that was shown as a job token; empty when none was.
	Token string
	// Target, Permission and Surface are those of the question.
	Target     authz.Target
	Permission authz.Permission
	Surface    authz.Surface
}

// ErrUnguarded is what a function that says what a call needs returns for one that
// needs nothing: it is served to everybody, without an Identity.
var ErrUnguarded = errors.New("the call is not guarded")

// Identity is whose job makes a call that was allowed.
type Identity struct {
	Job    authz.JobID
	Source authz.ProjectID // the project it runs in
	User   authz.UserID    // who caused it
	Target authz.ProjectID // what it was allowed on
}

type identityKey struct{}

// IdentityOf gives the identity that a guard found; ok is false where none has looked.
func IdentityOf(ctx context.Context) (id Identity, ok bool) {
	id, ok = ctx.Value(identityKey{}).(Identity)
	return id, ok
}

// Asker is what a guard asks: a [Decider], or a fake.
type Asker interface {
	authz.Decider
	// Digest is that of [Decider.Digest].
	Digest(text string) authz.Digest
}

// Guard lets calls through that a job token allows.
type Guard struct {
	// Asker is asked; it must be set.
	Asker Asker
	// Tell puts the reason of a refusal into the header Jobward-Reason, or the metadata of
	// that name. Without it callers see no more than the status, which does not tell
	// them whether a project exists that they may not see.
	Tell bool
	// Logger takes each refusal at Debug, with its reason; nil logs nothing.
	Logger *slog.Logger
}

// ReasonHeader is where a refusal says its reason, when the settings want that.
const ReasonHeader = "Jobward-Reason"

// refusal is why a call is not served.
type refusal struct {
	err    *authz.Error
	reason authz.Reason // ReasonNone when it was not decided
}

// admit decides one call. The context it gives is for serving it.
func (g *Guard) admit(ctx context.Context, w Wanted, err error) (context.Context, *refusal) {
	switch {
	case errors.Is(err, ErrUnguarded):
		return ctx, nil
	case err != nil:
		return ctx, &refusal{err: wire.AsError(err)}
	case w.Token == "":
		return ctx, &refusal{err: tokenMissing()}
	}
	d, err := g.Asker.Check(ctx, authz.Request{Token: g.Asker.Digest(w.Token), Target: w.Target, Permission: w.Permission, Surface: w.Surface})
	if err != nil {
		return ctx, &refusal{err: wire.AsError(err)}
	}
	if d.Allow {
		return context.WithValue(ctx, identityKey{}, Identity{d.Job, d.Source, d.User, d.Target}), nil
	}
	if g.Logger != nil {
		g.Logger.DebugContext(ctx, "refused", "reason", d.Reason, "job", d.Job, "source", d.Source, "target", d.Target, "permission", w.Permission, "revision", d.Revision)
	}
	return ctx, &refusal{Refusal(&d), d.Reason}
}

func tokenMissing() *authz.Error {
	return authz.Errorf(authz.KindUnauthenticated, "TOKEN_MISSING", "a job token is needed")
}

// Refusal says how a denial looks from outside (SEMANTICS §§0.4, 15): as if the target
// did not exist, unless the answer shows that the user may see it or is not about it.
// The kinds are KindUnauthenticated, KindUnavailable, KindForbidden and KindNotFound.
func Refusal(d *authz.Decision) *authz.Error {
	switch r := d.Reason; {
	case r.Dead():
		return authz.Errorf(authz.KindUnauthenticated, "TOKEN_DEAD", "the job token is not valid, or its job has ended")
	case r == authz.TokenMissing:
		return tokenMissing()
	case r == authz.LeaseLapsed:
		return authz.Errorf(authz.KindUnavailable, "LEASE_LAPSED", "it could not be decided; try again")
	case OfCaller(r):
		return authz.Errorf(authz.KindForbidden, "FORBIDDEN", "the job may not do this")
	case d.Role > authz.RoleMinimal, r == authz.PublicSetOnly, d.Target != 0 && d.Target == d.Source:
		return authz.Errorf(authz.KindForbidden, "FORBIDDEN", "the job may not do this on the project")
	}
	return authz.Errorf(authz.KindNotFound, "NOT_FOUND", "there is no such project")
}

// OfCaller reports whether a denial is about the user, what the job limited itself to, or the question, and not about the target: the answer
// would be the same for a project that does not exist.
func OfCaller(r authz.Reason) bool {
	return UserRefused(r) || r == authz.LimitedPermission || r == authz.LimitedTarget || r == authz.PermissionUnknown || r == authz.SurfaceClosed
}

// UserRefused reports whether a denial is about the state of the user who caused the job (SEMANTICS §6.2).
func UserRefused(r authz.Reason) bool {
	return r >= authz.UserMissing && r <= authz.UserPendingApproval
}

// Handler serves with next the requests that a job token allows: 401 without a live
// token, 404 where the target may not be seen, 403 where it may, 503 when nothing could
// be decided. wanted says what a request needs.
func (g *Guard) Handler(next http.Handler, wanted func(*http.Request) (Wanted, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want, err := wanted(r)
		ctx, no := g.admit(r.Context(), want, err)
		if no == nil {
			next.ServeHTTP(w, r.WithContext(ctx))
			return
		}
		status := wire.HTTPStatus(no.err)
		switch no.err.Kind {
		case authz.KindUnauthenticated:
			w.Header().Set("WWW-Authenticate", `Basic realm="jobward"`) // what git and docker wait for
		case authz.KindUnavailable, authz.KindExhausted, authz.KindInternal, authz.KindCanceled:
			status = http.StatusServiceUnavailable
			w.Header().Set("Retry-After", "1")
		}
		if g.Tell && no.reason != authz.ReasonNone {
			w.Header().Set(ReasonHeader, no.reason.String())
		}
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, no.err.Message, status)
	})
}

// CIUser is the user name that git and docker send with a job token.
const CIUser = "gitlab-ci-token"

// TokenOf finds the job token of a request: a bearer token, the password of the user
// [CIUser], or the header JOB-TOKEN, the first that is not blank. Tokens in parameters
// are for those who want them in their logs.
func TokenOf(r *http.Request) string {
	return firstToken(r.Header.Values("Authorization"), r.Header.Values("Job-Token"))
}

func firstToken(authorization, header []string) string {
	for _, a := range authorization {
		if t := tokenIn(a); t != "" {
			return t
		}
	}
	for _, t := range header {
		if t = strings.TrimSpace(t); t != "" {
			return t
		}
	}
	return ""
}

// tokenIn reads the value of an Authorization header.
func tokenIn(value string) string {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(value), " ")
	rest = strings.TrimSpace(rest)
	switch {
	case strings.EqualFold(scheme, "bearer"):
		return rest
	case strings.EqualFold(scheme, "basic"):
		text, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return ""
		}
		if user, password, ok := strings.Cut(string(text), ":"); ok && user == CIUser {
			return password
		}
	}
	return ""
}

// TokenOfMetadata is [TokenOf] for a gRPC call.
func TokenOfMetadata(ctx context.Context) string {
	return firstToken(metadata.ValueFromIncomingContext(ctx, "authorization"), metadata.ValueFromIncomingContext(ctx, "job-token"))
}

// Unary is [Guard.Handler] for unary gRPC calls. The statuses are UNAUTHENTICATED,
// NOT_FOUND, PERMISSION_DENIED and UNAVAILABLE.
func (g *Guard) Unary(wanted func(ctx context.Context, method string, req any) (Wanted, error)) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		want, err := wanted(ctx, info.FullMethod, req)
		ctx, no := g.admit(ctx, want, err)
		if no != nil {
			return nil, g.status(no, func(md metadata.MD) { grpc.SetTrailer(ctx, md) })
		}
		return next(ctx, req)
	}
}

// Stream is [Guard.Unary] for streams, which are decided when they open: what dies
// later goes on until its stream ends.
func (g *Guard) Stream(wanted func(ctx context.Context, method string) (Wanted, error)) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		want, err := wanted(stream.Context(), info.FullMethod)
		ctx, no := g.admit(stream.Context(), want, err)
		if no != nil {
			return g.status(no, stream.SetTrailer)
		}
		return next(srv, guardedStream{stream, ctx})
	}
}

func (g *Guard) status(no *refusal, trailer func(metadata.MD)) error {
	if g.Tell && no.reason != authz.ReasonNone {
		trailer(metadata.Pairs(strings.ToLower(ReasonHeader), no.reason.String()))
	}
	if k := no.err.Kind; k == authz.KindInternal || k == authz.KindExhausted || k == authz.KindCanceled {
		return wire.ToStatus(authz.Errorf(authz.KindUnavailable, "UNDECIDED", "it could not be decided; try again"))
	}
	return wire.ToStatus(no.err)
}

// guardedStream is a stream with the identity in its context.
type guardedStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s guardedStream) Context() context.Context { return s.ctx }
