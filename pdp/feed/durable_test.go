package feed

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/badgerstore"
)

// durable is a feed on a store on the disk.
type durable struct {
	*Feed
	t       *testing.T
	store   *badgerstore.Store
	history error // what OnHistory was told
}

func openDurable(t *testing.T, dir string) *durable {
	t.Helper()
	store, err := badgerstore.Open(t.Context(), badgerstore.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	d := &durable{t: t, store: store}
	start := time.Now()
	d.Feed = New(state.NewView(), Options{
		Now: func() lease.Instant { return lease.Instant(time.Since(start)) }, OnHistory: func(err error) { d.history = err },
	})
	if err := store.Attach(t.Context(), d.Feed); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	return d
}

// kill stops with leases out, as a kill does.
func (d *durable) kill() {
	ctx, cancel := context.WithCancel(d.t.Context())
	cancel()
	if err := d.Close(ctx); err != nil {
		d.t.Error(err)
	}
	if err := d.store.Close(); err != nil {
		d.t.Error(err)
	}
}

func (d *durable) revoke(actor string) {
	d.t.Helper()
	if _, err := d.store.Commit(d.t.Context(), state.Batch{Puts: []state.Record{jobA}, Actor: actor}); err != nil {
		d.t.Fatal(err)
	}
}

// hello opens a generation and gives its Welcome.
func (d *durable) hello(h lease.Hello) (lease.Message, error) {
	s, err := d.Open(d.t.Context(), "sidecar", About{}, h)
	if err != nil {
		return lease.Message{}, err
	}
	ms, err := s.Next(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	return ms[0], nil
}

// TestOverARestart has a sidecar come back to a PDP that was killed and started again on
// the same disk: it is known, its entries are vouched for, receipts wait. Then it comes to
// a copy of the disk from before: nobody is served there (P6, R13).
func TestOverARestart(t *testing.T) {
	dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	d := openDurable(t, dir)
	d.revoke("ada")
	first, err := d.hello(lease.Hello{})
	if err != nil {
		t.Fatal(err)
	}
	d.kill()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}

	d = openDurable(t, dir)
	if d.Quiet() == 0 {
		t.Error("nobody is waited for")
	}
	for range 10 {
		d.revoke("ada")
	}
	again, err := d.hello(lease.Hello{Seen: first.Head, Vouch: true, Applied: first.Head.Revision, Keys: []authz.Key{keyA}})
	if err != nil || !again.Vouched {
		t.Errorf("%+v, %v", again, err)
	}
	beside := first.Head
	beside.Chain[0]++
	if _, err := d.hello(lease.Hello{Seen: beside}); code(err) != CodeHistoryBeside || d.history != nil {
		t.Errorf("a chain that is not its own: %v, told to stop with %v", err, d.history)
	}
	d.kill()

	d = openDurable(t, copied)
	if _, err := d.hello(lease.Hello{Seen: again.Head}); code(err) != CodeHistoryBehind || d.history == nil {
		t.Errorf("to the copy: %v, told to stop with %v", err, d.history)
	}
	for range 20 { // another history, by now as long
		d.revoke("bob")
	}
	d.history = nil
	if _, err := d.hello(lease.Hello{Seen: again.Head}); code(err) != CodeHistoryBeside || d.history == nil {
		t.Errorf("to the copy that went on: %v, told to stop with %v", err, d.history)
	}
	d.kill()
}
