package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/sidecar/proxy"
)

// webEnv in the environment is how many of an answer's five headers the empty handler sets, with a place for serveEmptyWeb to listen at.
const webEnv = "JOBWARD_BENCH_WEB"

// serveEmptyWeb is the floor of forward-auth: a server with the sidecar's settings, whose handler answers 204, with as many bytes of headers as the
// sidecar has where it is told to.
func serveEmptyWeb(ctx context.Context, path string) {
	l, err := net.Listen("unix", path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	values := []string{"bench", "11", "102", benchURI, ""}
	full := os.Getenv(webEnv) == "full"
	s := http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if head := w.Header(); full {
				for i, name := range [...]string{"Jobward-Job", "Jobward-Project", "Jobward-User", "Jobward-Uri", "Authorization"} {
					head[name] = values[i : i+1 : i+1]
				}
			}
			w.WriteHeader(http.StatusNoContent)
		}),
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn), ConnContext: proxy.ConnContext, DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
	}
	context.AfterFunc(ctx, func() { s.Close() })
	s.Serve(l)
}

const benchURI = "/api/v4/projects/14/packages/generic/app/1.0/app.tar.gz"

// asker sends one request again and again over connections that are kept.
type asker struct {
	at      string
	request []byte
	conns   chan *conn
}

type conn struct {
	net.Conn
	in *bufio.Reader
}

func newAsker(at string, headers ...string) *asker {
	return &asker{at: at, conns: make(chan *conn, 64), request: fmt.Appendf(nil, "GET /auth HTTP/1.1\r\nHost: sidecar\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Uri: %s\r\n"+
		"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: packages.example\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n%s\r\n\r\n",
		benchURI, strings.Join(headers, "\r\n"))}
}

// ask makes the request, and wants 204.
func (a *asker) ask(context.Context) error {
	var c *conn
	select {
	case c = <-a.conns:
	default:
		raw, err := net.Dial("unix", a.at)
		if err != nil {
			return err
		}
		c = &conn{raw, bufio.NewReader(raw)}
	}
	if _, err := c.Write(a.request); err != nil {
		return err
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil || !bytes.HasPrefix(line, []byte("HTTP/1.1 204")) {
		return fmt.Errorf("%q, %v", line, err)
	}
	for len(line) > 2 {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return err
		}
	}
	a.conns <- c
	return nil
}

func (a *asker) close() {
	for len(a.conns) > 0 {
		(<-a.conns).Close()
	}
}

// BenchmarkForwardAuth is the shipped sidecar answering a proxy from its cache, over a Unix socket, beside empty handlers of a server with the same
// settings: one that answers with the same headers, and one that answers with none. The server's CPU per request over ten interleaved rounds. Target: at
// least 0.8 requests of an empty handler's for the same CPU (empty×auth).
func BenchmarkForwardAuth(b *testing.B) {
	dir := b.TempDir()
	at, door := "unix:"+filepath.Join(dir, "sidecar"), filepath.Join(dir, "door")
	side, issue := startSidecar(b, os.Args[0], dir, at, "--http-addr", "unix:"+door)
	ours := newAsker(door, "JOB-TOKEN: "+issue("bench"))
	defer ours.close()
	for end := time.Now().Add(10 * time.Second); ours.ask(b.Context()) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatal(ours.ask(b.Context()))
		}
	}
	floors := map[string]*asker{}
	children := map[string]*child{}
	for _, kind := range []string{"full", "bare"} {
		place := filepath.Join(dir, kind)
		children[kind] = start(b, []string{childEnv + "=http:" + place, webEnv + "=" + kind}, "unix:"+place)
		floors[kind] = newAsker(place, "JOB-TOKEN: "+string(bytes.Repeat([]byte("x"), 40)))
		defer floors[kind].close()
		for end := time.Now().Add(10 * time.Second); floors[kind].ask(b.Context()) != nil && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		}
	}
	var full, bare, auth []float64
	for i := range 11 {
		f, _ := children["full"].round(b, 1, floors["full"].ask)
		n, _ := children["bare"].round(b, 1, floors["bare"].ask)
		a, _ := side.round(b, 1, ours.ask)
		if i > 0 { // the first warms up
			full, bare, auth = append(full, f), append(bare, n), append(auth, a)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(middle(full), "empty-µs")
	b.ReportMetric(middle(bare), "headerless-µs")
	b.ReportMetric(middle(auth), "auth-µs")
	b.ReportMetric(middle(ratios(full, auth)), "empty×auth")
	b.ReportMetric(middle(ratios(bare, auth)), "headerless×auth")
}
