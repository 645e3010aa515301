package extauthz

import (
	"fmt"
	"strings"
	"testing"
)

// TestForm reads bodies of every type, whole and cut, and wants "not seen" told from "seen, and none there".
func TestForm(t *testing.T) {
	const form, multi, js = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "application/json"
	part := func(disposition, value string) string {
		return "--b\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\n" + value + "\r\n"
	}
	long := strings.Repeat("x", maxSearched)
	for i, c := range []struct {
		kind, partial, body, want string
	}{
		{form, "", "token=a", "map[token:[a]]"},
		{form + "; charset=UTF-8", "false", "x=1&token=a&job_token=b", "map[job_token:[b] token:[a]]"},
		{form, "", "token=a&token=b", "map[token:[a b]]"},
		{form, "", "%74oken=a%2Bb+c", "map[token:[a+b c]]"},
		{form, "", "token=%zz", "map[token:[%zz]]"},
		{form, "", "Token=a&token[]=b&tokens=c&" + long, "nil"},
		{form, "", "Token=a&token[]=b", "map[]"},
		{form, "true", "token=a", "nil"},
		{form, "true", "token=a&re", "map[token:[a]]"},
		{form, "1", "token=a", "nil"},
		{form, "", long + "&token=a", "nil"},
		{form, "", "token=a&" + long, "map[token:[a]]"},
		{form, "", "", "nil"},
		{"", "", "token=a", "nil"},
		{"text/plain", "", "token=a", "nil"},
		{form + ", " + form, "", "token=a", "nil"},
		{multi, "", part(`name="token"`, "a") + "--b--", "map[token:[a]]"},
		{multi, "", part(`name=token`, "a") + part(`name="job_token"`, "b") + "--b--", "map[job_token:[b] token:[a]]"},
		{multi, "", part(`name="token"; filename="f"`, "a") + "--b--", "map[]"},
		{multi, "true", part(`name="token"`, "abcdef")[:60], "nil"},
		{multi, "true", part(`name="token"`, "a") + part(`name="f"`, long), "map[token:[a]]"},
		{multi, "", part(`name="token"`, long), "map[token:[" + long[:129] + "]]"}, // too long for a token, whatever follows
		{"multipart/form-data", "", part(`name="token"`, "a"), "map[]"},
		{js, "", `{"token":"a"}`, "map[token:[a]]"},
		{"application/vnd.x+json", "", ` {"x":{"token":"b"},"y":[{"token":"c"}],"job_token":"\u0061"}`, "map[job_token:[a]]"},
		{js, "", `{"token":"a","token":"b"}`, "map[token:[a b]]"},
		{js, "", `{"token":null}`, "map[]"},
		{js, "", `{"token":7}`, "map[token:[not a string]]"},
		{js, "", `{"token":["a"]}`, "map[token:[not a string]]"},
		{js, "", `[{"token":"a"}]`, "map[]"},
		{js, "", `{"token":"a`, "map[]"},
		{js, "true", `{"token":"a`, "nil"},
		{js, "true", `{"token":"a","x":"`, "map[token:[a]]"},
		{js, "", `{"x":` + strings.Repeat("[", 60000), "map[]"},
	} {
		in := &inbox{body: c.body}
		if i%2 == 1 {
			in = &inbox{rawBody: c.body}
		}
		if c.kind != "" {
			in.headers.add("content-type", c.kind, true)
		}
		if c.partial != "" {
			in.headers.add("x-envoy-auth-partial-body", c.partial, true)
		}
		form := in.form()
		got := fmt.Sprint(form)
		if form == nil {
			got = "nil"
		}
		if got != c.want {
			t.Errorf("%d %s %s %.80q: %s, want %s", i, c.kind, c.partial, c.body, got, c.want)
		}
		in.headers.add("content-encoding", "gzip", true)
		if in.form() != nil {
			t.Errorf("%d: a compressed body was read", i)
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
