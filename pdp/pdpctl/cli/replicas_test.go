package cli

import (
	"context"
	"encoding/json"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/test/etcd"
)

const (
	settled = jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_SETTLED
	gone    = jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_GONE
	fenced  = jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_FENCED
	pending = jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_PENDING
)

// played is a PDP, one of several, that says what a test wants.
type played struct {
	jobwardv1.UnimplementedPeerServiceServer
	jobwardv1.UnimplementedWatchServiceServer
	jobwardv1.UnimplementedDecisionServiceServer
	replicas []*jobwardv1.Replica
	receipts []*jobwardv1.Receipt
}

// ListReplicas implements PeerServiceServer.
func (p *played) ListReplicas(context.Context, *jobwardv1.ListReplicasRequest) (*jobwardv1.ListReplicasResponse, error) {
	return &jobwardv1.ListReplicasResponse{Replicas: p.replicas}, nil
}

// ListSidecars implements WatchServiceServer.
func (p *played) ListSidecars(context.Context, *jobwardv1.ListSidecarsRequest) (*jobwardv1.ListSidecarsResponse, error) {
	return &jobwardv1.ListSidecarsResponse{HeadRevision: 9, Term: durationpb.New(5 * time.Second)}, nil
}

// AwaitReceipt implements WatchServiceServer.
func (p *played) AwaitReceipt(_ *jobwardv1.AwaitReceiptRequest, stream grpc.ServerStreamingServer[jobwardv1.AwaitReceiptResponse]) error {
	for _, r := range p.receipts {
		if err := stream.Send(&jobwardv1.AwaitReceiptResponse{Receipt: r}); err != nil {
			return err
		}
	}
	return nil
}

// Check implements DecisionServiceServer.
func (*played) Check(context.Context, *jobwardv1.CheckRequest) (*jobwardv1.CheckResponse, error) {
	return nil, wire.ToStatus(authz.Errorf(authz.KindUnavailable, state.CodeFenced, "nothing was heard of it: ask another"))
}

// serve gives its address. It is not healthy.
func (p *played) serve(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s, h := grpc.NewServer(), health.NewServer()
	h.Shutdown()
	healthpb.RegisterHealthServer(s, h)
	jobwardv1.RegisterPeerServiceServer(s, p)
	jobwardv1.RegisterWatchServiceServer(s, p)
	jobwardv1.RegisterDecisionServiceServer(s, p)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return "unix:" + path
}

// several is three PDPs, of which the one that answers may not, and an old life of one.
func several() *played {
	id := func(digit string) string { return strings.Repeat(digit, 32) }
	standing := func(digit, name string, o jobwardv1.ReplicaOutcome) *jobwardv1.ReplicaStanding {
		return &jobwardv1.ReplicaStanding{Name: name, Incarnation: id(digit), Outcome: o}
	}
	return &played{
		replicas: []*jobwardv1.Replica{
			{Name: "pdp-1", Incarnation: id("a"), Address: "10.0.0.1:7420", Self: true, AppliedRevision: 41, SettledRevision: 40,
				Problem: &jobwardv1.Problem{Code: int32(codes.Unavailable), Reason: "FENCED", Message: "nothing was heard of it: ask another"}},
			{Name: "pdp-2", Incarnation: id("b"), Address: "10.0.0.2:7420", AppliedRevision: 42, SettledRevision: 42},
			{Name: "pdp-3", Incarnation: id("c"), Departed: true},
			{Name: "pdp-3", Incarnation: id("d"), Address: "10.0.0.3:7420"},
		},
		receipts: []*jobwardv1.Receipt{
			{Revision: 42, Elapsed: durationpb.New(time.Second), Bound: durationpb.New(12 * time.Second), Pending: 1,
				Replicas: []*jobwardv1.ReplicaStanding{standing("b", "pdp-2", pending), standing("c", "pdp-3", fenced)}},
			{Revision: 42, Effective: true, Elapsed: durationpb.New(8 * time.Second), Bound: durationpb.New(12 * time.Second),
				Replicas: []*jobwardv1.ReplicaStanding{standing("b", "pdp-2", settled), standing("c", "", gone)}},
		},
	}
}

// TestReplicasTable: what a PDP says of the others is shown as it says it, and no more.
func TestReplicasTable(t *testing.T) {
	p := several()
	addr := p.serve(t)
	code, out, errout := ctl(t, addr, "replicas")
	const want = `NAME   INCARNATION  ADDRESS        APPLIED  SETTLED  STATE            THIS ONE
pdp-1  aaaaaaaa     10.0.0.1:7420  41       40       does not answer  yes
pdp-2  bbbbbbbb     10.0.0.2:7420  42       42       registered       -
pdp-3  cccccccc     -              -        -        departed         -
pdp-3  dddddddd     10.0.0.3:7420  -        -        registered       -
nothing was heard of it: ask another
`
	if code != ExitOK || out != want {
		t.Errorf("%d %s\n%s", code, out, errout)
	}
	if _, out, _ := ctl(t, addr, "replicas", "--wide"); !strings.Contains(out, strings.Repeat("d", 32)) {
		t.Errorf("no whole incarnation in\n%s", out)
	}
	var got struct {
		Replicas []struct {
			Name, Incarnation string
			Self, Departed    bool
			Problem           *struct{ Reason string }
		}
	}
	_, out, _ = ctl(t, addr, "-o", "json", "replicas")
	if err := json.Unmarshal([]byte(out), &got); err != nil || len(got.Replicas) != 4 || got.Replicas[0].Problem == nil || !got.Replicas[2].Departed || len(got.Replicas[3].Incarnation) != 32 {
		t.Errorf("%v\n%s", err, out)
	}
	if _, out, _ = ctl(t, addr, "-o", "yaml", "replicas"); !strings.Contains(out, "- name: pdp-1") || !strings.Contains(out, "reason: FENCED") {
		t.Error(out)
	}
	p.replicas[0].Problem = nil
	if _, out, _ := ctl(t, addr, "replicas"); !strings.Contains(out, "answers   ") && !strings.Contains(out, "answers ") || strings.Contains(out, "does not") {
		t.Errorf("it does answer:\n%s", out)
	}
	if _, out, _ := ctl(t, addr, "sidecars"); !strings.Contains(out, "these are the sidecars of pdp-1; other PDPs: 2 (pdpctl replicas)") {
		t.Errorf("whose they are is not said:\n%s", out)
	}
	if code, out, errout := ctl(t, addr, "health"); code != ExitFailed || !strings.Contains(errout, "may not answer: nothing was heard of it: ask another (FENCED)") {
		t.Errorf("%d %s%s", code, out, errout)
	}
}

// TestReplicasOnReceipts: a receipt names the other PDPs and how each stands, and its bound, in every form.
func TestReplicasOnReceipts(t *testing.T) {
	addr := several().serve(t)
	code, out, errout := ctl(t, addr, "receipt", "await", "42", "--progress")
	const want = `revision 42, effective: no check that starts from now on is answered from before
other PDPs: pdp-2 settled, cccccccc gone; waited 8s; bound 12s
`
	const steps = `revision 42, durable; caches: 1 may still answer from before; waited 1s; other PDPs: pdp-2 pending, pdp-3 fenced; bound 12s
revision 42, effective; other PDPs: pdp-2 settled, cccccccc gone; waited 8s; bound 12s
`
	if code != ExitOK || out != want || errout != steps {
		t.Errorf("%d\n%s\n%s", code, out, errout)
	}
	_, out, _ = ctl(t, addr, "-o", "json", "receipt", "await", "42")
	var got struct {
		Bound    string
		Replicas []struct{ Name, Outcome string }
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Bound != "12s" || len(got.Replicas) != 2 || got.Replicas[1].Outcome != "REPLICA_OUTCOME_GONE" {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestReplicasJoined: of several receipts the worst that any says of a PDP is told, and no bound is told that is too short.
func TestReplicasJoined(t *testing.T) {
	all := &jobwardv1.Receipt{Effective: true}
	for _, outcomes := range [][2]jobwardv1.ReplicaOutcome{{settled, gone}, {gone, settled}, {settled, settled}} {
		addReplicas(all, &jobwardv1.Receipt{Bound: durationpb.New(time.Second), Replicas: []*jobwardv1.ReplicaStanding{
			{Name: "b", Incarnation: "b", Outcome: outcomes[0]}, {Name: "c", Incarnation: "c", Outcome: outcomes[1]}}})
	}
	if got, want := standingText(all), "other PDPs: b gone, c gone; waited 0s; bound 3s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := standingText(&jobwardv1.Receipt{Effective: true, Bound: durationpb.New(time.Second)}); got != "" {
		t.Errorf("one PDP: %q", got)
	}
}

// TestReplicasOfARealPDP: two PDPs on etcd, and one with a store of its own.
func TestReplicasOfARealPDP(t *testing.T) {
	alone := newPDP(t)
	if code, _, errout := ctl(t, alone, "replicas"); code != ExitFailed || !strings.Contains(errout, "NOT_REPLICATED") {
		t.Errorf("%d %s", code, errout)
	}
	c := etcd.Start(t, etcd.Options{Members: 1})
	store := "etcd://" + strings.TrimPrefix(c.Endpoints[0], "http://") + "/jobward"
	one := newShared(t, store, "pdp-1")
	newShared(t, store, "pdp-2")
	code, out, errout := ctl(t, one, "replicas")
	if code != ExitOK || !strings.Contains(out, "answers     yes") || strings.Count(out, "registered  -") != 1 {
		t.Errorf("%d %s%s", code, out, errout)
	}
	if code, out, errout := ctl(t, one, "token", "issue", "--job", "j1", "--project", "acme/web/shop", "--user", "dana"); code != ExitOK {
		t.Fatalf("%s%s", out, errout)
	}
	if code, out, errout := ctl(t, one, "token", "revoke", "--job", "j1"); code != ExitOK || !strings.Contains(out, "other PDPs: pdp-2 settled; waited ") {
		t.Errorf("%d %s%s", code, out, errout)
	}
	c.Kill(0)
	var said string
	for end := time.Now().Add(30 * time.Second); !strings.Contains(said, state.CodeFenced) && time.Now().Before(end); {
		_, _, said = ctl(t, one, "health", "--timeout", "5s")
	}
	if !strings.Contains(said, "is there and may not answer: ") || !strings.Contains(said, "etcd") && !strings.Contains(said, "store") {
		t.Errorf("without etcd it says %q", said)
	}
}
