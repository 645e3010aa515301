package registry

import (
	"encoding/json"
	"net/http"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/pep"
)

// The codes of errors, as the distribution specification has them.
const (
	codeUnauthorized = "UNAUTHORIZED"
	codeDenied       = "DENIED"
	codeUnsupported  = "UNSUPPORTED"
	codeName         = "NAME_INVALID"
	codeUnavailable  = "UNAVAILABLE"
	codeUnknown      = "UNKNOWN"
)

// refusal is an answer that is not what was asked for.
type refusal struct {
	status    int
	code      string
	text      string
	challenge string // the value of WWW-Authenticate, if any
	reason    authz.Reason
	outcome   gate.Outcome // of a request to the registry; logins have their own (see loginRefused)
}

type (
	errorList struct {
		Errors []errorBody `json:"errors"`
	}
	errorBody struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
)

func bad(text string) *refusal {
	return &refusal{status: http.StatusBadRequest, code: codeUnsupported, text: text, outcome: gate.BadRequest}
}

func undecided() *refusal {
	return &refusal{status: http.StatusServiceUnavailable, code: codeUnavailable, text: "it could not be decided; try again", outcome: gate.Undecided}
}

// refuseRequest refuses what was no login, and counts it.
func (h *Handler) refuseRequest(w http.ResponseWriter, r *http.Request, no *refusal) {
	h.counts.gate.Judged(no.outcome)
	h.refuse(w, r, no)
}

// refuse answers with a refusal.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, no *refusal) {
	if h.log.Enabled(r.Context(), levelRefused) {
		h.log.Log(r.Context(), levelRefused, "refused", "door", "registry", "status", no.status, "code", no.code, "reason", no.reason.String())
	}
	head := w.Header()
	clear(head)
	if no.challenge != "" {
		head.Set("Www-Authenticate", no.challenge)
	}
	if no.status == http.StatusServiceUnavailable {
		head.Set("Retry-After", "1")
	}
	if h.opt.Tell && no.reason != authz.ReasonNone {
		head.Set(pep.ReasonHeader, no.reason.String())
	}
	say(w, no.status, errorList{[]errorBody{{no.code, no.text}}})
}

// say answers with JSON.
func say(w http.ResponseWriter, status int, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		panic(err) // nothing that is said here can fail
	}
	head := w.Header()
	head.Set("Content-Type", "application/json")
	head.Set("Docker-Distribution-Api-Version", "registry/2.0") // old clients look for it before they believe a challenge
	head.Set("X-Content-Type-Options", "nosniff")
	if head.Get("Cache-Control") == "" {
		head.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	w.Write(append(data, '\n')) // a client that has gone needs no answer
}
