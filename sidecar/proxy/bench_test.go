package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"testing"
	"time"
)

// BenchmarkPass sends the same requests by turns through an Upstream whose question is answered at once and through net/http's own reverse proxy, and
// reports how they compare: the median, over the rounds, of the time of the bare one to that of ours. The figure asked for is 0.8 at least.
func BenchmarkPass(b *testing.B) {
	for _, size := range []int{200, 10 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			content := make([]byte, size)
			r := newRig(b, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", fmt.Sprint(size))
				w.Write(content)
			}, func(r *rig, o *Options) { o.Every = 0 })
			up := r.up
			ask := func(context.Context) bool { return true }
			ours := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				up.Serve(w, req, Passage{Ask: ask, Query: req.URL.RawQuery, Set: [][2]string{{"Jobward-Job", "1"}}}, nil)
			}))
			defer ours.Close()
			to, _ := url.Parse(r.service.URL)
			bare := httptest.NewServer(&httputil.ReverseProxy{
				Rewrite:   func(pr *httputil.ProxyRequest) { pr.SetURL(to); pr.SetXForwarded() },
				Transport: &http.Transport{MaxIdleConnsPerHost: idleConns, DisableCompression: true},
			})
			defer bare.Close()
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			batch := max(1, min(100, 1<<20/size))
			var buf [64 << 10]byte
			run := func(at string) time.Duration {
				began := time.Now()
				for range batch {
					resp, err := client.Get(at + "/a/b?c=d")
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
					o, p = run(ours.URL), run(bare.URL)
				} else {
					p, o = run(bare.URL), run(ours.URL)
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
