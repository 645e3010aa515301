package etcdstore_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/etcdstore"
	"github.com/jobward/jobward/pdp/state/statetest"
	"github.com/jobward/jobward/test/etcd"
)

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func raw(t testing.TB, endpoints []string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// agree waits until all stores have the mark of the first, and compares everything.
func agree(t testing.TB, stores []*etcdstore.Store, sinks []*statetest.Recorder) {
	t.Helper()
	want, stamp := stores[0].Head()
	for i, s := range stores[1:] {
		eventually(t, fmt.Sprintf("store %d is at %v", i+1, want), func() bool {
			mark, _ := s.Head()
			return mark.Revision >= want.Revision
		})
		if mark, st := s.Head(); mark != want || st != stamp {
			t.Errorf("store %d is at %v, stamp %d; the first at %v, stamp %d", i+1, mark, st, want, stamp)
		}
		for _, line := range statetest.Diff(sinks[i+1].Records(), sinks[0].Records()) {
			t.Errorf("store %d: %s", i+1, line)
		}
		if n := s.Stats().Gaps.Load(); n != 0 {
			t.Errorf("the watch of store %d left out something %d times", i+1, n)
		}
	}
}

// several opens stores on one prefix.
func several(t testing.TB, n int, opts etcdstore.Options) (stores []*etcdstore.Store, sinks []*statetest.Recorder, hooks []*faults) {
	t.Helper()
	for range n {
		f := new(faults)
		opts.Fault = f.hook
		s := open(t, opts)
		stores, sinks, hooks = append(stores, s), append(sinks, attach(t, s)), append(hooks, f)
	}
	return stores, sinks, hooks
}

// TestMembersLost kills one member after the other while stores commit: what was acknowledged is
// there once, what was not at most once.
func TestMembersLost(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{})
	stores, sinks, _ := several(t, 3, etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: "/lost", Timeout: time.Second, Patience: 20 * time.Second})
	stop := make(chan struct{})
	var mu sync.Mutex
	acked, tried := make(map[state.Key]authz.Revision), make(map[state.Key]bool)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 1; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := authz.UserID(w*1_000_000 + i)
				key := state.UserKey(id)
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(5+i%50)*100*time.Millisecond)
				// The third store only follows.
				rev, err := stores[w%2].Commit(ctx, state.Batch{Guards: []state.Guard{{Key: key}}, Puts: []state.Record{&state.User{ID: id, Name: "u"}}})
				cancel()
				mu.Lock()
				tried[key] = true
				if err == nil {
					acked[key] = rev
				}
				mu.Unlock()
				if err != nil && authz.KindOf(err) != authz.KindCanceled {
					wantCode(t, err, "STORE_UNREACHABLE")
				}
			}
		})
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(acked) }
	for i := range 3 { // One of them was the leader, and the next leader comes after it.
		n := count()
		eventually(t, "commits go on", func() bool { return count() > n+50 })
		cluster.Kill(i)
		n = count()
		eventually(t, "commits go on without a member", func() bool { return count() > n+50 })
		cluster.Restart(t, i)
	}
	n := count()
	eventually(t, "commits go on at the end", func() bool { return count() > n+50 })
	close(stop)
	wg.Wait()
	commit(t, stores[0], state.Batch{})
	agree(t, stores, sinks)
	seen := make(map[state.Key]authz.Revision)
	err := stores[1].History(context.Background(), 0, func(c state.Change) error {
		for _, key := range c.Keys {
			if seen[key] != 0 {
				t.Errorf("%v happened at %d and at %d", key, seen[key], c.Revision)
			}
			seen[key] = c.Revision
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for key, rev := range acked {
		if seen[key] != rev {
			t.Errorf("%v was acknowledged at %d and is at %d", key, rev, seen[key])
		}
	}
	for key := range seen {
		if !tried[key] {
			t.Errorf("nobody asked for %v", key)
		}
	}
	t.Logf("%d acknowledged, %d tried, %d stored; %d and %d answers lost", len(acked), len(tried), len(seen), stores[0].Stats().Unknown.Load(), stores[1].Stats().Unknown.Load())
}

// TestWatchResumes: a watch that ends goes on with the very next entry.
func TestWatchResumes(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{Members: 1})
	opts := etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: "/watch"}
	stores, sinks, hooks := several(t, 2, opts)
	for i := range 3 {
		eventually(t, "there is a watch", func() bool { return stores[1].Stats().Watches.Load() > int64(i) })
		torn := stores[1].Stats().Watches.Load()
		hooks[1].arm(func(step etcdstore.Step, _ bool) error {
			if step == etcdstore.StepWatch {
				return errLost
			}
			return nil
		})
		stores[1].EndWatch()
		// One entry alone: nothing after it can show that it was left out.
		commit(t, stores[0], state.Batch{Puts: []state.Record{group(authz.GroupID(i + 1))}})
		time.Sleep(20 * time.Millisecond)
		if mark, _ := stores[1].Head(); mark.Revision != authz.Revision(i) {
			t.Fatalf("the watch has not ended: %v", mark)
		}
		hooks[1].arm(nil)
		agree(t, stores, sinks)
		if stores[1].Stats().Watches.Load() == torn {
			t.Error("no watch was begun")
		}
	}
}

// TestCompaction: the watch of a store that lags is compacted, then the log is cut as well.
func TestCompaction(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{Members: 1})
	client, ctx := raw(t, cluster.Endpoints), context.Background()
	stores, sinks, hooks := several(t, 2, etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: "/compact"})
	stuck := func(step etcdstore.Step, _ bool) error {
		if step == etcdstore.StepWatch {
			return errLost
		}
		return nil
	}
	eventually(t, "there is a watch", func() bool { return stores[1].Stats().Watches.Load() > 0 })
	lag := func(first authz.GroupID) {
		hooks[1].arm(stuck)
		stores[1].EndWatch()
		for i := range 5 {
			commit(t, stores[0], state.Batch{Puts: []state.Record{group(first + authz.GroupID(i)), &state.User{ID: 1, Name: fmt.Sprint(first, i)}}, Stamp: authz.Stamp(first)})
		}
	}
	compact := func() {
		resp, err := client.Get(ctx, "x")
		if err == nil {
			_, err = client.Compact(ctx, resp.Header.Revision)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	lag(1)
	compact()
	hooks[1].arm(nil)
	agree(t, stores, sinks)
	if stores[1].Stats().Compacted.Load() == 0 || stores[1].Stats().Reloads.Load() != 0 {
		t.Error("the watch was not compacted, or the log was not used")
	}

	// Now what was missed is in the log no more.
	lag(11)
	commit(t, stores[0], state.Batch{Deletes: []state.Key{state.GroupKey(1), state.GroupKey(12)}})
	if err := stores[0].Fold(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Delete(ctx, "/compact/log/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	compact()
	before := len(sinks[1].Changes())
	hooks[1].arm(nil)
	eventually(t, "the second store is there", func() bool { m, _ := stores[1].Head(); w, _ := stores[0].Head(); return m == w })
	agree(t, stores, sinks)
	if n := stores[1].Stats().Reloads.Load(); n != 1 {
		t.Errorf("%d reloads", n)
	}
	told := make(map[state.Key]bool)
	for _, c := range sinks[1].Changes()[before:] {
		for _, key := range c.Keys {
			told[key] = true
		}
	}
	for _, key := range []state.Key{state.GroupKey(1), state.GroupKey(11), state.GroupKey(15), state.UserKey(1)} {
		if !told[key] {
			t.Errorf("the sink was not told that %v changed", key)
		}
	}
	err := stores[1].History(ctx, 3, func(state.Change) error { return nil })
	wantCode(t, err, "HISTORY_GONE")
	commit(t, stores[1], state.Batch{Puts: []state.Record{group(99)}})
	agree(t, []*etcdstore.Store{stores[1], stores[0]}, []*statetest.Recorder{sinks[1], sinks[0]})
}

// TestFoldersOneAtATime: a store that stops in the middle of folding does no harm when it goes on
// after another has folded further and events were removed.
func TestFoldersOneAtATime(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{Members: 1})
	ctx, opts := context.Background(), etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: "/fold", Operations: 4}
	stores, sinks, hooks := several(t, 2, opts)
	for i := range 12 {
		commit(t, stores[0], state.Batch{Puts: []state.Record{group(authz.GroupID(i + 1))}, Events: []state.Event{{Stamp: authz.Stamp(i + 1)}}})
	}
	reached, release := hooks[0].hold(etcdstore.StepFold)
	defer release()
	result := make(chan error, 1)
	go func() { result <- stores[0].Fold(ctx) }()
	<-reached
	commit(t, stores[1], state.Batch{Deletes: []state.Key{state.GroupKey(1)}, Puts: []state.Record{&state.Group{ID: 2, Name: "new"}, &state.Group{ID: 3, Name: "new"}, &state.Group{ID: 4, Name: "new"}}})
	if n, err := stores[1].PruneEvents(ctx, 100, 5); n != 5 || err != nil {
		t.Fatalf("pruned %d: %v", n, err)
	}
	release()
	if err := <-result; err == nil {
		t.Error("the slower one folded as well")
	}
	agree(t, stores, sinks)
	third := open(t, opts)
	agree(t, []*etcdstore.Store{stores[0], third}, []*statetest.Recorder{sinks[0], attach(t, third)})
	for i, s := range []*etcdstore.Store{stores[0], stores[1], third} {
		var stamps []authz.Stamp
		if err := s.Events(ctx, 0, 0, "", func(e state.Event, _ string) error { stamps = append(stamps, e.Stamp); return nil }); err != nil {
			t.Fatal(err)
		}
		if len(stamps) != 7 || stamps[6] != 6 {
			t.Errorf("store %d has events %v", i, stamps)
		}
	}
}
