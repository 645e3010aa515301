package doors

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/sidecar/extauthz"
	"github.com/jobward/jobward/sidecar/forwardauth"
	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/grpccheck"
	"github.com/jobward/jobward/sidecar/pep"
	"github.com/jobward/jobward/sidecar/pep/peptest"
	"github.com/jobward/jobward/sidecar/proxy"
	"github.com/jobward/jobward/sidecar/registry"
	"github.com/jobward/jobward/sidecar/route"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// sidecar is every door of one sidecar, each on a socket, over one cache. Behind those that pass on is a service that streams stamps.
type sidecar struct {
	t     testing.TB
	begun time.Time
	pdp   *peptest.PDP
	// heard is the newest stamp that an upload brought to the service.
	heard atomic.Int64

	auth, through, images string // URLs
	envoy                 authv3.AuthorizationClient
	client                *http.Client
}

// openDoors opens them; asked makes of the cache what the doors ask.
func openDoors(t testing.TB, asked func(*pep.Decider) registry.Asker) *sidecar {
	t.Helper()
	s := &sidecar{t: t, begun: time.Now(), pdp: peptest.Start(t)}
	cache := s.pdp.Decider()
	asker := asked(cache)
	judge := &gate.Gate{Asker: asker, Routes: route.Builtin()}
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

	behind := s.serve(http.HandlerFunc(s.service))
	up, err := proxy.NewUpstream(proxy.Options{To: behind})
	s.must(err)
	t.Cleanup(up.Close)
	s.auth = s.serve(forwardauth.New(forwardauth.Options{Gate: judge, TrustedProxies: loopback}))
	s.through = s.serve(&proxy.Door{Gate: judge, Service: up})

	dir := t.TempDir()
	s.must(registry.MakeKeys(dir, time.Hour))
	keys, err := identity.LoadSigner(filepath.Join(dir, registry.CertFile), filepath.Join(dir, registry.KeyFile))
	s.must(err)
	images, err := registry.New(registry.Options{Asker: asker, Service: "images", Issuer: "jobward", URL: "https://registry.example", Keys: keys, Registry: up})
	s.must(err)
	s.images = s.serve(images)
	s.openEnvoy(cache, judge)
	s.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

func (s *sidecar) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// serve serves h as the daemon does.
func (s *sidecar) serve(h http.Handler) (address string) {
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ConnContext = proxy.ConnContext
	srv.Start()
	s.t.Cleanup(srv.Close)
	return srv.URL
}

// openEnvoy opens the gRPC door, whose Check is beside ext_authz.
func (s *sidecar) openEnvoy(cache *pep.Decider, judge *gate.Gate) {
	callers, err := identity.NewDevelopment()
	s.must(err)
	services, err := grpccheck.New(grpccheck.Options{Decider: grpccheck.Of(cache), Callers: callers})
	s.must(err)
	door, err := extauthz.New(judge, nil)
	s.must(err)
	g := grpc.NewServer(append(services.ServerOptions(), grpc.WaitForHandlers(true))...)
	services.Register(g)
	door.Register(g, services)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	s.must(err)
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	s.must(err)
	s.t.Cleanup(func() {
		conn.Close()
		g.Stop()
		services.Wait()
		s.must(<-served)
	})
	s.envoy = authv3.NewAuthorizationClient(conn)
}

// now is a stamp.
func (s *sidecar) now() int64 { return int64(time.Since(s.begun)) }

// stampBytes is the size of a stamp.
const stampBytes = 8

// pace waits a little between two stamps, never the same time.
func pace() { time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond) }

// service streams stamps to who asks for a file called stream or for a blob, each as it is made, and notes those that it is sent.
func (s *sidecar) service(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		if r.Header.Get("Range") == "" { // the clients' way to ask for a stream
			return
		}
		for r.Context().Err() == nil {
			if _, err := w.Write(binary.BigEndian.AppendUint64(nil, uint64(s.now()))); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			pace()
		}
		return
	}
	s.heard.Store(0)
	read(r.Body, &s.heard)
}

// read reads stamps to the end, and keeps the newest.
func read(from io.Reader, newest *atomic.Int64) error {
	buf := make([]byte, stampBytes)
	for {
		if _, err := io.ReadFull(from, buf); err != nil {
			return err
		}
		newest.Store(int64(binary.BigEndian.Uint64(buf)))
	}
}

// login gives a registry token for a job token, or none.
func (s *sidecar) login(token string) string {
	r, err := http.NewRequest(http.MethodGet, s.images+"/jwt/auth?service=images&scope="+url.QueryEscape("repository:acme/app/image:pull,push"), nil)
	s.must(err)
	r.SetBasicAuth("gitlab-ci-token", token)
	resp, err := s.client.Do(r)
	s.must(err)
	defer resp.Body.Close()
	var out struct{ Token string }
	if resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(&out) != nil {
		return ""
	}
	return out.Token
}

func basicOf(token string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte("gitlab-ci-token:"+token))
}
