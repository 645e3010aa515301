package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// sidecar plays a sidecar by hand: what it is told of it confirms when the test says so.
type sidecar struct {
	t          *testing.T
	cc         *grpc.ClientConn
	stream     grpc.BidiStreamingClient[jobwardv1.WatchRequest, jobwardv1.WatchResponse]
	generation uint64
	told       chan uint64 // revisions of invalidations
}

func newSidecar(t *testing.T, addr, name string) *sidecar {
	t.Helper()
	cc, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &sidecar{t: t, cc: cc, told: make(chan uint64, 100)}
	if s.stream, err = jobwardv1.NewWatchServiceClient(cc).Watch(ctx); err != nil {
		t.Fatal(err)
	}
	s.send(&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Hello{Hello: &jobwardv1.WatchHello{Name: name, Version: "v1"}}})
	m, err := s.stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	s.generation = m.GetWelcome().GetGeneration()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := s.stream.Recv()
			if err != nil {
				return
			}
			if i := m.GetInvalidation(); i != nil {
				s.told <- i.GetRevision()
			}
		}
	}()
	t.Cleanup(func() {
		s.send(&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Release{Release: &jobwardv1.LeaseRelease{Generation: s.generation}}})
		<-done
		cancel()
		cc.Close()
	})
	return s
}

func (s *sidecar) send(m *jobwardv1.WatchRequest) {
	s.t.Helper()
	if err := s.stream.Send(m); err != nil {
		s.t.Error(err)
	}
}

// ack confirms the next invalidation.
func (s *sidecar) ack() {
	s.send(&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Ack{Ack: &jobwardv1.InvalidationAck{Revision: <-s.told}}})
}

// hold gets a token and keeps an answer about it.
func (s *sidecar) hold(addr, job string) {
	s.t.Helper()
	code, token, errout := ctl(s.t, addr, "token", "issue", "-q", "--job", job, "--project", "acme/web/shop", "--user", "dana")
	if code != ExitOK {
		s.t.Fatal(errout)
	}
	out, err := jobwardv1.NewDecisionServiceClient(s.cc).Check(context.Background(), &jobwardv1.CheckRequest{
		Token: strings.TrimSpace(token), TargetProjectPath: "acme/web/shop", Permission: "read_releases", Generation: s.generation,
	})
	if err != nil || out.GetDecision().GetAnswerNumber() == 0 {
		s.t.Fatal(out, err)
	}
}

// TestReceipts: every verb that takes something away tells who has let go of it.
func TestReceipts(t *testing.T) {
	addr := newPDP(t, "--lease-term=30s")
	s := newSidecar(t, addr, "edge-1")
	for _, job := range []string{"j1", "j2", "j3", "j4"} {
		s.hold(addr, job)
	}
	run := func(want int, args string) (out, errout string) {
		t.Helper()
		code, out, errout := ctl(t, addr, strings.Fields(args)...)
		if code != want {
			t.Errorf("pdpctl %s: code %d\n%s%s", args, code, out, errout)
		}
		return out, errout
	}
	wants := func(text string, words ...string) {
		t.Helper()
		for _, w := range words {
			if !strings.Contains(text, w) {
				t.Errorf("no %q in\n%s", w, text)
			}
		}
	}

	out, _ := run(ExitOK, "token revoke --job j1 --wait durable")
	wants(out, "revoked", "not effective", "caches: 1 may still answer from before")
	rev := regexp.MustCompile(`revision (\d+)`).FindStringSubmatch(out)[1]
	out, errout := run(ExitFailed, "--timeout 500ms receipt await "+rev)
	wants(out+errout, "not effective", "1 may still answer from before", "pdpctl receipt await "+rev)
	s.ack()
	out, errout = run(ExitOK, "receipt await --progress "+rev)
	wants(out, "revision "+rev+", effective", "caches: 1 confirmed")
	wants(errout, "revision "+rev+", effective; caches: 1 confirmed")

	// As on a terminal: durable at once, then each step.
	go func() { time.Sleep(200 * time.Millisecond); s.ack() }()
	out, errout = run(ExitOK, "token revoke --job j2 --job j1 --progress")
	wants(out, "j2   revoked", "j1   already_dead", "effective: no check", "caches: 2 confirmed; waited ")
	wants(errout, ", durable; caches: 1 confirmed, 1 may still answer from before", ", effective; caches: 1 confirmed")

	go s.ack()
	out, _ = run(ExitOK, "token issue --job j3 --project acme/web/shop --user dana")
	wants(out, "replaced", "caches: 1 confirmed")
	_, errout = run(ExitFailed, "--timeout 500ms directory block dana")
	wants(errout, "is made and not in force everywhere yet")
	s.ack()
	out, _ = run(ExitOK, "directory block dana")
	wants(out, "in force everywhere", "caches: ")
	out, _ = run(ExitOK, "-o json directory unblock dana --validate-only")
	var got struct {
		Receipt struct{ Effective bool }
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Receipt.Effective {
		t.Errorf("%s %v", out, err)
	}
	_, errout = run(ExitFailed, "receipt await 1000000")
	wants(errout, "REVISION_AHEAD")
	_, errout = run(ExitFailed, "token revoke --job j4 --wait forever")
	wants(errout, "--wait")
}

// TestImportWaits: an import makes its changes first and then waits for all of them.
func TestImportWaits(t *testing.T) {
	addr := newPDP(t, "--lease-term=30s")
	s := newSidecar(t, addr, "edge-1")
	s.hold(addr, "j1")
	file := filepath.Join(t.TempDir(), "world.yaml")
	if code, _, errout := ctl(t, addr, "world", "export", file); code != ExitOK {
		t.Fatal(errout)
	}
	if code, out, errout := ctl(t, addr, "world", "import", file); code != ExitOK {
		t.Fatalf("nothing differs: %s%s", out, errout)
	}
	world, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(world, []byte("enforce_inbound: true"), []byte("enforce_inbound: false"), 1)
	if bytes.Equal(changed, world) {
		t.Fatalf("the sample world has changed:\n%s", world)
	}
	if err := os.WriteFile(file, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() { time.Sleep(100 * time.Millisecond); s.ack() }()
	began := time.Now()
	if code, out, errout := ctl(t, addr, "world", "import", file); code != ExitOK || time.Since(began) < 100*time.Millisecond {
		t.Errorf("after %v: %s%s", time.Since(began), out, errout)
	}
}

func TestSidecars(t *testing.T) {
	addr := newPDP(t)
	if code, out, errout := ctl(t, addr, "sidecars"); code != ExitOK || !strings.Contains(out, "no sidecar holds a lease") {
		t.Errorf("%d %s%s", code, out, errout)
	}
	s := newSidecar(t, addr, "edge-1")
	s.hold(addr, "j1")
	s.send(&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Renew{Renew: &jobwardv1.LeaseRenewal{Number: 1, Entries: 7, Hits: 3, Misses: 1, AppliedRevision: 2}}})
	var out string
	for ok := false; !ok; {
		_, out, _ = ctl(t, addr, "sidecars")
		ok = strings.Contains(out, "75.0%")
	}
	for line := range strings.Lines(out) {
		if len(line) > 100 {
			t.Errorf("%d columns in\n%s", len(line), out)
		}
	}
	_, wide, _ := ctl(t, addr, "sidecars", "--wide")
	for _, want := range []string{"NAME", "edge-1", "75.0%", "head revision", "leases run for 5s"} {
		if !strings.Contains(out, want) || !strings.Contains(wide, want) {
			t.Errorf("no %q in\n%s\nor\n%s", want, out, wide)
		}
	}
	for _, want := range []string{"local:development", "true", "v1"} {
		if !strings.Contains(wide, want) {
			t.Errorf("no %q in\n%s", want, wide)
		}
	}
	code, out, _ := ctl(t, addr, "-o", "json", "sidecars")
	var got struct {
		Sidecars []struct{ Name, Entries string }
	}
	if err := json.Unmarshal([]byte(out), &got); code != ExitOK || err != nil || len(got.Sidecars) != 1 || got.Sidecars[0].Entries != "7" {
		t.Errorf("%d %s %v", code, out, err)
	}
}

// TestWatchLive: lines come as things happen, in each form.
func TestWatchLive(t *testing.T) {
	addr := newPDP(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	busy := make(chan struct{})
	go func() { // until the watchers have what they want
		defer close(busy)
		for i := 0; ctx.Err() == nil; i++ {
			job := "live-" + strings.Repeat("x", i%50)
			ctl(t, addr, "token", "revoke", "--job", job)
			ctl(t, addr, "check", "nonsense", "-p", "read_releases")
			time.Sleep(10 * time.Millisecond)
		}
	}()
	for args, want := range map[string]string{
		"watch --count 4":                            `(?s)\d\d:\d\d:\d\d\.\d{3}  (change   revision \d+  revoke by local:development  job/#\w+  -> 0 sidecars|DENY     token_malformed  read_releases on project -)`,
		"watch --count 1 --invalidations":            "change   revision",
		"watch --count 1 --decisions":                "DENY     token_malformed",
		"-o json watch --count 2 --invalidations":    `(?m)^\{"time":.*"change":\{"revision":"\d+","actor":"local:development","verb":"revoke"`,
		"-o yaml watch --count 1 --decisions":        "(?s)^---\n.*reason: REASON_TOKEN_MALFORMED",
		"watch --count 1 --decisions --timeout 10ms": "DENY", // which is for calls
	} {
		code, out, errout := ctl(t, addr, strings.Fields(args)...)
		if code != ExitOK || !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("pdpctl %s: code %d, no %s in\n%s%s", args, code, want, out, errout)
		}
	}
	cancel()
	<-busy
	interrupted, stop := context.WithCancel(t.Context()) // and no deadline, which the PDP may see first
	defer stop()
	time.AfterFunc(200*time.Millisecond, stop)
	var out, errout bytes.Buffer
	if code := Main(interrupted, []string{"--address", addr, "watch"}, strings.NewReader(""), &out, &errout); code != ExitOK {
		t.Errorf("interrupted: %d %s", code, &errout)
	}
	if code, _, errout := ctl(t, "unix:"+filepath.Join(t.TempDir(), "none"), "watch"); code != ExitFailed || !strings.Contains(errout, "no PDP answers at") {
		t.Errorf("%d %s", code, errout)
	}
}
