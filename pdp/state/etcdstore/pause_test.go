package etcdstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/etcdstore"
	"github.com/jobward/jobward/test/etcd"
)

// TestLeaderStops: the leader's process stands still in the middle of commits and goes on after
// others have elected a new one.
func TestLeaderStops(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{})
	client, ctx := raw(t, cluster.Endpoints), context.Background()
	stores, sinks, _ := several(t, 2, etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: "/stop", Timeout: time.Second, Patience: 30 * time.Second})
	leader := -1
	for i, endpoint := range cluster.Endpoints {
		st, err := client.Status(ctx, endpoint)
		if err != nil {
			t.Fatal(err)
		}
		if st.Header.MemberId == st.Leader {
			leader = i
		}
	}
	key := state.RunnerKey("counter")
	step := func(i int) {
		s, r := stores[i%2], sinks[i%2]
		commit(t, s, state.Batch{}) // Sees what the other committed.
		beat := int64(0)
		if held, ok := r.Records()[key]; ok {
			beat = int64(held.Record.(*state.Runner).Beat)
		}
		commit(t, s, state.Batch{
			Guards: []state.Guard{{Key: key, Revision: r.Mod(key)}},
			Puts:   []state.Record{&state.Runner{ID: "counter", Beat: authz.Stamp(beat + 1)}},
		})
	}
	for i := range 10 {
		step(i)
	}
	cluster.Pause(leader)
	for i := range 6 {
		step(i)
	}
	cluster.Resume(leader)
	for i := range 10 {
		step(i)
	}
	commit(t, stores[0], state.Batch{})
	agree(t, stores, sinks)
	if mark, _ := stores[0].Head(); mark.Revision != 26 {
		t.Errorf("26 steps led to %v", mark)
	}
}
