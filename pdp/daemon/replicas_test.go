package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/test/certs"
	"github.com/jobward/jobward/test/files"
)

// one gives the settings of one PDP of several: ports that are free, and a directory of its own.
func one(t *testing.T, store, name string, args ...string) []string {
	return append([]string{store, "--data-dir=" + filepath.Join(t.TempDir(), name), "--replica-name=" + name, "--grpc-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0",
		"--replica-fence=1s", "--lease-term=1s", "--log-format=json"}, args...)
}

// standing finds a replica on a receipt.
func standing(t *testing.T, r *jobwardv1.Receipt, name string) jobwardv1.ReplicaOutcome {
	t.Helper()
	for _, s := range r.GetReplicas() {
		if s.GetName() == name {
			return s.GetOutcome()
		}
	}
	t.Errorf("%s is not on the receipt %v", name, r)
	return 0
}

// TestReplicas issues at one PDP and checks at another, and revokes at one while a sidecar of the other holds the job (P1, R8).
func TestReplicas(t *testing.T) {
	_, store := cluster1(t)
	a, b := runLocal(t, nil, one(t, store, "a")...), runLocal(t, nil, one(t, store, "b")...)
	atA, atB := dial(t, a.GRPC[0].String()), dial(t, b.GRPC[0].String())
	for i := range 20 { // known at once, everywhere (R16)
		c, other := atA, atB
		if i%2 == 1 {
			c, other = other, c
		}
		token := issue(t, c, fmt.Sprint("job-", i))
		if got := check(t, other, token, api, "read_packages"); got != "allowed_listed" {
			t.Fatalf("job %d, elsewhere: %s", i, got)
		}
	}
	s := hello(t, atB, &jobwardv1.WatchHello{Name: "side"})
	r := receipt(t, atA, "job-1", jobwardv1.ReceiptWait_RECEIPT_WAIT_EFFECTIVE)
	if got := standing(t, r, "b"); !r.GetEffective() || got != jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_SETTLED || len(r.GetReplicas()) != 1 || r.GetBound().AsDuration() <= 0 {
		t.Errorf("nobody holds the job: %v", r)
	}
	for _, l := range []*local{a, b} {
		if code, body := l.get("/readyz"); code != 200 {
			t.Errorf("readyz: %d %s", code, body)
		}
	}
	_, page := a.get("/metrics")
	for _, want := range []string{`jobward_etcd_transactions_total{`, `outcome="done"`, `jobward_etcd_watch_total{`, "jobward_etcd_size_bytes", "jobward_etcd_quota_bytes",
		"jobward_replica_fence_left_seconds", "jobward_replica_serving 1", `result="done"`, `result="failed"`, "jobward_replica_ceased_total{", `why="fenced"`, `why="silent"`,
		"jobward_replica_incarnations_total", "jobward_replica_fences_total", "jobward_replica_lists_total", "jobward_replica_peers{", `state="live"`, `state="departed"`,
		"jobward_replica_receipts_seconds_count{", `slowest="settled"`} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in\n%s", want, page)
		}
	}
	if !strings.Contains(a.out.String(), strings.TrimPrefix(store, "--store=")) {
		t.Errorf("the store is not named in\n%s", a.out.String())
	}
	// A stop in order leaves nothing behind that anybody waits for.
	s.stream.CloseSend()
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	if r := receipt(t, atA, "job-3", jobwardv1.ReceiptWait_RECEIPT_WAIT_EFFECTIVE); !r.GetEffective() || r.GetElapsed().AsDuration() > 3*time.Second {
		t.Errorf("after a stop in order: %v", r)
	}
}

// TestReplicasAtOnce starts three PDPs on an empty prefix at the same time: one world comes of it, and it is whole.
func TestReplicasAtOnce(t *testing.T) {
	_, store := cluster1(t)
	var all [3]*local
	var starting sync.WaitGroup
	for i := range all {
		args := one(t, store, fmt.Sprint("pdp-", i))
		starting.Go(func() {
			var err error
			if all[i], err = tryLocal(t, nil, args...); err != nil {
				t.Errorf("%v\n%s", err, all[i].log.String())
				all[i] = nil
			}
		})
	}
	starting.Wait()
	for i, l := range all {
		if l == nil {
			t.Fatal("one did not start")
		}
		c := dial(t, l.GRPC[0].String())
		token := issue(t, c, fmt.Sprint("job-", i))
		for _, q := range []struct {
			target int64
			want   string
		}{{api, "allowed_listed"}, {deploy, "allowed_listed"}, {warehouse, "inbound_not_listed"}, {13, "allowed_open"}} {
			permission := "read_packages"
			if q.want == "allowed_open" {
				permission = "download_code"
			}
			if got := check(t, c, token, q.target, permission); got != q.want {
				t.Errorf("PDP %d about %d: %s, want %s", i, q.target, got, q.want)
			}
		}
	}
}

// TestReplicaKilled kills a PDP whose sidecar holds a lease: the other's receipt waits for its fence and for the lease, says so, and comes within its bound; and the
// killed one comes back (R8).
func TestReplicaKilled(t *testing.T) {
	_, store := cluster1(t)
	args := one(t, store, "b")
	p := launch(t, nil, args...)
	addr, _ := p.ready()
	a := runLocal(t, nil, one(t, store, "a")...)
	atA := dial(t, a.GRPC[0].String())
	token := issue(t, dial(t, addr), "job-1")
	hello(t, dial(t, addr), &jobwardv1.WatchHello{Name: "side"})
	p.signal(syscall.SIGKILL)
	p.end()
	began := time.Now()
	r := receipt(t, atA, "job-1", jobwardv1.ReceiptWait_RECEIPT_WAIT_EFFECTIVE)
	took := time.Since(began)
	if got := standing(t, r, "b"); !r.GetEffective() || got != jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_GONE {
		t.Errorf("after %v: %v", took, r)
	}
	if took < time.Second || took > r.GetBound().AsDuration() || r.GetBound().AsDuration() > 5*time.Second {
		t.Errorf("the receipt took %v, and its bound is %v", took, r.GetBound().AsDuration())
	}
	p = launch(t, nil, args...)
	addr, _ = p.ready()
	if got := check(t, dial(t, addr), token, api, "read_packages"); got != "job_not_running" {
		t.Errorf("after the restart: %s", got)
	}
	if r := receipt(t, atA, "job-2", jobwardv1.ReceiptWait_RECEIPT_WAIT_EFFECTIVE); !r.GetEffective() || standing(t, r, "b") != jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_SETTLED {
		t.Errorf("after the restart: %v", r)
	}
}

// TestReplicaPaused stops the process of a PDP for longer than its registration: it must not answer from before the receipt that it missed, says that it is not ready, and
// comes back by itself (R8, R11).
func TestReplicaPaused(t *testing.T) {
	_, store := cluster1(t)
	p := launch(t, nil, one(t, store, "b")...)
	addr, _ := p.ready()
	a := runLocal(t, nil, one(t, store, "a")...)
	atB := dial(t, addr)
	token := issue(t, atB, "job-1")
	p.signal(syscall.SIGSTOP)
	r := receipt(t, dial(t, a.GRPC[0].String()), "job-1", jobwardv1.ReceiptWait_RECEIPT_WAIT_EFFECTIVE)
	if !r.GetEffective() || standing(t, r, "b") != jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_GONE {
		t.Errorf("while it stands: %v", r)
	}
	p.signal(syscall.SIGCONT)
	refused := 0
	eventually(t, func() bool {
		resp, err := jobwardv1.NewDecisionServiceClient(atB).Check(t.Context(), &jobwardv1.CheckRequest{Token: token, TargetProjectId: api, Permission: "read_packages"})
		if status.Code(err) == codes.Unavailable {
			refused++
			return false
		}
		if err != nil || resp.GetDecision().GetReason() != jobwardv1.Reason_REASON_JOB_NOT_RUNNING {
			t.Fatalf("it answered %v, %v", resp, err)
		}
		return true
	}, func() string { return "it does not come back:\n" + p.log.String() })
	said(t, &p.log, "may not answer")
	t.Logf("refused %d times", refused)
}

// TestReplicaWithoutEtcd kills etcd under a PDP: it stops answering within its fence, says why, and is back with etcd. The SIGTERM of somebody who does not wait ends it.
func TestReplicaWithoutEtcd(t *testing.T) {
	c, store := cluster1(t)
	a := runLocal(t, nil, one(t, store, "a", "--etcd-timeout=500ms")...)
	atA := dial(t, a.GRPC[0].String())
	token := issue(t, atA, "job-1")
	c.Kill(0)
	began := time.Now()
	eventually(t, func() bool { return checkCode(t, atA) == codes.Unavailable }, func() string { return "it goes on without etcd" })
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it answered for %v", took)
	}
	eventually(t, func() bool {
		code, body := a.get("/readyz")
		return code == 503 && strings.Contains(body, "not ready: ")
	}, func() string { return "it stays ready" })
	c.Restart(t, 0)
	eventually(t, func() bool { return checkCode(t, atA) == codes.OK }, func() string { return "it does not come back:\n" + a.log.String() })
	eventually(t, func() bool { code, _ := a.get("/readyz"); return code == 200 }, func() string { return "it does not get ready" })
	if got := check(t, atA, token, api, "read_packages"); got != "allowed_listed" {
		t.Errorf("after etcd is back: %s", got)
	}
	c.Kill(0)
	began = time.Now()
	if err := a.stop(); err != nil || time.Since(began) > 25*time.Second {
		t.Errorf("without etcd it stopped with %v after %v", err, time.Since(began))
	}
}

// TestReplicasTLS runs two PDPs with certificates: they know each other by the role peer, and nobody else does what they do.
func TestReplicasTLS(t *testing.T) {
	_, store := cluster1(t)
	dir := t.TempDir()
	ca := certs.New(t, dir)
	ca.Issue(dir, "server", "", time.Now().Add(time.Hour))
	ca.Issue(dir, "peer", peerID, time.Now().Add(time.Hour))
	ca.Issue(dir, "runner", "spiffe://forge.example/runner", time.Now().Add(time.Hour))
	ca.Issue(dir, "other", "spiffe://forge.example/other", time.Now().Add(time.Hour))
	callers := files.Write(t, filepath.Join(dir, "callers.yaml"), "certificates:\n  - uri: "+peerID+"\n    roles: [peer]\n  - uri: spiffe://forge.example/runner\n    roles: [runner, admin]\n"+
		"  - uri: spiffe://forge.example/other\n    roles: [runner]\n", 0o600)
	at := func(name string) string { return filepath.Join(dir, name) }
	var other grpc.ClientConnInterface
	run := func(name string) grpc.ClientConnInterface {
		l := runLocal(t, nil, one(t, store, name, "--tls-cert-file="+at("server.pem"), "--tls-key-file="+at("server.key"), "--tls-client-ca-file="+at("ca.pem"),
			"--callers-file="+callers, "--peer-cert-file="+at("peer.pem"), "--peer-key-file="+at("peer.key"), "--shutdown-delay=0s")...)
		other = dial(t, l.GRPC[0].String(), overTLS(ca.Client(at("other.pem"), at("other.key"))))
		return dial(t, l.GRPC[0].String(), overTLS(ca.Client(at("runner.pem"), at("runner.key"))))
	}
	atA, atB := run("a"), run("b")
	for name, c := range map[string]grpc.ClientConnInterface{"b": atA, "a": atB} {
		if r := receipt(t, c, "job-at-"+name, jobwardv1.ReceiptWait_RECEIPT_WAIT_EFFECTIVE); !r.GetEffective() || standing(t, r, name) != jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_SETTLED {
			t.Errorf("%v", r)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := jobwardv1.NewPeerServiceClient(other).Settle(ctx)
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("a runner among the peers: %v", err)
	}
}

// TestMarkOfAReplica: what a replica has seen is on disk when it ends, and a cluster that does not have it is refused (R13).
func TestMarkOfAReplica(t *testing.T) {
	_, store := cluster1(t)
	args := one(t, store, "a")
	a := runLocal(t, nil, args...)
	issue(t, dial(t, a.GRPC[0].String()), "job-1")
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimPrefix(args[1], "--data-dir=")
	if text, err := os.ReadFile(filepath.Join(dir, seenName)); err != nil {
		t.Fatal(err)
	} else if mark, err := parseSeen(text); err != nil || mark.Revision == 0 {
		t.Errorf("%q: %v, %v", text, mark, err)
	}
	args[0] += "-of-another"
	if _, err := tryLocal(t, nil, args...); err == nil || !strings.Contains(err.Error(), "another history") {
		t.Errorf("another history is served: %v", err)
	}
	if _, err := tryLocal(t, nil, small(dir, nil)...); err == nil || !strings.Contains(err.Error(), "belongs to a replica") {
		t.Errorf("without the setting there is an empty world: %v", err)
	}
}
