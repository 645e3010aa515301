package conformance

import (
	"cmp"
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/jobward/jobward/internal/clock"
	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/feed"
	"github.com/jobward/jobward/pdp/scenario"
	"github.com/jobward/jobward/pdp/server"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
	"github.com/jobward/jobward/sidecar/pep"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// corpus calls fn with every scenario there is.
func corpus(t *testing.T, fn func(*scenario.Scenario)) {
	t.Helper()
	files, err := filepath.Glob("../../pdp/scenario/testdata/cases/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files of cases, %v", len(files), err)
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		err = scenario.Read(f, file, func(s scenario.Scenario) error {
			fn(&s)
			return nil
		})
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// at is a clock that stands still.
type at authz.Stamp

// Now implements engine.Clock.
func (c at) Now() authz.Stamp { return authz.Stamp(c) }

// system is a PDP with the world of one scenario, and a cache that asks it.
type system struct {
	t        *testing.T
	scenario *scenario.Scenario
	req      authz.Request
	path     string // of the target; of a project that is nowhere where none is asked for
	engine   *engine.Engine
	conn     *grpc.ClientConn // to the PDP
	tokens   *token.Format
	text     string // of the token that the job shows; empty for an anonymous visitor
	cache    *pep.Decider
	sidecar  *grpc.ClientConn // to the sidecar; made by the door that is it
}

// start makes the world of a scenario; everything ends with the test.
func start(t *testing.T, c *scenario.Scenario) *system {
	t.Helper()
	records, req, now, err := c.Records()
	must(t, err)
	s := &system{t: t, scenario: c, req: req, path: cmp.Or(c.Request.TargetProject, "no/where")}
	s.tokens, err = token.NewFormat(token.DefaultPrefix)
	must(t, err)
	s.giveText(records)
	store, boot := memstore.New(), clock.New()
	s.engine, err = engine.New(t.Context(), engine.Options{Store: store, Tokens: s.tokens, Clock: at(now), Feed: feed.Options{Term: 30 * time.Second, Now: func() lease.Instant { return lease.Instant(boot.Now()) }}})
	must(t, err)
	_, err = store.Commit(t.Context(), state.Batch{Puts: records, Stamp: now, Actor: "conformance", Verb: "world"})
	must(t, err)
	callers, err := identity.NewDevelopment(&net.UnixAddr{Name: "conformance", Net: "unix"})
	must(t, err)
	srv, err := server.New(server.Options{Engine: s.engine, Tokens: s.tokens, Callers: callers, Version: "conformance"})
	must(t, err)
	g := grpc.NewServer(append(srv.ServerOptions(), grpc.WaitForHandlers(true))...)
	srv.Register(g)
	pipe := serve(t, g)
	s.conn = dial(t, pipe)
	d, err := pep.New(pep.Config{Addresses: []string{"pdp:1"}, Development: true, Name: "conformance", ReportEvery: -1,
		Dial: func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }})
	must(t, err)
	t.Cleanup(func() {
		must(t, d.Close(context.Background()))
		s.conn.Close()
		g.Stop()
		s.engine.Close()
		must(t, store.Close())
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	must(t, d.WaitReady(ctx))

	s.cache = d
	return s
}

// giveText mints what is shown, and puts its digest where the scenario has one that no text has.
func (s *system) giveText(records []state.Record) {
	switch s.scenario.Job.Token {
	case "none":
		return
	case "malformed":
		s.text = "no-token-of-ours"
		return
	}
	secret := s.tokens.Mint()
	s.text = secret.Reveal()
	shows := s.scenario.Job.Shows()
	for _, r := range records {
		switch r := r.(type) {
		case *state.Job:
			if r.Digest == shows {
				r.Digest = secret.Digest()
			}
		case *state.Replaced:
			if r.Digest == shows {
				r.Digest = secret.Digest()
			}
		}
	}
	s.req.Token = secret.Digest()
}

// serve runs g on a pipe until the test ends.
func serve(t *testing.T, g *grpc.Server) *bufconn.Listener {
	pipe := bufconn.Listen(1 << 16)
	served := make(chan error, 1)
	go func() { served <- g.Serve(pipe) }()
	t.Cleanup(func() {
		g.Stop()
		must(t, <-served)
	})
	return pipe
}

func dial(t *testing.T, pipe *bufconn.Listener) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient("passthrough:///pipe", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }))
	must(t, err)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// doorPackages are the packages that are doors, as the tree has them.
func doorPackages(t *testing.T) (found []string) {
	t.Helper()
	for _, side := range []string{"pdp", "sidecar"} {
		dirs, err := os.ReadDir("../../" + side)
		must(t, err)
		for _, d := range dirs {
			if d.IsDir() {
				found = append(found, side+"/"+d.Name())
			}
		}
	}
	return slices.DeleteFunc(found, func(p string) bool { return strings.HasPrefix(p, ".") })
}
