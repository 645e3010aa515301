package proxy

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/jobward/jobward/sidecar/gate"
)

// notPassed are headers of clients that no service may see, because they would make a service do something else than what was judged.
var notPassed = map[string]bool{
	"Forwarded":              true,
	"X-Forwarded-Method":     true,
	"X-Forwarded-Path":       true,
	"X-Forwarded-Prefix":     true,
	"X-Forwarded-Uri":        true,
	"X-Http-Method":          true,
	"X-Http-Method-Override": true,
	"X-Method-Override":      true,
	"X-Original-Method":      true,
	"X-Original-Uri":         true,
	"X-Original-Url":         true,
	"X-Rewrite-Url":          true,
}

// passed reports whether a client's header of this canonical name may go on.
func passed(name string) bool {
	return !notPassed[name] && !gate.Stripped(name) && !strings.ContainsAny(name, "_.")
}

// trails reports whether a client's trailer of this canonical name may go on. Nobody judges trailers, and some programs take them for headers.
func trails(name string) bool {
	switch name {
	case "Authorization", "Private-Token", "Cookie", "X-Real-Ip":
		return false
	}
	return passed(name) && !strings.HasPrefix(name, "X-Forwarded-")
}

// clean takes out what clients may not send on.
func clean(h http.Header) {
	for name := range h {
		if !passed(name) {
			delete(h, name)
		}
	}
}

// cleanAnswer takes out what only doors say.
func cleanAnswer(h http.Header) {
	for name := range h {
		if gate.Stripped(name) {
			delete(h, name)
		}
	}
}

// forward says in out where in came from. A trusted proxy's word is kept and added to; that of others is replaced by what is seen here.
func forward(trusted []netip.Prefix, in *http.Request, out http.Header) {
	peer, socket := gate.Peer(in)
	believed := socket || gate.Among(trusted, peer) // who comes over a Unix socket was let in by the mode of its file
	var prior []string
	if believed {
		prior = in.Header["X-Forwarded-For"]
	} else {
		for name := range out {
			if strings.HasPrefix(name, "X-Forwarded-") || name == "X-Real-Ip" {
				delete(out, name)
			}
		}
	}
	if peer.IsValid() {
		prior = append(prior[:len(prior):len(prior)], peer.String())
	}
	if len(prior) > 0 {
		out["X-Forwarded-For"] = []string{strings.Join(prior, ", ")}
	}
	proto := "http"
	if in.TLS != nil {
		proto = "https"
	}
	said := func(name, otherwise string) {
		if v := in.Header[name]; believed && len(v) == 1 && v[0] != "" {
			otherwise = v[0]
		}
		out[name] = []string{otherwise}
	}
	said("X-Forwarded-Proto", proto)
	said("X-Forwarded-Host", in.Host)
}
