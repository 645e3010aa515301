package doors

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/pep"
	"github.com/jobward/jobward/sidecar/pep/peptest"
	"github.com/jobward/jobward/sidecar/registry"
)

var flagSeed = flag.Uint64("seed", 0, "of the moments at which TestRevoke revokes; 0 takes a new one")

// asIs lets the doors ask the cache.
func asIs(d *pep.Decider) registry.Asker { return d }

// TestRevoke (P1) hammers every door with allowed requests, and with transfers that do not end, while jobs are revoked: nothing that began after the receipt is
// let through, no request, and no chunk in either direction.
func TestRevoke(t *testing.T) {
	seed := *flagSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("go test ./test/doors -run TestRevoke -seed=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := openDoors(t, asIs)
	began, rounds := time.Now(), 0
	for ; rounds < 3 || time.Since(began) < 4*time.Second && !t.Failed(); rounds++ {
		for door, what := range s.round(fmt.Sprint("job-", rounds), time.Duration(random.IntN(20_000))*time.Microsecond) {
			t.Errorf("round %d, %s: %s", rounds, door, what)
		}
	}
	t.Logf("%d rounds", rounds)
}

// TestRevokePlanted puts a small cache of answers before the doors, as one would to make them faster, and each of them is caught.
func TestRevokePlanted(t *testing.T) {
	s := openDoors(t, func(d *pep.Decider) registry.Asker { return &lazy{Asker: d, known: map[authz.Request]remembered{}} })
	caught := s.round("job", 0)
	for _, d := range s.doors("") {
		if caught[d.name] == "" {
			t.Errorf("%s: not caught", d.name)
		}
	}
	for _, name := range streams {
		if caught[name] == "" {
			t.Errorf("%s: not caught", name)
		}
	}
}

// lazy remembers answers for a second.
type lazy struct {
	registry.Asker
	mu    sync.Mutex
	known map[authz.Request]remembered
}

type remembered struct {
	authz.Decision
	until time.Time
}

// Check implements authz.Decider.
func (l *lazy) Check(ctx context.Context, q authz.Request) (authz.Decision, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.known[q]; time.Now().Before(k.until) {
		return k.Decision, nil
	}
	d, err := l.Asker.Check(ctx, q)
	if err == nil {
		l.known[q] = remembered{d, time.Now().Add(time.Second)}
	}
	return d, err
}

// CheckMany implements registry.Asker.
func (l *lazy) CheckMany(ctx context.Context, reqs []authz.Request) (out []authz.Decision, err error) {
	for _, q := range reqs {
		d, err := l.Check(ctx, q)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// door makes one request of a job that is allowed while it lives, and tells whether it was.
type door struct {
	name string
	try  func() (allowed bool)
}

func (s *sidecar) doors(token string) []door {
	pass := s.login(token)
	get := func(status int, address string, headers ...string) func() bool {
		return func() bool {
			resp, err := s.client.Do(s.request(http.MethodGet, address, nil, headers...))
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			io.Copy(io.Discard, resp.Body)
			return resp.StatusCode == status
		}
	}
	envoy := &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
		Method: "GET", Path: "/acme/lib.git/info/refs?service=git-upload-pack", Headers: map[string]string{"authorization": basicOf(token)}}}}}
	return []door{
		{"forward-auth", get(204, s.auth+"/auth", "Job-Token", token, "X-Forwarded-Method", "GET", "X-Forwarded-Uri", "/api/v4/projects/11/packages")},
		{"forward-auth, nginx", get(204, s.auth+"/auth/nginx", "Authorization", basicOf(token), "X-Original-Method", "POST", "X-Original-Uri", "/acme/lib.git/git-upload-pack")},
		{"proxy", get(200, s.through+"/api/v4/projects/11/packages?job_token="+token)},
		{"proxy, public", get(200, s.through+"/api/v4/projects/13/packages", "Authorization", "Bearer "+token)},
		{"ext_authz", func() bool {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			out, err := s.envoy.Check(ctx, envoy)
			return err == nil && out.GetOkResponse() != nil
		}},
		{"registry", get(200, s.images+"/v2/acme/app/image/manifests/latest", "Authorization", "Bearer "+pass)},
		{"registry, login", func() bool { return s.login(token) != "" }},
	}
}

func (s *sidecar) request(method, address string, body io.Reader, headers ...string) *http.Request {
	r, err := http.NewRequest(method, address, body)
	s.must(err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// The transfers that are under way.
const (
	download    = "proxy, a download"
	upload      = "proxy, an upload"
	pull        = "registry, a pull"
	clientsEach = 2
	triesAfter  = 5
)

var streams = []string{download, upload, pull}

// round is the life of one job: every door lets it through, then it is revoked after a while. It gives what was let through all the same, by door.
func (s *sidecar) round(job string, after time.Duration) map[string]string {
	token := s.pdp.Issue(job, peptest.App, peptest.Dev)
	var mu sync.Mutex
	wrong := map[string]string{}
	report := func(door, what string) {
		mu.Lock()
		defer mu.Unlock()
		wrong[door] = what
	}
	var revoked atomic.Bool // set when the receipt is there
	var receipt atomic.Int64
	var clients, warm sync.WaitGroup
	for _, d := range s.doors(token) {
		for range clientsEach {
			warm.Add(1)
			clients.Go(func() {
				once := sync.OnceFunc(warm.Done)
				defer once()
				for begun, left := time.Now(), triesAfter; left > 0; {
					late := revoked.Load()
					allowed := d.try()
					switch {
					case allowed && late:
						report(d.name, "a request that began after the receipt was allowed")
					case allowed:
						once()
					case time.Since(begun) > patience:
						report(d.name, "it was never allowed, or the job never ended")
						return
					}
					if late {
						left--
					}
				}
			})
		}
	}
	var newest [3]atomic.Int64 // stamps, in the order of streams
	for i, name := range streams {
		warm.Add(1)
		clients.Go(func() {
			flowing := sync.OnceFunc(warm.Done)
			defer flowing()
			if s.transfer(name, token, &newest[i], flowing) {
				report(name, "it came to its end, as if all were well")
			}
		})
	}
	warm.Wait()
	time.Sleep(after)
	s.pdp.Revoke(job)
	receipt.Store(s.now())
	revoked.Store(true)
	clients.Wait()
	for i, name := range streams {
		n := newest[i].Load()
		if n == 0 {
			report(name, "nothing flowed")
		} else if n > receipt.Load() {
			report(name, fmt.Sprintf("a chunk that was begun %s after the receipt went through", time.Duration(n-receipt.Load())))
		}
	}
	return wrong
}

// transfer runs one until it is cut. It reports whether it ended well, which none of these can.
func (s *sidecar) transfer(name, token string, newest *atomic.Int64, flowing func()) bool {
	const file = "/api/v4/projects/10/packages/generic/a/1/f"
	var r *http.Request
	switch name {
	case download:
		r = s.request("GET", s.through+file, nil, "Job-Token", token, "Range", "bytes=0-")
	case pull:
		r = s.request("GET", s.images+"/v2/acme/app/image/blobs/sha256:"+strings.Repeat("0", 64), nil, "Authorization", "Bearer "+s.login(token), "Range", "bytes=0-")
	default:
		return s.upload(s.request("PUT", s.through+file, nil, "Job-Token", token), newest, flowing)
	}
	resp, err := s.client.Do(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		return false
	}
	defer resp.Body.Close()
	first := make([]byte, stampBytes)
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		return false
	}
	newest.Store(int64(binary.BigEndian.Uint64(first)))
	flowing()
	return read(resp.Body, newest) == io.EOF
}

// upload sends stamps until nobody takes them, and notes what came to the service.
func (s *sidecar) upload(r *http.Request, newest *atomic.Int64, flowing func()) (ended bool) {
	s.heard.Store(0)
	out, in := io.Pipe()
	r.Body = out
	done := make(chan bool, 1)
	go func() {
		resp, err := s.client.Do(r)
		if err == nil {
			resp.Body.Close()
		}
		out.CloseWithError(io.ErrClosedPipe)
		done <- err == nil && resp.StatusCode == http.StatusOK
	}()
	for {
		if _, err := in.Write(binary.BigEndian.AppendUint64(nil, uint64(s.now()))); err != nil {
			break
		}
		if n := s.heard.Load(); n != 0 {
			newest.Store(n)
			flowing()
		}
		pace()
	}
	ended = <-done
	newest.Store(s.heard.Load())
	return ended
}
