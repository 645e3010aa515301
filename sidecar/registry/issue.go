package registry

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/pep"
)

// leastLife is how long clients take a token for good at least, whatever it says: a shorter one would make them fail in the middle of a push. Jobs
// with heartbeats are good for less at any moment, for as long as they run.
const leastLife = time.Minute

// Bounds of a login by POST.
const (
	maxForm  = 64 << 10
	formTime = 10 * time.Second
)

// login is what a client asks of the token endpoint.
type login struct {
	service []string
	scopes  []string
	// shown tells that there were credentials, good or not; password is empty for those that cannot be good.
	shown    bool
	password string
}

// answerBody is what a login gets. Both names of the token are needed: docker reads one, OAuth clients the other.
type answerBody struct {
	Token       string `json:"token"`
	AccessToken string `json:"access_token"`
	ExpiresIn   int    `json:"expires_in"` // seconds
	IssuedAt    string `json:"issued_at"`

	outcome loginOutcome // not sent
}

// serveAuth is the token endpoint.
func (h *Handler) serveAuth(w http.ResponseWriter, r *http.Request) {
	l, no := readLogin(w, r)
	if no == nil {
		var body *answerBody
		if body, no = h.issue(r.Context(), l); no == nil {
			h.counts.login(body.outcome)
			say(w, http.StatusOK, body)
			return
		}
	}
	h.counts.login(loginRefused(no))
	if no.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", "GET, POST")
	}
	h.refuse(w, r, no)
}

// readLogin reads a login in either of its forms.
func readLogin(w http.ResponseWriter, r *http.Request) (*login, *refusal) {
	l := &login{}
	form, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, bad("the query cannot be read")
	}
	if values := r.Header.Values("Authorization"); len(values) > 0 {
		l.shown = true
		if user, password, ok := r.BasicAuth(); ok && len(values) == 1 && user == pep.CIUser {
			l.password = password
		}
	}
	switch r.Method {
	case http.MethodGet:
	case http.MethodPost:
		if form, err = readForm(w, r); err != nil {
			return nil, bad(err.Error())
		}
		if grant := form["grant_type"]; len(grant) != 1 || grant[0] != "password" || l.shown {
			return nil, bad("a login by POST has grant_type=password, username and password, and no Authorization")
		}
		l.shown = true
		if user, password := form["username"], form["password"]; len(user) == 1 && len(password) == 1 && user[0] == pep.CIUser {
			l.password = password[0]
		}
	default:
		return nil, &refusal{status: http.StatusMethodNotAllowed, code: codeUnsupported, text: "log in with GET or POST"}
	}
	l.service, l.scopes = form["service"], form["scope"]
	return l, nil
}

// readForm reads the form of a login by POST; nothing of the query counts.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, errors.New("a login by POST is a form, application/x-www-form-urlencoded")
	}
	ctl := http.NewResponseController(w)
	ctl.SetReadDeadline(time.Now().Add(formTime)) // where it cannot be set, the server's own counts
	defer ctl.SetReadDeadline(time.Time{})
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if r.ParseForm() != nil {
		return nil, errors.New("the form cannot be read, or is too large")
	}
	return r.PostForm, nil
}

// issue decides a login.
func (h *Handler) issue(ctx context.Context, l *login) (*answerBody, *refusal) {
	for _, s := range l.service {
		if s != h.opt.Service {
			return nil, bad("this endpoint gives tokens for the service " + h.opt.Service + " only")
		}
	}
	list, err := parseScopes(l.scopes)
	if err != nil {
		return nil, bad(err.Error())
	}
	now := h.now()
	life, job, subject := h.opt.TTL, authz.Nobody, ""
	if l.shown {
		if l.password != "" {
			job = h.opt.Asker.Digest(l.password)
		}
		if l.password == "" || job.IsZero() || job == authz.Nobody {
			return nil, deadJob(authz.TokenMalformed, h.basic())
		}
		d, live, err := h.lives(ctx, job)
		h.counts.decided(&d, err)
		switch {
		case err != nil || d.Reason == authz.LeaseLapsed:
			return nil, undecided()
		case !live:
			return nil, deadJob(d.Reason, h.basic())
		}
		life, subject = min(life, d.ValidFor), string(d.Job)
	}
	granted, left, no := h.permitted(ctx, job, list)
	if no != nil {
		return nil, no
	}
	text, ends, err := h.mint(job, subject, granted, now, max(min(life, left), leastLife))
	if err != nil {
		if h.unsaid.due(h) {
			h.log.Error("no registry token can be signed", "error", err)
		}
		return nil, undecided()
	}
	return &answerBody{
		Token: text, AccessToken: text, ExpiresIn: int(ends.Sub(now.Truncate(time.Second)).Seconds()), IssuedAt: now.UTC().Format(time.RFC3339),
		outcome: loginGiven(list, granted),
	}, nil
}

// permitted gives what of the scopes a job may do, and how long the shortest of the answers holds.
func (h *Handler) permitted(ctx context.Context, job authz.Digest, list []scope) (granted []scope, left time.Duration, no *refusal) {
	left = h.opt.TTL
	for _, s := range list {
		var may actions
		for _, n := range actionNames {
			if n.permission == "" || s.actions&n.action == 0 {
				continue
			}
			_, d, err := h.find(ctx, job, n.permission, s.name)
			switch {
			case authz.KindOf(err) == authz.KindInvalid && err != nil:
				continue // a name that no project can have
			case err != nil || d.Reason == authz.LeaseLapsed:
				return nil, 0, undecided()
			case d.Reason.Dead() && job != authz.Nobody: // it ended just now
				return nil, 0, deadJob(d.Reason, h.basic())
			case d.Allow:
				may |= n.action
				if job != authz.Nobody {
					left = min(left, d.ValidFor)
				}
			}
		}
		if s.actions&every != 0 && may == each {
			may |= every
		}
		if may != 0 {
			granted = append(granted, scope{s.name, may})
		}
	}
	return granted, left, nil
}
