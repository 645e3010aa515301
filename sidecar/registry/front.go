package registry

import (
	"mime"
	"net/http"
	"strings"

	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/proxy"
)

// serveRegistry is the front: it judges a request to the registry and passes it on.
func (h *Handler) serveRegistry(w http.ResponseWriter, r *http.Request, path string) {
	needs, no := needsOf(r.Method, path, r.URL.RawQuery)
	if path == "/v2" {
		no = noPlace // what begins with it in a registry is not what was asked about
	}
	if no != nil {
		h.refuseRequest(w, r, no)
		return
	}
	g, no := h.grantOf(r, needs)
	if no != nil {
		h.refuseRequest(w, r, no)
		return
	}
	again, no := h.judge(r.Context(), g, needs)
	if no != nil {
		h.refuseRequest(w, r, no)
		return
	}
	if g.visitor() {
		h.counts.gate.Judged(gate.AllowedAnonymous)
	} else {
		h.counts.gate.Judged(gate.Allowed)
	}
	p := proxy.Passage{Query: r.URL.RawQuery, Ask: again}
	if isForm(r.Header) {
		p.Set = [][2]string{{"Content-Type", "application/octet-stream"}}
	}
	p.Refuse = func(w http.ResponseWriter) {
		_, no := h.judge(r.Context(), g, needs)
		if no == nil { // it may again, or what changed was not what it asks now
			panic(http.ErrAbortHandler)
		}
		if a, ok := w.(*answer); ok {
			w = a.ResponseWriter // this is no answer of the registry's
		}
		h.refuse(w, r, no)
	}
	h.opt.Registry.Serve(&answer{ResponseWriter: w, h: h, r: r}, r, p, h.counts.proxy.Done)
}

// grantOf finds what a request's registry token is good for.
func (h *Handler) grantOf(r *http.Request, needs []need) (*grant, *refusal) {
	unauthorized := func(o gate.Outcome, text, why string) *refusal {
		return &refusal{status: http.StatusUnauthorized, code: codeUnauthorized, text: text, challenge: h.challenge(needs, why), outcome: o}
	}
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return nil, unauthorized(gate.NoToken, "authentication required", "")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") {
		// A job token is shown to the token endpoint, and not passed on from here.
		return nil, unauthorized(gate.BadLogin, "show a registry token, from the token endpoint", "")
	}
	g, err := h.verify(token)
	if err != nil {
		return nil, unauthorized(gate.BadLogin, err.Error(), "invalid_token")
	}
	for _, n := range needs {
		if !g.allows(n.name, n.access) {
			return nil, unauthorized(gate.BadLogin, "requested access to the resource is denied", "insufficient_scope")
		}
	}
	return g, nil
}

// challenge is the value of WWW-Authenticate that tells a client where to get a token that would do.
func (h *Handler) challenge(needs []need, why string) string {
	var b strings.Builder
	b.WriteString(`Bearer realm="` + h.opt.URL + authPath + `",service="` + h.opt.Service + `"`)
	for i, n := range needs {
		if i == 0 {
			b.WriteString(`,scope="`)
		} else {
			b.WriteString(" ")
		}
		b.WriteString("repository:" + n.name + ":" + strings.Join(n.access.names(), ","))
	}
	if len(needs) > 0 {
		b.WriteString(`"`)
	}
	if why != "" {
		b.WriteString(`,error="` + why + `"`)
	}
	return b.String()
}

// basic is the challenge of the token endpoint.
func (h *Handler) basic() string { return `Basic realm="` + h.opt.URL + authPath + `"` }

// isForm reports whether a registry would look for parameters in the body.
func isForm(head http.Header) bool {
	kind, _, err := mime.ParseMediaType(head.Get("Content-Type"))
	return err != nil && head.Get("Content-Type") != "" || kind == "application/x-www-form-urlencoded" || strings.HasPrefix(kind, "multipart/")
}
