package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/sidecar/gate"
)

func always(gate.Field) bool { return true }

// TestSearch takes the fields out of the body of a request, and its length says so.
func TestSearch(t *testing.T) {
	const token = "--B\r\nContent-Disposition: form-data; name=token\r\n\r\nx\r\n"
	for _, c := range []struct{ kind, body, found, rest string }{
		{"application/x-www-form-urlencoded", "a=1&token=x&job_token=y", "map[job_token:[y] token:[x]]", "a=1"},
		{"application/x-www-form-urlencoded", "a=1", "map[]", "a=1"},
		{"application/json", `{"token":"x","a":[]}`, "map[token:[x]]", `{"a":[]}`},
		{"multipart/form-data; boundary=B", token + token + "--B--", "map[token:[x]]", token + "--B--"},
		{"multipart/form-data; boundary=B", "--B--" + token, "map[]", "--B--" + token},
	} {
		r := httptest.NewRequest("POST", "/a", io.NopCloser(strings.NewReader(c.body)))
		r.Header.Set("Content-Type", c.kind)
		r.ContentLength = int64(len(c.body))
		found, err := search(httptest.NewRecorder(), r, patience, gate.BodyOf(r.Header), always)
		rest, _ := io.ReadAll(r.Body)
		if err != nil || fmt.Sprint(found) != c.found || string(rest) != c.rest || r.ContentLength != int64(len(c.rest)) {
			t.Errorf("%q: %v %v, length %d\n%q, want\n%q", c.body, found, err, r.ContentLength, rest, c.rest)
		}
	}
}

// TestNotOurs leaves fields alone that hold something else, such as a trigger token, which is the service's.
func TestNotOurs(t *testing.T) {
	never := func(gate.Field) bool { return false }
	for kind, body := range map[string]string{
		"application/x-www-form-urlencoded": "token=x&a=b", "application/json": `{"token": "x", "a":1}`, "multipart/form-data; boundary=B": "--B\r\nContent-Disposition: form-data; name=token\r\n\r\nx\r\n--B--",
	} {
		r := httptest.NewRequest("POST", "/a", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		found, err := search(httptest.NewRecorder(), r, patience, gate.BodyOf(r.Header), never)
		rest, _ := io.ReadAll(r.Body)
		if err != nil || found.Get("token") != "x" || string(rest) != body {
			t.Errorf("%s: %v %v %q", kind, found, err, rest)
		}
	}
}

// TestSearchUnclear refuses what is no JSON: without its first token a service could read another one in it.
func TestSearchUnclear(t *testing.T) {
	r := httptest.NewRequest("POST", "/a", strings.NewReader(`{"token":"x" "token":"z"}`))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	if _, err := search(w, r, patience, gate.BodyOf(r.Header), always); err != errUnclear {
		t.Error(err)
	} else if refuseBody(w, err); w.Code != 400 {
		t.Error(w.Code)
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
	found, err := search(httptest.NewRecorder(), r, patience, gate.BodyOf(r.Header), always)
	if err != nil || found.Get("token") != "x" || r.ContentLength != -1 {
		t.Fatal(found, err, r.ContentLength)
	}
	go func() { io.Copy(send, io.LimitReader(zeros{}, 1<<20)); send.Close() }()
	rest, err := io.ReadAll(r.Body)
	if err != nil || len(rest) != len("--B\r\n")+1<<20 {
		t.Error(len(rest), err)
	}
	for _, kind := range []string{"application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=B"} {
		pad := "a=" + strings.Repeat("x", gate.MaxSearched)
		r := httptest.NewRequest("POST", "/a", strings.NewReader(pad+"&token=x"))
		r.Header.Set("Content-Type", kind)
		if _, err := search(httptest.NewRecorder(), r, patience, gate.BodyOf(r.Header), always); err != errTooLarge {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestSearchTime bounds how long a client may keep a search waiting, and leaves no bound on what comes after it.
func TestSearchTime(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := search(w, r, 100*time.Millisecond, gate.BodyOf(r.Header), always); err != nil {
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
