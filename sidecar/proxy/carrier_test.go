package proxy

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func always(string, string) bool { return true }

// TestFields finds and removes, and leaves everything else as it was.
func TestFields(t *testing.T) {
	part := func(name, value string) string {
		return "--B\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
	}
	const form, jsn, multi = "application/x-www-form-urlencoded", "application/json; charset=utf-8", "multipart/form-data; boundary=B"
	for _, c := range []struct{ kind, body, token, jobToken, rest string }{
		{form, "token=x", "x", "", ""},
		{form, "a=1&token=x&b=%zz", "x", "", "a=1&b=%zz"},
		{form, "job_token=y&a=1", "", "y", "a=1"},
		{form, "t%6fken=x%20y&&a", "x y", "", "&a"},
		{form, "token=x&token=z&job_token=y", "x", "y", ""},
		{form, "tokens=x&Token=y&a[token]=z", "", "", "tokens=x&Token=y&a[token]=z"},
		{form, "", "", "", ""},
		{jsn, `{"token":"x"}`, "x", "", `{}`},
		{jsn, ` { "a" : 1 , "token" : "x" , "b" : [ {"token":"in"} ] } `, "x", "", ` { "a" : 1, "b" : [ {"token":"in"} ] } `},
		{jsn, `{"token":"x","a":1.50}`, "x", "", `{"a":1.50}`},
		{jsn, `{"a":1,"t\u006fken":"x"}`, "x", "", `{"a":1}`},
		{jsn, `{"token":"x","token":"z","job_token":"y"}`, "x", "y", `{}`},
		{jsn, `{"token":5,"a":null}`, "", "", `{"token":5,"a":null}`},
		{jsn, `[{"token":"x"}]`, "", "", `[{"token":"x"}]`},
		{jsn, `{"token":"x"`, "", "", `{"token":"x"`},
		{jsn, `nonsense`, "", "", `nonsense`},
		{multi, part("token", "x") + part("file", "data") + "--B--\r\n", "x", "", part("file", "data") + "--B--\r\n"},
		{multi, part("file", "data") + part("job_token", "y") + part("a", "b") + "--B--", "", "y", part("file", "data") + part("a", "b") + "--B--"},
		{multi, "preamble\r\n" + part("token", "x") + "--B--", "x", "", "preamble\r\n--B--"},
		{multi, part("file", "\r\n--Bogus\r\n--") + "--B--\r\n" + part("token", "after the end"), "", "", part("file", "\r\n--Bogus\r\n--") + "--B--\r\n" + part("token", "after the end")},
		{multi, "--B\nContent-Disposition: form-data; name=token\n\nx\n--B--", "", "", "--B\nContent-Disposition: form-data; name=token\n\nx\n--B--"},
		{multi, "", "", "", ""},
		{multi, "--B", "", "", "--B"},
		{multi, "--B\r\n--B\r\n--B--", "", "", "--B\r\n--B\r\n--B--"},
	} {
		r := httptest.NewRequest("POST", "/a", io.NopCloser(strings.NewReader(c.body)))
		r.Header.Set("Content-Type", c.kind)
		r.ContentLength = int64(len(c.body))
		found, err := search(httptest.NewRecorder(), r, patience, finderOf(r.Header), always)
		rest, _ := io.ReadAll(r.Body)
		if err != nil || found.Get("token") != c.token || found.Get("job_token") != c.jobToken || string(rest) != c.rest || r.ContentLength != int64(len(c.rest)) {
			t.Errorf("%q: %v %v, length %d\n%q, want\n%q", c.body, found, err, r.ContentLength, rest, c.rest)
		}
	}
}

// TestNotOurs leaves fields alone that hold something else, such as a trigger token, which is the service's.
func TestNotOurs(t *testing.T) {
	never := func(string, string) bool { return false }
	for kind, body := range map[string]string{
		"application/x-www-form-urlencoded": "token=x&a=b", "application/json": `{"token": "x", "a":1}`, "multipart/form-data; boundary=B": "--B\r\nContent-Disposition: form-data; name=token\r\n\r\nx\r\n--B--",
	} {
		r := httptest.NewRequest("POST", "/a", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		found, err := search(httptest.NewRecorder(), r, patience, finderOf(r.Header), never)
		rest, _ := io.ReadAll(r.Body)
		if err != nil || found.Get("token") != "x" || string(rest) != body {
			t.Errorf("%s: %v %v %q", kind, found, err, rest)
		}
	}
}

// TestSearchBound reads no more than it says: a token in front of a stream is found while the stream stands still, and none in 64 KiB is too much.
func TestSearchBound(t *testing.T) {
	const front = "--B\r\nContent-Disposition: form-data; name=token\r\n\r\nx\r\n--B\r\n"
	body, send := io.Pipe()
	defer send.Close()
	r := httptest.NewRequest("POST", "/a", body)
	r.Header.Set("Content-Type", "multipart/form-data; boundary=B")
	go io.WriteString(send, front) // and nothing more for now
	found, err := search(httptest.NewRecorder(), r, patience, finderOf(r.Header), always)
	if err != nil || found.Get("token") != "x" || r.ContentLength != -1 {
		t.Fatal(found, err, r.ContentLength)
	}
	go func() { io.Copy(send, io.LimitReader(zeros{}, 1<<20)); send.Close() }()
	rest, err := io.ReadAll(r.Body)
	if err != nil || len(rest) != len("--B\r\n")+1<<20 {
		t.Error(len(rest), err)
	}
	for _, kind := range []string{"application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=B"} {
		pad := "a=" + strings.Repeat("x", searched)
		r := httptest.NewRequest("POST", "/a", strings.NewReader(pad+"&token=x"))
		r.Header.Set("Content-Type", kind)
		if _, err := search(httptest.NewRecorder(), r, patience, finderOf(r.Header), always); err != errTooLarge {
			t.Errorf("%s: %v", kind, err)
		}
	}
	for _, h := range []http.Header{{}, {"Content-Type": {"text/plain"}}, {"Content-Type": {"multipart/form-data"}}, {"Content-Type": {";"}}, {"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}} {
		if finderOf(h) != nil {
			t.Errorf("%v is searched", h)
		}
	}
}

// TestSearchTime bounds how long a client may keep a search waiting, and leaves no bound on what comes after it.
func TestSearchTime(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := search(w, r, 100*time.Millisecond, finderOf(r.Header), always); err != nil {
			refuseBody(w, err)
			return
		}
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	}))
	defer s.Close()
	const token = "--B\r\nContent-Disposition: form-data; name=token\r\n\r\nx\r\n--B\r\n"
	for name, c := range map[string]struct {
		first  string
		status int
	}{"nothing comes": {"", 408}, "no token comes": {"--B\r\n", 408}, "a token, and the rest late": {token, 200}} {
		body, send := io.Pipe()
		go func() {
			io.WriteString(send, c.first)
			time.Sleep(300 * time.Millisecond)
			io.WriteString(send, "rest")
			send.Close()
		}()
		resp, err := http.Post(s.URL, "multipart/form-data; boundary=B", body)
		if err != nil {
			t.Fatal(name, err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.status || c.status == 200 && !strings.Contains(string(text), "nil") {
			t.Errorf("%s: %v %s", name, resp, text)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// FuzzFinders holds multipart against the standard library's reader, and wants of all that what is left has no such field any more.
func FuzzFinders(f *testing.F) {
	f.Add("--B\r\nContent-Disposition: form-data; name=token\r\n\r\nx\r\n--B\r\nContent-Disposition: form-data; name=a\r\n\r\ny\r\n--B--")
	f.Add("a=b&token=c")
	f.Add(`{"token":"x","a":{}}`)
	f.Fuzz(func(t *testing.T, body string) {
		data := []byte(body)
		for name, find := range map[string]finder{"form": inForm, "JSON": inJSON} {
			once := find(data, true, always)
			if twice := find(once.rest, true, always); twice.form != nil || !bytes.Equal(twice.rest, once.rest) {
				t.Errorf("%s: %q leaves %q leaves %q", name, body, once.rest, twice.rest)
			}
		}
		got := inMultipart(data, "--B", always)
		if got.form == nil {
			return
		}
		r := multipart.NewReader(bytes.NewReader(data), "B")
		for {
			p, err := r.NextRawPart()
			if err != nil {
				t.Fatalf("%q: found %v, where the standard library finds nothing: %v", body, got.form, err)
			}
			content, err := io.ReadAll(p)
			if name := p.FormName(); err == nil && got.form.Has(name) && got.form.Get(name) == string(content) {
				return
			}
		}
	})
}
