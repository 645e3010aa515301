package forwardauth_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"net"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/jobward/jobward/sidecar/forwardauth"
	"github.com/jobward/jobward/sidecar/gate"
)

var rounds = flag.Int("rounds", 40, "rounds of BenchmarkAsk")

// BenchmarkAsk asks about cached decisions over a Unix socket with keep-alive, beside a handler of the same server that answers at once with the
// same status, in turns. It prints the medians of the CPU time and their ratio, in which the client, that costs the same for both, takes part. The
// decision itself costs nothing here: what it costs is pep's benchmark.
func BenchmarkAsk(b *testing.B) {
	h := forwardauth.New(forwardauth.Options{Gate: &gate.Gate{Asker: &fake{}, Routes: table(), Counts: &gate.Counts{}}, TrustUnix: true})
	socket := serve(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/empty" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h.ServeHTTP(w, r)
	}))
	c, err := net.Dial("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReader(c)
	request := func(path, d string, show string) []byte {
		return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: sidecar\r\nX-%s-Method: GET\r\nX-%s-Uri: %s\r\nUser-Agent: git/2.39\r\nAccept: */*\r\nAccept-Encoding: deflate, gzip\r\n%s\r\n\r\n",
			path, d, d, packages+"/generic/p/1/f.txt", show)
	}
	const each = 2000
	run := func(req []byte) time.Duration {
		begun := cpu(b)
		for range each {
			if _, err := c.Write(req); err != nil {
				b.Fatal(err)
			}
			line, err := in.ReadSlice('\n')
			if err != nil || !bytes.HasPrefix(line, []byte("HTTP/1.1 204")) {
				b.Fatalf("%q, %v", line, err)
			}
			for len(line) > 2 {
				if line, err = in.ReadSlice('\n'); err != nil {
					b.Fatal(err)
				}
			}
		}
		return (cpu(b) - begun) / each
	}
	const header = "Job-Token: " + good
	r, _ := http.NewRequest("GET", "/", nil)
	r.SetBasicAuth("gitlab-ci-token", good)
	basic := "Authorization: " + r.Header.Get("Authorization")
	for _, k := range []struct{ name, path, dialect, show string }{
		{"forward, header", forwardauth.Path, "Forwarded", header}, {"forward, basic", forwardauth.Path, "Forwarded", basic},
		{"nginx, header", forwardauth.NginxPath, "Original", header},
	} {
		b.Run(k.name, func(b *testing.B) {
			for b.Loop() { // one loop is all rounds
				var took [2][]time.Duration
				for range *rounds {
					for i, path := range []string{"/empty", k.path} {
						took[i] = append(took[i], run(request(path, k.dialect, k.show)))
					}
				}
				slices.Sort(took[0])
				slices.Sort(took[1])
				empty, ours := took[0][*rounds/2], took[1][*rounds/2]
				b.ReportMetric(float64(empty), "ns/empty")
				b.ReportMetric(float64(ours), "ns/ask")
				b.ReportMetric(float64(empty)/float64(ours), "ratio")
			}
		})
	}
}

// cpu is the CPU time of this process, which other processes disturb less than the clock.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkHandler is the handler without a server.
func BenchmarkHandler(b *testing.B) {
	h := doorOf(&fake{})
	r := subrequest(0, "GET", packages)
	r.Header.Set("Job-Token", good)
	w := &nowhere{h: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.h)
		h.ServeHTTP(w, r)
	}
}

type nowhere struct{ h http.Header }

func (w *nowhere) Header() http.Header         { return w.h }
func (w *nowhere) WriteHeader(int)             {}
func (w *nowhere) Write(p []byte) (int, error) { return len(p), nil }
