package etcdstore_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/etcdstore"
	"github.com/jobward/jobward/pdp/state/statetest"
	"github.com/jobward/jobward/test/capture"
	"github.com/jobward/jobward/test/etcd"
)

// TestQuotaUsedUp: etcd says that there is no space of a transaction that it has not done, and of the one that used the space up, which it has.
func TestQuotaUsedUp(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{Members: 1})
	f := new(faults)
	s := open(t, etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: "/used-up", Fault: f.hook})
	attach(t, s)
	f.fail(etcdstore.StepCommit, true, rpctypes.ErrNoSpace)
	if rev := commit(t, s, state.Batch{Puts: []state.Record{group(1)}}); rev != 1 {
		t.Errorf("it was done at revision %d", rev)
	}
	f.fail(etcdstore.StepCommit, false, rpctypes.ErrNoSpace)
	_, err := s.Commit(t.Context(), state.Batch{Puts: []state.Record{group(2)}})
	wantCode(t, err, "DISK_LOW")
	if rev := commit(t, s, state.Batch{}); rev != 1 {
		t.Errorf("what was refused stands at revision %d", rev)
	}
}

// TestAnswerLost: a transaction whose answer was lost, or that was lost itself, happens once and
// is acknowledged; while its outcome is unknown nobody is told that it failed.
func TestAnswerLost(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{Members: 1})
	f := new(faults)
	s := open(t, etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: "/lost", Fault: f.hook, Patience: 300 * time.Millisecond})
	r := attach(t, s)
	absent := func(id authz.GroupID) state.Batch {
		return state.Batch{Guards: []state.Guard{{Key: state.GroupKey(id)}}, Puts: []state.Record{group(id)}, Events: []state.Event{{Stamp: 1}}}
	}
	for i, done := range []bool{false, true} {
		f.fail(etcdstore.StepCommit, done, errLost)
		if rev := commit(t, s, absent(authz.GroupID(i+1))); rev != authz.Revision(i+1) {
			t.Errorf("lost (done %v): revision %d", done, rev)
		}
	}
	if n := s.Stats().Unknown.Load(); n != 2 {
		t.Errorf("%d answers were lost", n)
	}

	// It happened, and etcd says nothing for a while: only the caller's own deadline ends the wait.
	f.arm(func(step etcdstore.Step, done bool) error {
		if step == etcdstore.StepCommit && done {
			return errLost
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	answer := make(chan error, 1)
	go func() {
		_, err := s.Commit(context.Background(), absent(4))
		answer <- err
	}()
	time.Sleep(10 * time.Millisecond) // Behind the first, or with it: both are answers.
	_, err := s.Commit(ctx, absent(3))
	if code := codeOf(err); code != "CANCELED" && code != "STORE_UNREACHABLE" {
		t.Errorf("the second: %v", err)
	}
	select {
	case err := <-answer:
		t.Errorf("the first was told %v while nobody knew", err)
	default:
	}
	f.arm(nil)
	if err := <-answer; err != nil {
		t.Errorf("the first: %v", err)
	}
	commit(t, s, state.Batch{})
	n := 0
	if err := s.Events(context.Background(), 0, 0, "", func(state.Event, string) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	if mark, _ := s.Head(); int(mark.Revision) != n || len(r.Records()) != n || n < 3 || n > 4 {
		t.Errorf("%d events, %d records, head %v", n, len(r.Records()), mark)
	}
}

func codeOf(err error) string {
	if e, ok := err.(*authz.Error); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

// large gives a batch that takes many chunks and more records than a transaction operations.
func large(n int) (b state.Batch) {
	for i := range n {
		b.Puts = append(b.Puts, &state.Job{ID: authz.JobID(fmt.Sprintf("job-%06d", i)), Ref: strings.Repeat("r", 200), Issued: state.ThisRevision})
	}
	return b
}

// TestLargeBatches: staged batches are seen whole or not at all, survive other commits, and
// what was staged in vain is removed.
func TestLargeBatches(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{Members: 1})
	client, ctx := raw(t, cluster.Endpoints), context.Background()
	opts := etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: "/large", Request: 64 << 10, Operations: 8}
	stores, sinks, hooks := several(t, 2, opts)
	reached, release := hooks[0].hold(etcdstore.StepCommit)
	defer release()
	result := make(chan error, 1)
	go func() {
		_, err := stores[0].Commit(ctx, large(2000))
		result <- err
	}()
	<-reached
	staged := func() int64 {
		resp, err := client.Get(ctx, "/large/stage/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			t.Fatal(err)
		}
		return resp.Count
	}
	if n := staged(); n < 5 {
		t.Fatalf("%d chunks", n)
	}
	third := open(t, opts)
	early := attach(t, third)
	commit(t, stores[1], state.Batch{}) // Reads the newest head.
	for name, n := range map[string]int{"the other store": len(sinks[1].Records()), "a new store": len(early.Records())} {
		if n != 0 {
			t.Errorf("%s sees %d records of a batch that was not committed", name, n)
		}
	}
	third.Close()
	// Another commit comes first: the large one is judged again, and its chunks are used.
	commit(t, stores[1], state.Batch{Puts: []state.Record{group(1)}})
	release()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	agree(t, stores, sinks)
	if got := sinks[1].Records()[state.JobKey("job-000007")].Record.(*state.Job).Issued; got != 2 {
		t.Errorf("a job of the large batch was issued at %d", got)
	}
	if err := stores[1].Fold(ctx); err != nil {
		t.Fatal(err)
	}
	fourth := open(t, opts)
	agree(t, []*etcdstore.Store{stores[0], fourth}, []*statetest.Recorder{sinks[0], attach(t, fourth)})

	// A stage without an entry goes after its time; the other stays, and so does a young one.
	before := staged()
	if _, err := client.Put(ctx, "/large/stage/00112233445566778899aabbccddeeff/0000", "left behind"); err != nil {
		t.Fatal(err)
	}
	since, now := make(map[string]time.Time), time.Now()
	for _, step := range []struct {
		at   time.Duration
		want int64
	}{{0, before + 1}, {etcdstore.StaleAfter / 2, before + 1}, {etcdstore.StaleAfter, before}} {
		if err := stores[0].CleanStages(ctx, since, now.Add(step.at)); err != nil {
			t.Fatal(err)
		}
		if n := staged(); n != step.want {
			t.Errorf("after %v there are %d chunks, want %d", step.at, n, step.want)
		}
	}

	// A stage that was removed under its writer is written again.
	reached, again := hooks[0].hold(etcdstore.StepCommit)
	defer again()
	go func() {
		_, err := stores[0].Commit(ctx, large(1000))
		result <- err
	}()
	<-reached
	if _, err := client.Delete(ctx, "/large/stage/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	again()
	if err := <-result; err != nil {
		t.Error(err)
	}
	agree(t, stores, sinks)

	// One that is condemned while its transaction is under way is not named by it: it is written
	// again, and only then removed.
	since = make(map[string]time.Time)
	reached, last := hooks[0].hold(etcdstore.StepCommit)
	defer last()
	go func() {
		_, err := stores[0].Commit(ctx, large(500))
		result <- err
	}()
	<-reached
	if err := stores[1].CleanStages(ctx, since, now); err != nil {
		t.Fatal(err)
	}
	for of := range since {
		if _, err := client.Put(ctx, "/large/condemned/"+of, ""); err != nil {
			t.Fatal(err)
		}
	}
	last()
	if err := <-result; err != nil {
		t.Error(err)
	}
	if len(since) != 1 {
		t.Errorf("%d stages were condemned", len(since))
	}
	for of := range since { // What a cleaner does last, however late.
		if _, err := client.Delete(ctx, "/large/stage/"+of, clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
	}
	agree(t, stores, sinks)
	fifth := open(t, opts)
	agree(t, []*etcdstore.Store{stores[0], fifth}, []*statetest.Recorder{sinks[0], attach(t, fifth)})
}

// TestServerTakesLess: a server with smaller limits than ours refuses, and nothing is stored.
func TestServerTakesLess(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{Members: 1})
	s := open(t, etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: "/less", Request: 8 << 20})
	attach(t, s)
	_, err := s.Commit(context.Background(), large(9000))
	wantCode(t, err, "STORE_LIMITS")
	if rev := commit(t, s, state.Batch{Puts: []state.Record{group(1)}}); rev != 1 {
		t.Errorf("revision %d", rev)
	}
}

// TestUnreachable: a cluster that is not there is waited for and named; one that goes away makes
// errors that say that nothing was stored, and comes back.
func TestUnreachable(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{Members: 1})
	cluster.Kill(0)
	var log capture.Output
	opts := etcdstore.Options{
		Endpoints: cluster.Endpoints, Prefix: "/away", Timeout: 200 * time.Millisecond, Patience: 300 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	_, err := etcdstore.Open(ctx, opts)
	wantCode(t, err, "STORE_UNREACHABLE")
	if !strings.Contains(err.Error(), cluster.Endpoints[0]) || !log.Has("waiting for etcd") {
		t.Errorf("error %v, log %s", err, log.String())
	}
	var s *etcdstore.Store
	var wg sync.WaitGroup
	wait, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	wg.Go(func() { s, err = etcdstore.Open(wait, opts) })
	cluster.Restart(t, 0)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := attach(t, s)
	commit(t, s, state.Batch{Puts: []state.Record{group(1)}})
	cluster.Kill(0)
	// The first was sent, as far as anybody knows; those behind it were not.
	sent, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	first := make(chan error, 1)
	go func() {
		_, err := s.Commit(sent, state.Batch{Puts: []state.Record{group(2)}})
		first <- err
	}()
	eventually(t, "the first is under way", func() bool { return s.Stats().Unknown.Load() > 0 })
	for _, urgent := range []bool{false, true} {
		_, err := s.Commit(context.Background(), state.Batch{Puts: []state.Record{group(3)}, Urgent: urgent})
		wantCode(t, err, "STORE_UNREACHABLE")
		if authz.KindOf(err) != authz.KindUnavailable {
			t.Errorf("kind of %v", err)
		}
	}
	wantCode(t, <-first, "CANCELED")
	wantCode(t, s.History(context.Background(), 0, func(state.Change) error { return nil }), "STORE_UNREACHABLE")
	wantCode(t, s.Events(context.Background(), 0, 0, "", func(state.Event, string) error { return nil }), "STORE_UNREACHABLE")
	cluster.Restart(t, 0)
	eventually(t, "commits are taken again", func() bool {
		_, err := s.Commit(context.Background(), state.Batch{Puts: []state.Record{group(4)}})
		return err == nil
	})
	if records := r.Records(); records[state.GroupKey(3)].Mod != 0 || records[state.GroupKey(4)].Mod == 0 {
		t.Errorf("records %v", records)
	}
	select {
	case <-s.Failed():
		t.Error("the store failed")
	default:
	}
}
