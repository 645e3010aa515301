package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/jobward/jobward/sidecar/pep/peptest"
	"github.com/jobward/jobward/sidecar/proxy"
)

// BenchmarkPass sends the same requests by turns through the whole door, whose decisions come from the cache, and through net/http's own reverse proxy
// without checks, and reports how they compare: the median, over the rounds, of the time of the bare one to that of ours. The figure asked for is
// 0.8 at least.
func BenchmarkPass(b *testing.B) {
	for _, size := range []int{200, 10 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			content := make([]byte, size)
			service := func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", fmt.Sprint(size))
				w.Write(content)
			}
			h := newHouse(b, service, func(o *proxy.Options) { o.Every = 0 })
			h.door.Done = nil // nobody waits for outcomes
			token := h.pdp.Issue("1", peptest.App, peptest.Dev)
			behind := httptest.NewServer(http.HandlerFunc(service))
			defer behind.Close()
			to, _ := url.Parse(behind.URL)
			bare := httptest.NewServer(&httputil.ReverseProxy{
				Rewrite:   func(pr *httputil.ProxyRequest) { pr.SetURL(to); pr.SetXForwarded() },
				Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
			})
			defer bare.Close()
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			batch := max(1, min(100, 1<<20/size))
			var buf [64 << 10]byte
			run := func(at string) time.Duration {
				began := time.Now()
				for range batch {
					req, _ := http.NewRequest("GET", at+packageOf(peptest.Lib), nil)
					req.Header.Set("Job-Token", token)
					resp, err := client.Do(req)
					if err != nil {
						b.Fatal(err)
					}
					n, _ := io.CopyBuffer(io.Discard, struct{ io.Reader }{resp.Body}, buf[:])
					resp.Body.Close()
					if n != int64(size) {
						b.Fatal(n)
					}
				}
				return time.Since(began)
			}
			var ratios []float64
			var mine time.Duration
			for i := 0; b.Loop(); i++ {
				var o, p time.Duration
				if i%2 == 0 {
					o, p = run(h.front.URL), run(bare.URL)
				} else {
					p, o = run(bare.URL), run(h.front.URL)
				}
				mine += o
				ratios = append(ratios, float64(p)/float64(o))
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "of-bare")
			b.ReportMetric(float64(mine.Nanoseconds())/float64(len(ratios)*batch), "ns/request")
			b.ReportMetric(0, "ns/op")
		})
	}
}
