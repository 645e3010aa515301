package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// echo answers with what a service sees of a request: a line for the request line, the headers sorted, the body, the trailers.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	lines := []string{}
	for name, values := range r.Header {
		for _, v := range values {
			lines = append(lines, name+": "+v)
		}
	}
	slices.Sort(lines)
	fmt.Fprintf(w, "%s %s host=%s length=%d te=%v\n%s\nbody=%q err=%v trailer=%v\n", r.Method, r.RequestURI, r.Host, r.ContentLength, r.TransferEncoding,
		strings.Join(lines, "\n"), body, err, r.Trailer)
}

// TestPath wants that what was judged is what is served: the same bytes, however odd.
func TestPath(t *testing.T) {
	r := newRig(t, echo)
	for _, path := range []string{
		"/", "/a", "/a/", "/a//b", "/a/./b", "/a/../b", "/a%2Fb", "/a%2fb", "/%61", "/a%2E%2e/b", "/a;b=c", "/a:b@c", "/a%00b", "/a%0d%0ab", "/a\"b", "/a<b>", "/a|b^c`d{e}", "/a\\b",
		"/a[b]", "/a'b(c)*d!e$f,g=h", "/%C3%A4", "/a%25%32%46", "/a+b%20c", "/a?", "/a??", "/a?b=%zz", "/a?b;c=d", "/a?b=c&d", "/a?x=%2F%2f&&", "/a?b=\"<>",
	} {
		_, body := r.raw("GET", "GET "+path+" HTTP/1.1\r\nHost: forge.example\r\nConnection: close\r\n\r\n")
		if want := "GET " + path + " host=forge.example "; !strings.HasPrefix(body, want) {
			t.Errorf("%q arrives as\n%.100s", path, body)
		}
		if o := r.outcome(); o != Served {
			t.Errorf("%q: outcome %d", path, o)
		}
	}
}

// TestRequestLine refuses what is no request for something of the service.
func TestRequestLine(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("the service sees %s %s", r.Method, r.RequestURI)
	})
	for line, want := range map[string]int{
		"GET http://elsewhere.example/a": 400, "GET //elsewhere.example/a": 400, "GET *": 400, "CONNECT elsewhere.example:443": 400, "CONNECT /a": 400,
		"GET /a#b": 400, "GET /a?b#c": 400, "GET /\xc3\xa4": 400, "GET a": 400, "GET /a b": 400, "GET /%zz": 400, "GET /a\x01b": 400, "G(ET /": 400,
	} {
		resp, body := r.raw("GET", line+" HTTP/1.1\r\nHost: forge.example\r\nConnection: close\r\n\r\n")
		if resp == nil || resp.StatusCode != want {
			t.Errorf("%q: %v %s", line, resp, body)
		}
	}
}

// TestFraming sends requests whose end two programs might see in two places: the service sees one request with one length, or none.
func TestFraming(t *testing.T) {
	r := newRig(t, echo)
	const chunked = "5\r\nhello\r\n0\r\n\r\n"
	for name, c := range map[string]struct {
		head, body string
		status     int
		want       string
	}{
		"chunked and a length":   {"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", chunked, 200, `length=-1 te=[chunked]`},
		"chunked, then a length": {"Content-Length: 50\r\nTransfer-Encoding: chunked\r\n", chunked, 200, `body="hello"`},
		"two lengths":            {"Content-Length: 5\r\nContent-Length: 6\r\n", "hello!", 400, ""},
		"the same length twice":  {"Content-Length: 5\r\nContent-Length: 5\r\n", "hello", 200, `length=5 te=[]`},
		"chunked twice":          {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", chunked, 501, ""},
		"another coding":         {"Transfer-Encoding: gzip, chunked\r\n", chunked, 501, ""},
		"disguised":              {"Transfer-Encoding: xchunked\r\n", chunked, 501, ""},
		"space before the colon": {"Content-Length : 5\r\n", "hello", 400, ""},
		"a length with a sign":   {"Content-Length: +5\r\n", "hello", 400, ""},
		"underscores":            {"Transfer_Encoding: chunked\r\nContent_Length: 5\r\n", "", 200, "length=0 te=[]"},
		"a folded header":        {"X-A: b\r\n Transfer-Encoding: chunked\r\n", "", 200, "length=0 te=[]"},
		"a bare LF in a header":  {"X-A: b\rTransfer-Encoding: chunked\r\n", "", 400, ""},
	} {
		resp, body := r.raw("POST", "POST /a HTTP/1.1\r\nHost: forge.example\r\nConnection: close\r\n"+c.head+"\r\n"+c.body)
		if resp == nil || resp.StatusCode != c.status || !strings.Contains(body, c.want) || strings.Contains(body, "_") {
			t.Errorf("%s: %v\n%s", name, resp, body)
		}
	}
}

// TestShapes passes on the kinds of requests and answers that there are.
func TestShapes(t *testing.T) {
	service := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/empty":
			w.WriteHeader(204)
		case "/length":
			w.Header().Set("Content-Length", "5")
			io.WriteString(w, "hello")
		case "/gone":
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(410)
			io.WriteString(w, "not gzip")
		case "/early":
			w.WriteHeader(403)
			io.WriteString(w, "no")
		default:
			echo(w, r)
		}
	}
	r := newRig(t, service)
	for name, c := range map[string]struct {
		method, text string
		status       int
		want         string
	}{
		"empty":          {"GET", "GET /empty HTTP/1.1\r\nHost: x\r\n\r\n", 204, ""},
		"a head":         {"HEAD", "HEAD /length HTTP/1.1\r\nHost: x\r\n\r\n", 200, ""},
		"as it is coded": {"GET", "GET /gone HTTP/1.1\r\nHost: x\r\n\r\n", 410, "not gzip"},
		"HTTP/1.0":       {"GET", "GET /length HTTP/1.0\r\n\r\n", 200, "hello"},
		"trailers":       {"PUT", "PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Jobward-User, Authorization, X-Forwarded-For\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\nJobward-User: root\r\nAuthorization: Bearer root\r\nX-Forwarded-For: root\r\n\r\n", 200, `body="abc" err=<nil> trailer=map[X-Sum:[7]]`},
		"100-continue":   {"PUT", "PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", 100, ""},
		"an upgrade":     {"GET", "GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 501, "WebSocket"},
		"h2c unasked":    {"GET", "GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n\r\n", 200, "GET /a"},
	} {
		resp, body := r.raw(c.method, c.text)
		if resp == nil || resp.StatusCode != c.status || !strings.Contains(body, c.want) || strings.Contains(body, "Upgrade: ") {
			t.Errorf("%s: %v %s", name, resp, body)
		}
		if name == "a head" && resp.ContentLength != 5 {
			t.Error("the length of a HEAD is", resp.ContentLength)
		}
	}
	if resp, body := r.do("POST", "/early", io.MultiReader(strings.NewReader("x"), neverEnding{})); resp == nil || resp.StatusCode != 403 {
		t.Errorf("an early answer: %v %s", resp, body)
	}
}

// neverEnding is a body that gives nothing for a while and then ends.
type neverEnding struct{}

func (neverEnding) Read([]byte) (int, error) { time.Sleep(50 * time.Millisecond); return 0, io.EOF }

// TestBothWays streams in both directions at once, as git does over one request, each chunk answered before the next is sent; and events without
// delay.
func TestBothWays(t *testing.T) {
	service := func(w http.ResponseWriter, r *http.Request) {
		ctl := http.NewResponseController(w)
		ctl.EnableFullDuplex()
		w.WriteHeader(200)
		ctl.Flush()
		in := bufio.NewScanner(r.Body)
		for in.Scan() {
			fmt.Fprintln(w, "re: "+in.Text())
			ctl.Flush()
		}
	}
	for _, h2 := range []bool{false, true} {
		r := newRig(t, service, func(r *rig, _ *Options) { r.front.EnableHTTP2 = h2 })
		body, send := io.Pipe()
		req, _ := http.NewRequestWithContext(t.Context(), "POST", r.front.URL+"/git-receive-pack", body)
		resp, err := r.front.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewReader(resp.Body)
		for i := range 20 {
			fmt.Fprintln(send, i)
			if got, err := answers.ReadString('\n'); got != fmt.Sprintf("re: %d\n", i) {
				t.Fatal(got, err)
			}
		}
		send.Close()
		if _, err := answers.ReadString('\n'); err != io.EOF {
			t.Error(err)
		}
		resp.Body.Close()
		if (resp.ProtoMajor == 2) != h2 || r.outcome() != Served {
			t.Error(resp.Proto)
		}
	}
}

// TestLarge moves more than any buffer holds, both ways.
func TestLarge(t *testing.T) {
	const size = 20 << 20
	service := func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Got", fmt.Sprint(n, err))
		io.CopyN(w, zeros{}, size)
	}
	r := newRig(t, service)
	for _, length := range []int64{size, -1} {
		req, _ := http.NewRequestWithContext(t.Context(), "PUT", r.front.URL+"/a", io.LimitReader(zeros{}, size))
		req.ContentLength = length
		resp, err := r.front.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if n != size || err != nil || resp.Header.Get("X-Got") != fmt.Sprint(size, nil) {
			t.Error(n, err, resp.Header)
		}
	}
	if r.asked.Load() < 4*size/chunk {
		t.Errorf("asked %d times for %d chunks", r.asked.Load(), 4*size/chunk)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestServiceFails answers with words when there is no service, and breaks off when it breaks off.
func TestServiceFails(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	for name, to := range map[string]string{"nobody": gone.URL, "no socket": "unix:" + filepath.Join(t.TempDir(), "s")} {
		r := newRig(t, nil, func(_ *rig, o *Options) { o.To = to })
		if resp, body := r.do("GET", "/a", nil); resp == nil || resp.StatusCode != 502 || !strings.Contains(body, "cannot be reached") || r.outcome() != Failed {
			t.Errorf("%s: %v %s", name, resp, body)
		}
	}
	r := newRig(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "hello")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	if resp, body := r.do("GET", "/a", nil); resp == nil || !strings.Contains(body, "EOF") || r.outcome() != Failed {
		t.Errorf("%v %s", resp, body)
	}
	r = newRig(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, _ := http.NewResponseController(w).Hijack()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		c.Close()
	})
	if resp, body := r.do("GET", "/a", nil); resp == nil || resp.StatusCode != 502 {
		t.Errorf("%v %s", resp, body)
	}
}

func TestTargets(t *testing.T) {
	for to, ok := range map[string]bool{
		"http://127.0.0.1:80": true, "https://forge.example": true, "http://[::1]:8080/": true, "unix:/run/s": true, "unix:s": true,
		"": false, "forge.example:80": false, "ftp://x": false, "http://": false, "http://x/a": false, "http://x?": false, "http://x?a": false, "http://x#a": false, "http://u:secret@x": false, "unix:": false, "http://x:y": false,
	} {
		if _, err := NewUpstream(Options{To: to}); (err == nil) != ok || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", to, err)
		}
	}
}

// TestOverSocket reaches a service on a Unix socket.
func TestOverSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(echo)}
	go s.Serve(l)
	defer s.Close()
	r := newRig(t, nil, func(_ *rig, o *Options) { o.To = "unix:" + socket })
	if _, body := r.do("GET", "/a%2Fb", nil); !strings.HasPrefix(body, "GET /a%2Fb host=127.0.0.1") {
		t.Error(body)
	}
}
