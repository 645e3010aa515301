package gate

import (
	"context"
	"log/slog"
	"net/url"

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

// Gate judges requests. Its fields are set before the first one and not changed afterwards.
type Gate struct {
	// Asker is asked; it must be set.
	Asker pep.Asker
	// Routes say what requests ask; it must be set.
	Routes *route.Table
	// WithoutToken says what becomes of requests without a token.
	WithoutToken WithoutToken
	// Tell puts the reason of a refusal into the header Jobward-Reason of the answer.
	Tell bool
	// Logger takes each refusal at Debug with its reason and route, never with a token, a query or a path; nil logs nothing.
	Logger *slog.Logger
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
	// Query is the raw query without job tokens, for what is passed on and logged.
	Query string
	// DropAuthorization tells that the Authorization header held a job token and must not be passed on. The headers in Stripped never are.
	DropAuthorization bool

	// Of a refusal: the reason (ReasonNone when it was not decided), and how it looks: status, headers by name and value, and body.
	Reason      authz.Reason
	Status      int
	Header      [][2]string
	ContentType string
	Body        string
}

// Judge decides one request. It never fails: what cannot be decided is a refusal with 503.
func (g *Gate) Judge(ctx context.Context, r *Request) Verdict {
	panic("not made yet")
}
