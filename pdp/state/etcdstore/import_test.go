package etcdstore_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/etcdstore"
	"github.com/jobward/jobward/pdp/state/memstore"
	"github.com/jobward/jobward/pdp/state/statetest"
	"github.com/jobward/jobward/test/etcd"
)

// breaking is a hook that fails from step n on, as a kill does.
type breaking struct {
	mu     sync.Mutex
	on     bool
	n      int
	done   bool
	broken bool
}

func (b *breaking) hook(_ etcdstore.Step, done bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.on {
		return nil
	}
	if b.broken || done == b.done && b.n == 0 {
		b.broken = true
		return errBroken
	}
	if done == b.done {
		b.n--
	}
	return nil
}

func (b *breaking) from(n int, done bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.on, b.n, b.done, b.broken = true, n, done, false
}

func (b *breaking) stop() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.on = false
	return b.broken
}

func rawClient(t *testing.T, c *etcd.Cluster) *clientv3.Client {
	t.Helper()
	raw, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	return raw
}

func TestImport(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{Members: 1})
	raw := rawClient(t, cluster)
	n := 0
	statetest.Import(t, func(t *testing.T) statetest.ImportHarness {
		n++
		b := new(breaking)
		opts := etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: fmt.Sprintf("/import/%d/", n), Fault: b.hook}
		return statetest.ImportHarness{
			Import: func() (state.Import, error) {
				im, err := etcdstore.OpenImport(context.Background(), opts)
				if err != nil {
					return nil, err
				}
				return im, nil
			},
			Open: func() (state.Store, error) {
				s, err := etcdstore.Open(context.Background(), opts)
				if err != nil {
					return nil, err
				}
				return s, nil
			},
			Clear: func() {
				if _, err := raw.Delete(context.Background(), opts.Prefix, clientv3.WithPrefix()); err != nil {
					t.Error(err)
				}
			},
			Empty: func() bool {
				found, err := etcdstore.LookAt(context.Background(), opts)
				if err != nil {
					t.Error(err)
				}
				return found.Holds == ""
			},
			Break: b.from, Broken: b.stop,
		}
	})
}

// some is a store with a few records; nothing is attached to it.
func some(t *testing.T) *memstore.Store {
	t.Helper()
	s := memstore.New()
	attach(t, s)
	for i := range 1000 {
		b := state.Batch{Stamp: authz.Stamp(i), Puts: []state.Record{group(authz.GroupID(i + 1))}, Events: []state.Event{{Stamp: authz.Stamp(i) * 1e8, Data: []byte("x")}}}
		commit(t, s, b)
	}
	return s.Reopen()
}

// TestImportLostAnswers loses the answer of one transaction after the other: the import asks
// again, and the copy is whole.
func TestImportLostAnswers(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{Members: 1})
	from := some(t)
	for n := range 10 {
		f := new(faults)
		left := n
		f.arm(func(_ etcdstore.Step, done bool) error {
			if !done {
				return nil
			}
			if left--; left == -1 {
				return errLost
			}
			return nil
		})
		opts := etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: fmt.Sprintf("/lost/%d", n), Fault: func(step etcdstore.Step, done bool) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.armed(step, done)
		}}
		im, err := etcdstore.OpenImport(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		from = from.Reopen()
		c, b, err := (&state.Transfer{From: from, To: im}).Run(t.Context())
		if err != nil {
			t.Fatalf("answer %d lost: %v", n, err)
		}
		im.Close()
		opts.Fault = nil
		got, err := state.Read(t.Context(), open(t, opts), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range c.Differences(b, got) {
			t.Errorf("answer %d lost: %s", n, line)
		}
	}
}

// TestImportDisturbed begins a second import, or a PDP, while one is under way.
func TestImportDisturbed(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{Members: 1})
	opts := etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: "/disturbed"}
	first, err := etcdstore.OpenImport(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, err = etcdstore.Open(t.Context(), opts)
	wantCode(t, err, state.CodeImportUnfinished)
	second, err := etcdstore.OpenImport(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	_, _, err = (&state.Transfer{From: some(t), To: first}).Run(t.Context())
	wantCode(t, err, "TARGET_CHANGED")
	c, b, err := (&state.Transfer{From: some(t), To: second}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, opts)
	got, err := state.Read(t.Context(), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range c.Differences(b, got) {
		t.Error(line)
	}
	// R8: the leases of the history before are in the list, with R1's cap.
	list, err := s.Registry().List(t.Context())
	if err != nil || len(list.Departed) != 1 || list.Departed[0].Term != 60*time.Second {
		t.Errorf("the list after an import: %+v, %v", list, err)
	}
	// R13: who has seen the copy refuses the history that it was made of, and not the other way.
	old := opts
	if old.Seen = c.Mark; open(t, old) == nil {
		t.Error("not opened")
	}
	old.Seen = b.Mark
	open(t, old)
	old.Seen.Epoch.ID[0]++
	_, err = etcdstore.Open(t.Context(), old)
	wantCode(t, err, "OTHER_HISTORY")
}

// TestImportNoSpace imports more than etcd's quota takes.
func TestImportNoSpace(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{Members: 1, Args: []string{"-quota", fmt.Sprint(1 << 20)}})
	opts := etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: "/full"}
	from := memstore.New()
	attach(t, from)
	for i := range 300 { // etcd notices by what it has written out, which is a moment later
		commit(t, from, state.Batch{Puts: []state.Record{group(authz.GroupID(i + 1))}, Events: []state.Event{{Stamp: authz.Stamp(i) * 1e9, Data: make([]byte, 200_000)}}})
	}
	im, err := etcdstore.OpenImport(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = (&state.Transfer{From: from.Reopen(), To: im}).Run(t.Context())
	wantCode(t, err, "DISK_LOW")
	im.Close()
	_, err = etcdstore.Open(t.Context(), opts)
	wantCode(t, err, state.CodeImportUnfinished)
	if found, err := etcdstore.LookAt(t.Context(), opts); err != nil || !found.Unfinished || found.Room != 1<<20 {
		t.Errorf("found %+v, %v", found, err)
	}
}
