package route

import "github.com/jobward/jobward/pdp/authz"

// Carriers is a set of the places on a request where a job token may stand (SEMANTICS §4.2).
type Carriers uint8

// The carriers.
const (
	Header   Carriers = 1 << iota // the header JOB-TOKEN
	Param                         // a parameter job_token or token, in the query or in the body
	ParamTok                      // a parameter token and no other, as the trigger route has it
	Basic                         // the password of the user gitlab-ci-token
	Bearer                        // Authorization: Bearer; wherever Header and Param are
)

// TargetKind says where the project asked for is named.
type TargetKind uint8

// The kinds of target.
const (
	// InPath is a project named by the path, by number or by full path.
	InPath TargetKind = iota
	// OwnJob is the job itself, whichever it is: the question has no target.
	OwnJob
	// ThatJob is the job itself, and it must be the one that the path names (§12.1).
	ThatJob
	// Owner is the project that owns what the path names. The path does not tell which: the service behind does (§13.1).
	Owner
)

// Style is how refusals of a route look from outside (SEMANTICS §§0.4, 12.2, 15).
type Style uint8

// The styles.
const (
	REST    Style = iota // 401, 404 where the target may not be seen, 403 where it may; {"message": …}
	Git                  // the same, with a Basic challenge, and text that git prints
	Runner               // 403 whatever it is, so that a runner stops
	Own                  // 403 for any project but the job's own
	Trigger              // 404 where the target may not be seen, 400 where it may
)

// Route is one row of a table. It is read only.
type Route struct {
	// Name is the method and the pattern, "GET /api/v4/projects/:id/packages": for logs and metrics, since it holds nothing of a request.
	Name string
	// Permission and Surface are those of the question.
	Permission authz.Permission
	Surface    authz.Surface
	// Target says where the project is named.
	Target TargetKind
	// Carriers are where a token is looked for; elsewhere it is not seen (§4.6).
	Carriers Carriers
	// Style is how refusals look.
	Style Style
	// Open routes are served to everybody and ask nothing: the fields above mean nothing then.
	Open bool
}

// Request is what a route is found by.
type Request struct {
	Method string
	// Path is what stood on the request line, percent-encoding and all, without the query.
	Path string
	// Query is the raw query, without the question mark.
	Query string
}

// Match is what a request asks.
type Match struct {
	Route *Route
	// Target is set when Route.Target is InPath.
	Target authz.Target
	// Job is set when Route.Target is ThatJob.
	Job authz.JobID
}
