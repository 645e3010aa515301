package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/pdp/state/badgerstore"
	"github.com/jobward/jobward/test/capture"
	"github.com/jobward/jobward/test/files"
)

// migrated runs the verb and wants an exit code and texts.
func migrated(t *testing.T, code int, args []string, texts ...string) {
	t.Helper()
	got, out, errs := pdp(nil, append([]string{"migrate"}, args...)...)
	if got != code {
		t.Errorf("%q: code %d, want %d:\n%s%s", args, got, code, out, errs)
	}
	for _, text := range texts {
		if !strings.Contains(out+errs, text) {
			t.Errorf("%q: no %q in\n%s%s", args, text, out, errs)
		}
	}
}

// tokens are some that live and some that died, in each of the ways that there are.
type tokens map[string]string // by the answer that they have

func issueAll(t *testing.T, c grpc.ClientConnInterface, prefix string) tokens {
	t.Helper()
	all := tokens{"allowed_listed": issue(t, c, prefix+"alive"), "job_not_running": issue(t, c, prefix+"dead")}
	receipt(t, c, prefix+"dead", jobwardv1.ReceiptWait_RECEIPT_WAIT_DURABLE)
	all["token_replaced"] = issue(t, c, prefix+"again")
	issue(t, c, prefix+"again")
	receipt(t, c, prefix+"never-issued", jobwardv1.ReceiptWait_RECEIPT_WAIT_DURABLE)
	return all
}

func (all tokens) check(t *testing.T, when string, c grpc.ClientConnInterface) {
	t.Helper()
	for want, token := range all {
		if got := check(t, c, token, api, "read_packages"); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	if got := check(t, c, strings.Repeat("x", 40), api, "read_packages"); strings.HasPrefix(got, "allowed") {
		t.Errorf("%s, a token that was never issued: %s", when, got)
	}
	_, err := jobwardv1.NewTokenServiceClient(c).Issue(t.Context(), &jobwardv1.IssueRequest{JobId: "never-issued", ProjectId: shop, UserId: dana})
	if err == nil {
		t.Errorf("%s: a job that was revoked before it was issued is issued (R7)", when)
	}
}

// TestMigrate moves a store with live and dead tokens from Badger to etcd and back. Every token answers as it did, each PDP that begins on a copy knows of the leases of the
// one before, and a sidecar that has seen a copy refuses what it was made of (R13).
func TestMigrate(t *testing.T) {
	_, store := cluster1(t)
	etcd := strings.TrimPrefix(store, "--store=")
	dir, back := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "back")
	there, home := []string{"--from=badger:" + dir, "--to=" + etcd}, []string{"--from=" + etcd, "--to=badger:" + back}
	migrated(t, settings.ExitRefused, there, "no such file or directory")
	migrated(t, settings.ExitRefused, home, "there is no store below")

	l := runLocal(t, nil, small(dir, []string{"--lease-term=1s"})...)
	c := dial(t, l.GRPC[0].String())
	all := issueAll(t, c, "")
	all.check(t, "at first", c)
	seen := hello(t, c, &jobwardv1.WatchHello{}).welcome.GetHead()
	migrated(t, settings.ExitRefused, there, "in use by another process")
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	migrated(t, settings.ExitOK, there, "of which nothing has ended 2", "holds nothing", "would begin at epoch 2", "nothing was written")
	migrated(t, settings.ExitOK, there, "holds nothing")
	migrated(t, settings.ExitOK, append(there, "--yes"), "are the same on both sides", "at epoch 2 revision")
	migrated(t, settings.ExitRefused, append(there, "--yes"), "is not empty", "a store at epoch 2")

	l = runLocal(t, nil, one(t, store, "a")...)
	c = dial(t, l.GRPC[0].String())
	all.check(t, "in etcd", c)
	// The sidecar of the store before is welcome, and no receipt is effective: leases of before may run (R1, R8).
	seen = hello(t, c, &jobwardv1.WatchHello{Seen: seen}).welcome.GetHead()
	if r := receipt(t, c, "dead", jobwardv1.ReceiptWait_RECEIPT_WAIT_DURABLE); r.GetEffective() {
		t.Errorf("effective at once: %v", r)
	}
	later := tokens{"allowed_listed": issue(t, c, "etcd-alive"), "job_not_running": issue(t, c, "etcd-dead")}
	receipt(t, c, "etcd-dead", jobwardv1.ReceiptWait_RECEIPT_WAIT_DURABLE)
	migrated(t, settings.ExitRefused, home, `the PDP "a" at `, "stop all PDPs first")
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	migrated(t, settings.ExitOK, append(home, "--yes"), "are the same on both sides", "at epoch 3 revision")

	l = runLocal(t, nil, small(back, []string{"--lease-term=1s"})...)
	c = dial(t, l.GRPC[0].String())
	all.check(t, "back", c)
	later.check(t, "back, of etcd", c)
	if r := receipt(t, c, "dead", jobwardv1.ReceiptWait_RECEIPT_WAIT_DURABLE); r.GetEffective() || r.GetQuietRemaining().AsDuration() < 50*time.Second {
		t.Errorf("effective at once, or too early: %v", r)
	}
	// The store that it began with refuses those who have seen the copy, and ends.
	p := launch(t, nil, small(dir, []string{"--lease-term=1s"})...)
	addr, _ := p.ready()
	stream, err := jobwardv1.NewWatchServiceClient(dial(t, addr)).Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stream.Send(&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Hello{Hello: &jobwardv1.WatchHello{Seen: seen}}})
	if m, err := stream.Recv(); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("the old store answers a sidecar that has seen the new one: %v, %v", m, err)
	}
	if code := p.end(); code != settings.ExitFailed {
		t.Errorf("the PDP on the old store ended with %d:\n%s", code, p.log.String())
	}
}

// TestMigrateBroken stops a migration half way: no PDP takes what is there, and the next one begins anew.
func TestMigrateBroken(t *testing.T) {
	dir, to := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "to")
	l := runLocal(t, nil, small(dir, []string{"--lease-term=1s"})...)
	all := issueAll(t, dial(t, l.GRPC[0].String()), "")
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	args := []string{"--from=badger:" + dir, "--to=badger:" + to, "--yes"}
	for _, step := range []badgerstore.Step{badgerstore.StepImportStore, badgerstore.StepImportMark, badgerstore.StepImportFinish} {
		var out, errs capture.Output
		ctx, stop := context.WithCancel(t.Context())
		broken := commandLine{stdout: &out, stderr: &errs, fault: func(s badgerstore.Step, done bool) error {
			if s != step || done {
				return nil
			}
			stop() // as an interrupt does
			return errors.New("planted")
		}}
		if code := broken.run(ctx, append([]string{"migrate"}, args...), nil); code == settings.ExitOK || !errs.Has("begins anew") {
			t.Fatalf("%s: code %d\n%s%s", step, code, out.String(), errs.String())
		}
		if _, err := tryLocal(t, nil, small(to, nil)...); err == nil || !strings.Contains(err.Error(), "holds an import that was not finished") {
			t.Fatalf("%s: a PDP on half a store: %v", step, err)
		}
	}
	migrated(t, settings.ExitOK, args, "holds an import that was not finished", "are the same on both sides")
	l = runLocal(t, nil, small(to, nil)...)
	all.check(t, "moved", dial(t, l.GRPC[0].String()))
}

// TestMigrateRefused: what is no store, is the same store, is damaged, or would not fit.
func TestMigrateRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	l := runLocal(t, nil, small(dir, []string{"--lease-term=1s"})...)
	issue(t, dial(t, l.GRPC[0].String()), "job-1")
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	c, _ := cluster1(t)
	members := strings.TrimPrefix(c.Endpoints[0], "http://")
	for _, q := range [][3]string{
		{"badger:" + dir, "badger:" + link, "where everything is already"},
		{"etcd://" + members + "/a", "etcd://" + members + "/a/", "where everything is already"},
		{"badger:", "badger:x", "names no directory"},
		{dir, "badger:x", "is no store"},
		{"badger:" + dir, "etcd://", "to: "},
		{"badger:" + dir, "etcd://10.0.0.1/a", "without TLS"},
	} {
		migrated(t, settings.ExitRefused, []string{"--from=" + q[0], "--to=" + q[1], "--yes"}, q[2])
	}
	// Settings of both sides may be given, as they stand in the file that the PDP has.
	migrated(t, settings.ExitOK, []string{"--from=badger:" + dir, "--to=etcd://" + members + "/a", "--ballast=16MiB", "--memtable-size=64MiB", "--etcd-timeout=2s"}, "nothing was written")

	tables, err := filepath.Glob(filepath.Join(dir, "badger", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal("the store has no table", err)
	}
	data, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/3] ^= 1
	files.Write(t, tables[0], string(data), 0o600)
	migrated(t, settings.ExitRefused, []string{"--from=badger:" + dir, "--to=badger:" + link + "2", "--yes"}, "is damaged", "pdp fsck")
	if _, err := os.Stat(link + "2"); err == nil {
		t.Error("the target was made")
	}
}
