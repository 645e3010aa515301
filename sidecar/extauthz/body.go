package extauthz

import (
	"net/url"

	"github.com/jobward/jobward/sidecar/gate"
)

// form finds the parameters token and job_token in the body, with all their values; no others are looked for, since no route asks for them. It is nil
// where there is none, where the body cannot be read, and where it is cut before one stands there whole.
func (in *inbox) form() url.Values {
	body := in.rawBody
	if body == "" {
		body = in.body
	}
	if body == "" {
		return nil
	}
	kind := gate.BodyOf(&in.headers)
	if kind == nil {
		return nil
	}
	whole := true
	for _, v := range in.headers.Values("X-Envoy-Auth-Partial-Body") {
		whole = whole && v == "false"
	}
	if len(body) > gate.MaxSearched {
		body, whole = body[:gate.MaxSearched], false
	}
	found, _ := kind.Find(body, whole)
	return gate.Form(found)
}
