package peptest_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/pep"
	"github.com/jobward/jobward/sidecar/pep/peptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func question(d interface{ Digest(string) authz.Digest }, token string, target authz.ProjectID) authz.Request {
	return authz.Request{Token: d.Digest(token), Target: authz.Target{ID: target}, Permission: "read_packages"}
}

func TestPDP(t *testing.T) {
	t.Run("in a bubble", func(t *testing.T) { synctest.Test(t, testPDP) })
	t.Run("in real time", testPDP)
}

func testPDP(t *testing.T) {
	pdp := peptest.Start(t)
	d := pdp.Decider()
	ctx := context.Background()
	token := pdp.Issue("job-1", peptest.App, peptest.Dev)
	want := func(target authz.ProjectID, reason authz.Reason, cached bool) {
		t.Helper()
		out, err := d.Check(ctx, question(d, token, target))
		if err != nil || out.Reason != reason || out.Cached != cached {
			t.Errorf("project %d: %v, cached %v, %v; want %v, cached %v", target, out.Reason, out.Cached, err, reason, cached)
		}
	}
	want(peptest.Lib, authz.AllowedListed, false)
	want(peptest.Lib, authz.AllowedListed, true)
	want(peptest.Closed, authz.InboundNotListed, false)
	want(peptest.Closed, authz.InboundNotListed, true)
	pdp.Allow(peptest.Closed, peptest.App)
	want(peptest.Closed, authz.AllowedListed, false)
	want(peptest.Lib, authz.AllowedListed, true)
	pdp.Disallow(peptest.Closed, peptest.App)
	want(peptest.Closed, authz.InboundNotListed, false)
	want(20, authz.TargetNotFound, false)
	pdp.AddProject(20, "new")
	want(20, authz.InboundNotListed, false)
	pdp.AddUser(9, "nina", authz.RoleMaintainer)
	if who, err := d.Introspect(ctx, d.Digest(token)); err != nil || !who.Live || who.Record.GetJobId() != "job-1" {
		t.Errorf("%+v, %v", who, err)
	}
	many, err := d.CheckMany(ctx, []authz.Request{question(d, token, peptest.Lib), question(d, token, peptest.Open), question(d, "x", peptest.Open)})
	if err != nil || !many[0].Cached || !many[1].Allow || many[2].Reason != authz.TokenMalformed {
		t.Errorf("%+v, %v", many, err)
	}
	time.Sleep(2 * peptest.DefaultTerm) // renewed meanwhile
	want(peptest.Lib, authz.AllowedListed, true)
	pdp.Revoke("job-1")
	want(peptest.Lib, authz.JobNotRunning, false)
	if c := d.Counters(); c.Leases != 1 || c.Lapses != 0 || c.Failed != 0 {
		t.Errorf("%+v", c)
	}
}

// P2 over gRPC: an outage that is shorter than the lease is not seen, a longer one denies.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pdp := peptest.Start(t)
		d := pdp.Decider()
		q := question(d, pdp.Issue("job-1", peptest.App, peptest.Dev), peptest.Lib)
		want := func(reason authz.Reason, cached bool) {
			t.Helper()
			if out, err := d.Check(context.Background(), q); err != nil || out.Reason != reason || out.Cached != cached {
				t.Errorf("%v, cached %v, %v; want %v, cached %v", out.Reason, out.Cached, err, reason, cached)
			}
		}
		want(authz.AllowedListed, false)
		time.Sleep(2 * peptest.DefaultTerm) // until the Decider knows the revision that the token was issued at
		pdp.Outage(true)
		time.Sleep(300 * time.Millisecond)
		want(authz.AllowedListed, true)
		pdp.Outage(false)
		time.Sleep(3 * peptest.DefaultTerm)
		want(authz.AllowedListed, true) // carried over
		pdp.Outage(true)
		pdp.Revoke("job-1") // waits until the lease is over
		want(authz.LeaseLapsed, false)
		pdp.Outage(false)
		time.Sleep(6 * time.Second)
		want(authz.JobNotRunning, false)
		if c := d.Counters(); c.Carried != 1 || c.Lapses != 1 || c.Leases != 3 {
			t.Errorf("%+v", c)
		}
	})
}

// P6 over gRPC: a PDP with another history is not believed, also by the next process.
func TestAnotherHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pdps := []*peptest.PDP{peptest.Start(t), peptest.Start(t)}
		cfg := pdps[0].Config()
		cfg.Addresses = []string{"pdp0:1", "pdp1:1"}
		cfg.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return pdps[address[3]-'0'].Dial(ctx, address)
		}
		cfg.StateDir = t.TempDir()
		ctx := context.Background()
		d, err := pep.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pep.New(cfg); err == nil {
			t.Error("two Deciders share a state directory")
		}
		if err := d.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
		first := d.Status()
		good := int(first.Endpoint[3] - '0')
		time.Sleep(3 * time.Second)
		pdps[good].Outage(true)
		time.Sleep(time.Minute)
		if s := d.Status(); s.Live || s.Refused == nil || d.Counters().HistoryRefused == 0 {
			t.Errorf("%+v", s)
		}
		if err := d.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if d, err = pep.New(cfg); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if s := d.Status(); s.Live || s.Seen.Epoch == 0 || s.Seen.ID != first.Seen.ID {
			t.Errorf("%+v", s)
		}
		pdps[good].Outage(false)
		time.Sleep(time.Minute)
		if s := d.Status(); !s.Live || int(s.Endpoint[3]-'0') != good {
			t.Errorf("%+v", s)
		}
		if err := d.Close(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

// A service that asks whether jobs may read its packages, and its test.
func Example() {
	t := newT()
	defer t.end()
	pdp := peptest.Start(t)
	decider := pdp.Decider() // what the service gets in place of its own

	token := pdp.Issue("job-1", peptest.App, peptest.Dev)
	ask := func() {
		answer, err := decider.Check(context.Background(), authz.Request{
			Token: decider.Digest(token), Target: authz.Target{Path: "acme/lib"}, Permission: "read_packages",
		})
		fmt.Println(answer.Reason, "cached:", answer.Cached, err)
	}
	ask()
	ask()
	pdp.Revoke("job-1")
	ask()
	// Output:
	// allowed_listed cached: false <nil>
	// allowed_listed cached: true <nil>
	// job_not_running cached: false <nil>
}

// exampleT is what a testing.T does, for an example, which has none.
type exampleT struct{ cleanups []func() }

func newT() *exampleT                         { return &exampleT{} }
func (t *exampleT) Helper()                   {}
func (t *exampleT) Cleanup(f func())          { t.cleanups = append(t.cleanups, f) }
func (t *exampleT) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

func (t *exampleT) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
}
