package gate

import (
	"slices"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/pep"
	"github.com/jobward/jobward/sidecar/route"
)

// What refusals say. Clients of GitLab's REST API look for message; git prints text as lines of the remote. Each is one line, so that it can
// stand in a header.
const (
	restType = "application/json"
	textType = "text/plain; charset=utf-8"

	// notFoundText is what git users know from the seed's troubleshooting section.
	notFoundText = "The project you were looking for could not be found or you don't have permission to view it."
)

// saying is a body in both forms.
type saying struct {
	status     int
	json, text string
}

var (
	saysNoToken   = saying{401, `{"message":"401 Unauthorized"}`, "A job token is needed: the user gitlab-ci-token, and the token as password."}
	saysDead      = saying{401, `{"message":"401 Unauthorized"}`, "The job token is not valid, or its job has ended."}
	saysUser      = saying{401, `{"message":"401 Unauthorized"}`, "The user who caused the job may not use this service."}
	saysForbidden = saying{403, `{"message":"403 Forbidden"}`, "The job may not do this on the project."}
	saysNotFound  = saying{404, `{"message":"404 Project Not Found"}`, notFoundText}
	saysNoRoute   = saying{404, `{"message":"404 Not Found"}`, notFoundText}
	saysRefused   = saying{400, `{"message":"400 Bad Request"}`, "The request is refused."}
	saysBad       = saying{400, `{"message":"400 Bad Request: the path or the question is not well-formed"}`, "The path or the question is not well-formed."}
	saysTwo       = saying{400, `{"message":"400 Bad Request: two different job tokens"}`, "The request shows two different job tokens."}
	saysOverride  = saying{400, `{"message":"400 Bad Request: the request asks to be taken for another one"}`, "The request asks to be taken for another one."}
	saysUndecided = saying{503, `{"message":"503 Service Unavailable"}`, "It could not be decided; try again."}
)

// says finds what an Outcome looks like from outside, in a style: the table of the package comment.
func says(o Outcome, style route.Style) saying {
	if o == Undecided {
		return saysUndecided
	}
	if style == route.Runner {
		return saysForbidden // SEMANTICS §12.2
	}
	switch o {
	case NoToken:
		return saysNoToken
	case Dead:
		return saysDead
	case UserRefused:
		if style == route.Git {
			return saysUser
		}
		return saysForbidden
	case CallerRefused:
		return saysForbidden
	case Forbidden:
		if style == route.Trigger {
			return saysRefused
		}
		return saysForbidden
	case NotFound:
		switch style {
		case route.Own:
			return saysForbidden
		case route.Trigger:
			return saysNoRoute
		}
		return saysNotFound
	case Unrouted:
		return saysNoRoute
	case BadRequest:
		return saysBad
	case Ambiguous:
		return saysTwo
	case Overridden:
		return saysOverride
	}
	return saysUndecided
}

// Header sets of refusals. They are shared and read only.
var (
	plain  = [][2]string{{"Cache-Control", "no-store"}}
	basicH = [][2]string{{"Cache-Control", "no-store"}, {"Www-Authenticate", `Basic realm="jobward"`}} // what git, docker and Maven wait for
	// Clients that hear of Basic ask people for a password, so routes without it do not say so.
	bearerH = [][2]string{{"Cache-Control", "no-store"}, {"Www-Authenticate", `Bearer realm="jobward"`}}
	later   = [][2]string{{"Cache-Control", "no-store"}, {"Retry-After", "1"}}
	ended   = [][2]string{{"Cache-Control", "no-store"}, {"Job-Status", "not_running"}}
	erased  = [][2]string{{"Cache-Control", "no-store"}, {"Job-Status", "erased"}}
)

// word fills in how a refusal looks.
func (g *Gate) word(v *Verdict, o Outcome) {
	style, carriers := route.REST, route.Carriers(0)
	if v.Route != nil {
		style, carriers = v.Route.Style, v.Route.Carriers
	}
	s := says(o, style)
	v.Status, v.ContentType, v.Body = s.status, restType, s.json
	if style == route.Git {
		v.ContentType, v.Body = textType, s.text
	}
	switch {
	case s.status == 401 && carriers&route.Basic != 0:
		v.Header = basicH
	case s.status == 401:
		v.Header = bearerH
	case s.status == 503:
		v.Header = later
	case style == route.Runner && v.Reason == authz.JobNotRunning:
		v.Header = ended
	case style == route.Runner && v.Reason == authz.JobErased:
		v.Header = erased
	default:
		v.Header = plain
	}
	if g.Tell && v.Reason != authz.ReasonNone {
		v.Header = append(slices.Clip(v.Header), [2]string{pep.ReasonHeader, v.Reason.String()})
	}
}
