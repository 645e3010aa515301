package forwardauth

import (
	"net/http"
	"strings"

	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/route"
)

// dialect is how a kind of proxy tells of a request.
type dialect struct {
	method, uri string
	// statuses tells that the proxy passes every status on; the other kind knows 401 and 403.
	statuses bool
	other    *dialect
}

var (
	forward = dialect{method: "X-Forwarded-Method", uri: "X-Forwarded-Uri", statuses: true, other: &dialect{method: "X-Original-Method", uri: "X-Original-Uri"}}
	nginx   = dialect{method: "X-Original-Method", uri: "X-Original-Uri", other: &dialect{method: "X-Forwarded-Method", uri: "X-Forwarded-Uri"}}
)

// The bounds of what is told.
const (
	maxMethod = 32
	maxURI    = 8 << 10
)

// refusal is why what a proxy tells is not judged.
type refusal struct {
	status int
	text   string
}

func bad(text string) *refusal { return &refusal{http.StatusBadRequest, text} }

// original reads the request that a subrequest with these headers is about.
func (d *dialect) original(h http.Header) (o original, no *refusal) {
	methods, uris := h[d.method], h[d.uri]
	switch {
	case len(methods) != 1 || len(uris) != 1:
		return o, bad("The proxy must send " + d.method + " and " + d.uri + ", each once.")
	case differs(h[d.other.method], methods[0]), differs(h[d.other.uri], uris[0]):
		return o, bad("The request tells of itself in two ways that differ. The proxy must remove " + d.other.method + " and " + d.other.uri + ".")
	case len(uris[0]) > maxURI:
		return o, &refusal{http.StatusRequestURITooLong, "The URI is longer than 8 KiB."}
	case !isMethod(methods[0]):
		return o, bad("The method has to be up to 32 capital letters.")
	case !isURI(uris[0]):
		return o, bad("The URI has to begin with a slash, without fragment, space or control character.")
	case len(h["Authorization"]) > 1:
		return o, bad("The request has more than one Authorization.")
	}
	for name := range h {
		if name != "" && (name[0] == 'J' || name[0] == 'X') && gate.Disguised(name) {
			return o, bad("The request has a header that could be taken for one of ours, or for one that asks for another request.")
		}
	}
	o.uri = uris[0]
	path, query, _ := strings.Cut(o.uri, "?")
	o.Request = route.Request{Method: methods[0], Path: path, Query: query}
	return o, nil
}

func differs(values []string, from string) bool {
	for _, v := range values {
		if v != from {
			return true
		}
	}
	return false
}

func isMethod(s string) bool {
	if s == "" || len(s) > maxMethod {
		return false
	}
	for i := range len(s) {
		if (s[i] < 'A' || s[i] > 'Z') && s[i] != '-' {
			return false
		}
	}
	return true
}

func isURI(s string) bool {
	if s == "" || s[0] != '/' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f || c == '#' {
			return false
		}
	}
	return true
}
