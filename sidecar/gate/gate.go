package gate

import (
	"context"
	"log/slog"
	"net/url"
	"sync"

	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/pep"
	"github.com/jobward/jobward/sidecar/route"
)

// Headers gives all values of a header by its canonical name ("Job-Token"); http.Header is one.
type Headers interface {
	Values(name string) []string
}

// Request is a request to the protected service, as a door has seen it.
type Request struct {
	route.Request
	// Header has the headers that the client sent.
	Header Headers
	// Form holds the parameters of the body where the door saw it; nil where it did not.
	Form url.Values
}

// WithoutToken says what becomes of requests that show no job token where their route has one.
type WithoutToken uint8

const (
	// Judge lets through what an anonymous visitor may do (public data), and refuses the rest with 401.
	Judge WithoutToken = iota
	// Pass leaves them to the service, which has other ways to know people. Job tokens are judged all the same.
	Pass
	// Deny refuses them with 401.
	Deny
)

// Gate judges requests. Its fields are set before the first one and not changed afterwards; it is safe for concurrent use and not copied.
type Gate struct {
	// Asker is asked; it must be set.
	Asker pep.Asker
	// Routes say what requests ask; it must be set.
	Routes *route.Table
	// WithoutToken says what becomes of requests without a token.
	WithoutToken WithoutToken
	// Owner finds the project of routes whose target is [route.Owner]. An error of KindNotFound says that nothing owns what is asked for; any
	// other leaves the request undecided. Nil: such routes are refused as if nothing did, and the log says so once. See [Owners].
	Owner func(context.Context, *Request, route.Match) (authz.Target, error)
	// Tell puts the reason of a refusal into the header Jobward-Reason of the answer.
	Tell bool
	// Logger takes each refusal at Debug with its reason and route, never with a token, a query or a path; nil logs nothing.
	Logger *slog.Logger
	// Counts counts verdicts; nil counts nothing.
	Counts *Counts

	ownerless sync.Once // the log was told that Owner is missing
}

// Verdict is what becomes of one request.
type Verdict struct {
	// Allow lets the request through to the service.
	Allow bool
	// Route is the one that matched; nil when none did.
	Route *route.Route
	// Identity is whose job it is; zero for an anonymous visitor, and for an open route.
	Identity pep.Identity
	// Question is what was asked, so that it can be asked again while the request is under way; its Token is zero where nothing was asked.
	Question authz.Request
	// Revision is that of the decision; zero where nothing was decided.
	Revision authz.Revision
	// Query is the raw query without job tokens, for what is passed on and logged. All other bytes, and their order, are as they were.
	Query string
	// DropAuthorization tells that the Authorization header held a job token and must not be passed on. The headers in Stripped never are.
	DropAuthorization bool

	// Of a refusal: the reason (ReasonNone when it was not decided), and how it looks: status, headers by name and value, and body. The
	// slice is read only.
	Reason      authz.Reason
	Status      int
	Header      [][2]string
	ContentType string
	Body        string
}

// ownJob is the permission that any live token has.
const ownJob authz.Permission = "read_own_job"

// Judge decides one request. It never fails: what cannot be decided is a refusal with 503.
func (g *Gate) Judge(ctx context.Context, r *Request) Verdict {
	var v Verdict
	m, err := g.Routes.Match(&r.Request)
	v.Route = m.Route
	s := g.look(r, m.Route)
	v.Query, v.DropAuthorization = s.query, s.ours
	var o Outcome
	switch {
	case err != nil:
		o = unrouted(err)
	case s.overrides && (s.token != "" || g.WithoutToken != Pass): // with Pass the service guards itself against people
		o = Overridden
	case s.private:
		o, v.Reason = Dead, authz.TokenUnknown
	case s.two:
		o = Ambiguous
	case m.Route.Open:
		o = AllowedToAll
	case s.token == "":
		o = g.anonymous(ctx, r, m, &v)
	case len(s.token) > token.MaxLen:
		o, v.Reason = Dead, authz.TokenUnknown
	default:
		o = g.job(ctx, r, m, s.token, &v)
	}
	g.finish(ctx, &v, o)
	return v
}

func unrouted(err error) Outcome {
	switch authz.KindOf(err) {
	case authz.KindNotFound:
		return Unrouted
	case authz.KindInvalid:
		return BadRequest
	}
	return Undecided
}

// anonymous decides a request without a job token.
func (g *Gate) anonymous(ctx context.Context, r *Request, m route.Match, v *Verdict) Outcome {
	switch g.WithoutToken {
	case Judge:
	case Pass:
		return Passed
	default:
		return NoToken
	}
	if m.Route.Target == route.OwnJob || m.Route.Target == route.ThatJob {
		return NoToken // nobody has no job
	}
	target, o := g.target(ctx, r, m)
	switch o {
	case Allowed:
	case NotFound:
		return NoToken // as for what is there and not public
	default:
		return o
	}
	v.Question = authz.Request{Token: authz.Nobody, Target: target, Permission: m.Route.Permission, Surface: m.Route.Surface}
	d, err := g.ask(ctx, v)
	if err != nil {
		return undecided(err)
	}
	switch {
	case d.Allow:
		return AllowedAnonymous
	case d.Reason == authz.LeaseLapsed:
		return Undecided
	}
	return NoToken
}

// job decides a request with a job token.
func (g *Gate) job(ctx context.Context, r *Request, m route.Match, text string, v *Verdict) Outcome {
	v.Question = authz.Request{Token: g.Asker.Digest(text), Permission: m.Route.Permission, Surface: m.Route.Surface}
	target, o := g.target(ctx, r, m)
	switch o {
	case Allowed:
		v.Question.Target = target
	case NotFound: // is the token alive? Dead is dead, whatever is asked for.
		v.Question.Permission, v.Question.Surface = ownJob, authz.SurfaceDefault
	default:
		return o
	}
	d, err := g.ask(ctx, v)
	if err != nil {
		return undecided(err)
	}
	switch {
	case d.Allow && o == NotFound:
		v.Reason = authz.TargetNotFound
		return NotFound
	case d.Allow && m.Route.Target == route.ThatJob && d.Job != m.Job:
		v.Reason = authz.ReasonNone // the PDP has refused nothing
		return Forbidden
	case d.Allow:
		v.Identity = pep.Identity{Job: d.Job, Source: d.Source, User: d.User, Target: d.Target}
		return Allowed
	}
	switch pep.Refusal(&d).Kind {
	case authz.KindUnauthenticated:
		return Dead
	case authz.KindForbidden:
		if pep.UserRefused(d.Reason) {
			return UserRefused
		}
		if pep.OfCaller(d.Reason) {
			return CallerRefused
		}
		return Forbidden
	case authz.KindNotFound:
		return NotFound
	}
	return Undecided
}

// ask asks the question of v, and notes in v what the decision tells.
func (g *Gate) ask(ctx context.Context, v *Verdict) (authz.Decision, error) {
	d, err := g.Asker.Check(ctx, v.Question)
	if err == nil {
		g.Counts.Decided(&d)
		v.Reason, v.Revision = d.Reason, d.Revision
	}
	return d, err
}

// undecided sorts the errors of an Asker: a question that cannot be asked is the client's fault, everything else is nobody's answer.
func undecided(err error) Outcome {
	if authz.KindOf(err) == authz.KindInvalid {
		return BadRequest
	}
	return Undecided
}

// finish words a verdict, counts it, and tells the log.
func (g *Gate) finish(ctx context.Context, v *Verdict, o Outcome) {
	g.Counts.Judged(o)
	if o.allows() {
		v.Allow, v.Reason = true, authz.ReasonNone
		return
	}
	if o == NoToken && v.Reason == authz.ReasonNone {
		v.Reason = authz.TokenMissing
	}
	g.word(v, o)
	if g.Logger != nil && g.Logger.Enabled(ctx, slog.LevelDebug) {
		name := "none"
		if v.Route != nil {
			name = v.Route.Name
		}
		g.Logger.DebugContext(ctx, "refused", "outcome", o.String(), "reason", v.Reason.String(), "route", name, "status", v.Status)
	}
}
