package gate

// Outcome is what a verdict was, for counting and for the log. It never crosses to a client: several of them look the same there.
type Outcome uint8

// The outcomes; those up to Passed let a request through.
const (
	Allowed          Outcome = iota // the job may
	AllowedAnonymous                // anybody may
	AllowedToAll                    // the route is open
	Passed                          // no job token, and the service knows people in other ways
	NoToken                         // a job token is needed
	Dead                            // the token opens nothing anywhere
	UserRefused                     // the user who caused the job may use nothing
	CallerRefused                   // the job limited itself, or nobody may do this with a job token
	Forbidden                       // not this, on a project that the user may see
	NotFound                        // no such project, or none that may be seen
	Unrouted                        // no such route
	BadRequest                      // a path that could mean two things, or a question that cannot be asked
	Ambiguous                       // two different tokens
	Overridden                      // the request asks to be taken for another one
	Undecided                       // nobody could tell
	BadLogin                        // what a job logged in for: it has ended, is another's, or is for less than this (package registry)
	numOutcomes
)

var outcomes = [numOutcomes]string{
	"allowed", "allowed_anonymous", "allowed_to_all", "passed", "no_token", "dead", "user_refused", "caller_refused", "forbidden", "not_found",
	"unrouted", "bad_request", "ambiguous", "overridden", "undecided", "bad_login",
}

// String gives the stable snake_case name.
func (o Outcome) String() string {
	if o < numOutcomes {
		return outcomes[o]
	}
	return "outcome_unknown"
}

func (o Outcome) allows() bool { return o <= Passed }
