package gate

import (
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const (
	formType      = "application/x-www-form-urlencoded"
	jsonType      = "application/json; charset=utf-8"
	multipartType = "multipart/form-data; boundary=B"
)

func part(disposition, value string) string {
	return "--B\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\n" + value + "\r\n"
}

// TestBody finds fields and takes them out, and leaves everything else as it was.
func TestBody(t *testing.T) {
	const token, job = `name="token"`, `name="job_token"`
	file := part(`name="file"; filename="a"`, "data")
	for _, c := range []struct {
		kind, body, found, rest string
	}{
		{formType, "token=x", "token=x", ""},
		{formType, "a=1&token=x&b=%zz", "token=x", "a=1&b=%zz"},
		{formType, "job_token=y&a=1", "job_token=y", "a=1"},
		{formType, "t%6fken=x%20y&&a", "token=x y", "&a"},
		{formType, "token=x&token=z&job_token=y", "token=x token=z job_token=y", ""},
		{formType, "a=1&token=x&token=z", "token=x token=z", "a=1"},
		{formType, "a= &token=x&b=1&token=z&", "token=x token=z", "a= &b=1&"},
		{formType, "token=%zz", "token=%zz", ""}, // there, and no token
		{formType, "tokens=x&Token=y&a[token]=z", "", "tokens=x&Token=y&a[token]=z"},
		{formType, "", "", ""},
		{jsonType, `{"token":"x"}`, "token=x", `{}`},
		{jsonType, ` { "a" : 1 , "token" : "x" , "b" : [ {"token":"in"} ] } `, "token=x", ` { "a" : 1 ,  "b" : [ {"token":"in"} ] } `},
		{jsonType, `{"token":"x","a":1.50}`, "token=x", `{"a":1.50}`},
		{jsonType, `{"a":1,"t\u006fken":"\u0078"}`, "token=x", `{"a":1}`},
		{jsonType, `{"a":1 , "token":"x" , "job_token" : "y" }`, "token=x job_token=y", `{"a":1  }`},
		{jsonType, `{"token":"x","token":"z","job_token":"y"}`, "token=x token=z job_token=y", `{}`},
		{jsonType, `{"token":5,"a":null}`, "token=not a string", `{"a":null}`},
		{jsonType, `{"token":["x"],"job_token":{"token":"x"}}`, "token=not a string job_token=not a string", `{}`},
		{jsonType, `{"token":null}`, "", `{"token":null}`},
		{jsonType, `[{"token":"x"}]`, "", `[{"token":"x"}]`},
		{jsonType, `{"token":"x"`, "token=x", ``},
		{jsonType, `{"a":1,"token":"x" "token":"z"}`, "token=x", ``},
		{jsonType, `{"token":"x`, "", ``},
		{jsonType, `{"x":` + strings.Repeat("[", 60000), "", ``},
		{jsonType, `nonsense`, "", ``},
		{"application/vnd.x+json", `{"token":"x"}`, "token=x", `{}`},
		{multipartType, part(token, "x") + file + "--B--\r\n", "token=x", file + "--B--\r\n"},
		{multipartType, file + part(job, "y") + part(`name="a"`, "b") + "--B--", "job_token=y", file + part(`name="a"`, "b") + "--B--"},
		{multipartType, part("name=token", "x") + file + part(job, "y") + "--B--", "token=x job_token=y", file + "--B--"},
		{multipartType, "preamble\r\n" + part(token, "x") + "--B--", "token=x", "preamble\r\n--B--"},
		{multipartType, part(token+`; filename="f"`, "x") + "--B--", "", part(token+`; filename="f"`, "x") + "--B--"},
		{multipartType, part(`name="f"`, "\r\n--Bogus\r\n--") + "--B--\r\n" + part(token, "after the end"), "",
			part(`name="f"`, "\r\n--Bogus\r\n--") + "--B--\r\n" + part(token, "after the end")},
		{multipartType, "--B\nContent-Disposition: form-data; name=token\n\nx\n--B--", "", "--B\nContent-Disposition: form-data; name=token\n\nx\n--B--"},
		{multipartType, "", "", ""},
		{multipartType, "--B", "", "--B"},
		{multipartType, "--B\r\n--B\r\n--B--", "", "--B\r\n--B\r\n--B--"},
	} {
		b := BodyOf(http.Header{"Content-Type": {c.kind}, "Content-Encoding": {"identity"}})
		found, end := b.Find(c.body, true)
		left, ok := b.Without(c.body, found)
		if got, rest := said(found), string(left); got != c.found || rest != c.rest || !end || !ok && rest != "" {
			t.Errorf("%.90q: %s, end %t\n%.90q, want %s\n%.90q", c.body, got, end, rest, c.found, c.rest)
		}
	}
}

func said(found []Field) string {
	var all []string
	for _, f := range found {
		all = append(all, f.Name+"="+f.Value)
	}
	return strings.Join(all, " ")
}

// TestBodyCut takes of the beginning of a body what stands there whole, whatever follows.
func TestBodyCut(t *testing.T) {
	for _, c := range []struct {
		kind, body, found string
		end               bool
	}{
		{formType, "token=x", "", false},
		{formType, "token=x&re", "token=x", false},
		{jsonType, `{"token":"x`, "", false},
		{jsonType, `{"token":"x","a":"`, "token=x", false},
		{multipartType, part("name=token", "x")[:50], "", false},
		{multipartType, part("name=token", "x") + "--", "", false},
		{multipartType, part("name=token", "x") + "--B", "", false}, // perhaps --Bogus
		{multipartType, part("name=token", "x") + "--B\r\n", "token=x", false},
		{multipartType, part("name=a", "x") + "--B--", "", true},
	} {
		found, end := BodyOf(http.Header{"Content-Type": {c.kind}}).Find(c.body, false)
		if got := said(found); got != c.found || end != c.end {
			t.Errorf("%q: %s, end %t, want %s", c.body, got, end, c.found)
		}
	}
}

// TestBodyUnreadable: whoever says two things of a body, or says it so that only some understand it, does not hide a token in it.
func TestBodyUnreadable(t *testing.T) {
	for _, types := range [][]string{
		{formType, formType}, {formType + ", " + formType}, {"text/plain", formType}, {formType, "text/plain"}, {"text/plain, " + formType}, {formType + "; x"}, {formType + ";charset=\"a"},
		{"Application/JSON ; =", ""}, {"application/vnd.api+json;;="}, {"multipart/form-data; boundary=a; boundary=b"}, {"multipart/form-data; boundary=a b"},
	} {
		r := restReq.request()
		head(r)["Content-Type"] = types
		b := BodyOf(r.Header)
		if b == nil {
			t.Errorf("%q: not looked at", types)
			continue
		}
		found, _ := b.Find("job_token=jobt-dead", true)
		r.Form = Form(found)
		if v := gateOf(allows(true)).Judge(t.Context(), r); v.Status != 401 {
			t.Errorf("%q: %d", types, v.Status)
		}
	}
}

// TestBodyOf reads no body whose type is not known, or is not one.
func TestBodyOf(t *testing.T) {
	for _, h := range []http.Header{
		{}, {"Content-Type": {"text/plain"}}, {"Content-Type": {"multipart/form-data"}}, {"Content-Type": {";"}}, {"Content-Type": {"text/plain", "text/plain"}},
		{"Content-Type": {"text/plain; x"}}, {"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}},
	} {
		if BodyOf(h) != nil {
			t.Errorf("%v is read", h)
		}
	}
}

// FuzzBody holds multipart against the standard library's reader, and wants of all that what is left has no such field any more.
func FuzzBody(f *testing.F) {
	f.Add("--B\r\nContent-Disposition: form-data; name=token\r\n\r\nx\r\n--B\r\nContent-Disposition: form-data; name=a\r\n\r\ny\r\n--B--")
	f.Add("a=b&token=c")
	f.Add(`{"token":"x","a":{}, "job_token" : "y" }`)
	f.Fuzz(func(t *testing.T, body string) {
		for _, kind := range []string{formType, jsonType, multipartType} {
			b := BodyOf(http.Header{"Content-Type": {kind}})
			found, _ := b.Find(body, true)
			left, ok := b.Without(body, found)
			if again, _ := b.Find(string(left), true); ok && len(again) > 0 {
				t.Errorf("%s: %q leaves %q, with %s", kind, body, left, said(again))
			}
			cut, _ := b.Find(body, false)
			if !slices.Equal(cut, found[:min(len(cut), len(found))]) {
				t.Errorf("%s: %q has %s, and cut %s", kind, body, said(found), said(cut))
			}
			if kind != multipartType || len(found) == 0 {
				continue
			}
			r, seen := multipart.NewReader(strings.NewReader(body), "B"), []string{}
			for {
				p, err := r.NextRawPart()
				if err != nil {
					break
				}
				content, err := io.ReadAll(p)
				if err == nil {
					seen = append(seen, fmt.Sprintf("%s=%s", p.FormName(), content))
				}
			}
			for _, f := range found {
				// A boundary without CR before it ends a part for a lenient reader; what has one in it is no token.
				if !strings.Contains(f.Value, "--B") && !slices.Contains(seen, f.Name+"="+f.Value) {
					t.Errorf("%q: found %s, where the standard library finds %q", body, said(found), seen)
				}
			}
		}
	})
}
