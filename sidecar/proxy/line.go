package proxy

import (
	"errors"
	"net/http"
	"strings"
)

// RawPath gives the path of the request line, byte for byte. The error says why a request line is none that can be passed on.
func RawPath(r *http.Request) (string, error) {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	switch {
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace:
		return "", errors.New("CONNECT and TRACE are not passed on")
	case !strings.HasPrefix(path, "/"):
		return "", errors.New("the request line must have a path that begins with a slash, and no more than a path and a query")
	case strings.HasPrefix(path, "//"):
		return "", errors.New("the path must not begin with two slashes")
	case strings.Contains(r.RequestURI, "#") || strings.ContainsFunc(path, func(c rune) bool { return c <= ' ' || c > '~' }):
		return "", errors.New("the path has characters that must be percent-encoded")
	}
	return path, nil
}

// upgradeless makes r a request that asks for no other protocol, and reports false when it cannot do without.
func upgradeless(r *http.Request) bool {
	if len(r.Header["Upgrade"]) == 0 {
		return true
	}
	for _, v := range r.Header["Upgrade"] {
		if !strings.EqualFold(strings.TrimSpace(v), "h2c") {
			return false
		}
	}
	delete(r.Header, "Upgrade")
	delete(r.Header, "Http2-Settings")
	return true
}
