package extauthz

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jobward/jobward/sidecar/gate"
)

// TestForm reads bodies whole and cut, wherever Envoy puts them.
func TestForm(t *testing.T) {
	const form, multi, js = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "application/json"
	const part = "--b\r\nContent-Disposition: form-data; name=token\r\n\r\na\r\n"
	long := strings.Repeat("x", gate.MaxSearched)
	for _, c := range []struct {
		kind, partial, body, want string
	}{
		{form, "", "token=a", "map[token:[a]]"},
		{form + "; charset=UTF-8", "false", "x=1&token=a&job_token=b", "map[job_token:[b] token:[a]]"},
		{form, "", "token=a&token=b", "map[token:[a b]]"},
		{form, "true", "token=a", "map[]"},
		{form, "true", "token=a&re", "map[token:[a]]"},
		{form, "1", "token=a", "map[]"},
		{form, "", long + "&token=a", "map[]"},
		{form, "", "token=a&" + long, "map[token:[a]]"},
		{form, "", "", "map[]"},
		{"", "", "token=a", "map[]"},
		{form + ", " + form, "", "token=a", "map[token:[unreadable]]"},
		{multi, "", part + "--b--", "map[token:[a]]"},
		{multi, "true", part[:50], "map[]"},
		{multi, "true", part + part[:50], "map[token:[a]]"},
		{js, "", `{"token":"a"}`, "map[token:[a]]"},
		{js, "true", `{"token":"a","x":"`, "map[token:[a]]"},
	} {
		for _, in := range []*inbox{{body: c.body}, {rawBody: c.body}, {body: "token=z&", rawBody: c.body}} {
			if c.body == "" {
				in = &inbox{}
			}
			if c.kind != "" {
				in.headers.add("content-type", c.kind, true)
			}
			if c.partial != "" {
				in.headers.add("x-envoy-auth-partial-body", c.partial, true)
			}
			if got := fmt.Sprint(in.form()); got != c.want {
				t.Errorf("%s %s %.80q: %s, want %s", c.kind, c.partial, c.body, got, c.want)
			}
			in.headers.add("content-encoding", "gzip", true)
			if in.form() != nil {
				t.Errorf("%.80q: a compressed body was read", c.body)
			}
		}
	}
}

// TestDropped compares queries before and after.
func TestDropped(t *testing.T) {
	for _, c := range []struct {
		raw, passed, want string
		ok                bool
	}{
		{"", "", "", true},
		{"a=1", "a=1", "", true},
		{"token=x", "", "token", true},
		{"token=x&a=1", "a=1", "token", true},
		{"a=1&token=x", "a=1", "token", true},
		{"a=1&to%6ben=x&b=2&token=x", "a=1&b=2", "to%6ben token", true},
		{"a=1&&token=x", "a=1&", "token", true},
		{"&token=x", "", "token", true},
		{"token=x&", "", "token", true},
		{"token", "", "token", true},
		{"=jw-x", "", "", false},
		{"a=1;token=x", "a=1", "", false},
		{"a=1;token=x&a=1", "a=1&a=1", "", false},
		{"token=x;token=y&a=1", "a=1", "token", true},
		{"a=1", "b=2", "a", false}, // nothing that package gate does
	} {
		var names []string
		ok := dropped(c.raw, c.passed, func(name string) { names = append(names, name) })
		if got := strings.Join(names, " "); ok != c.ok || ok && got != c.want {
			t.Errorf("%q to %q: %q %t, want %q %t", c.raw, c.passed, got, ok, c.want, c.ok)
		}
	}
}
