package peptest_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/jobward/jobward/pdp/authz"
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
