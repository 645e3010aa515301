package replica

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
)

// The tests' term and fence.
const (
	term  = 2 * time.Second
	fence = time.Second
)

// world is several PDPs on one history, each with one sidecar, in a bubble of virtual time.
type world struct {
	t       *testing.T
	cluster *memstore.Cluster
	rnd     *rand.Rand
	nodes   []*node
	fault   Fault
	mixed   bool // clocks drift, terms and fences differ
	deaf    bool // a peer says that it has settled what its sidecar has not (a bug of the peer)

	mu        sync.Mutex
	effective authz.Revision // the newest whose receipt was effective
	wrong     []string
	receipts  int
	longest   time.Duration
	apart     map[[2]*node]bool // who cannot call whom
	faults    map[string]Fault  // of single nodes, by name
}

func newWorld(t *testing.T, seed uint64, n int, fault Fault) *world {
	return newWorldOf(t, seed, n, fault, nil, true)
}

func newWorldOf(t *testing.T, seed uint64, n int, fault Fault, faults map[string]Fault, mixed bool) *world {
	w := &world{t: t, cluster: memstore.NewCluster(memstore.Options{Timeout: 50 * time.Millisecond}), rnd: rand.New(rand.NewPCG(seed, 0)), fault: fault, faults: faults, mixed: mixed, apart: map[[2]*node]bool{}}
	for i := range n {
		w.nodes = append(w.nodes, w.start(fmt.Sprint("n", i)))
	}
	return w
}

func (w *world) complain(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

func (w *world) found() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.wrong) > 0
}

// node is one PDP: its Member, its view, which is a revision, and its sidecar.
type node struct {
	w      *world
	name   string
	h      *memstore.Handle
	m      *Member
	rate   float64
	origin time.Time

	mu      sync.Mutex
	applied authz.Revision
	stuck   bool          // the watch brings nothing
	cut     bool          // the store cannot be reached
	resume  chan struct{} // not nil: the process stands still
	frozen  lease.Instant
	term    time.Duration
	fence   time.Duration
	slow    bool // some writes are done after their caller has given up
	full    bool // the store answers, and takes no write
	dead    bool
	harmed  int // how often something was done to it
	turn    int // counts writes
	changes []error
	renewed func() // is called when a renewal is stored, and not yet answered
	side    *side
}

// side is a sidecar: it believes what it knows until its lease ends. Grants and
// invalidations come to it in order, so that it knows of whatever was applied before a
// grant (L10). The grantor's half of the lease is the node's.
type side struct {
	knows authz.Revision
	until time.Time // by its own clock, which is slow
	ends  lease.Instant
	acked authz.Revision
	owes  []owed
	cut   bool
	cuts  int
	shut  bool // it cannot be reached
}

// owed is a revision that was not acked, and the end of the longest grant before it.
type owed struct {
	revision authz.Revision
	ends     lease.Instant
}

// slowest is how much longer a term is by the slowest clock that R11 allows.
func slowest(d time.Duration) time.Duration { return d * 100 / 99 }

// start starts a PDP as R8 says: registered, then loaded, then serving.
func (w *world) start(name string) *node {
	n := &node{w: w, name: name, h: w.cluster.Open(), origin: time.Now(), rate: 1, side: &side{cut: true}}
	n.term, n.fence = term, fence
	if w.mixed {
		n.rate = 1 + (w.rnd.Float64()-0.5)/50 // R11
		n.term, n.fence = term/2+time.Duration(w.rnd.Int64N(int64(term))), fence/2+time.Duration(w.rnd.Int64N(int64(fence)))
	}
	fault := w.fault
	if f, ok := w.faults[name]; ok {
		fault = f
	}
	names := rand.New(rand.NewPCG(w.rnd.Uint64(), 0)) // for the goroutine that joins
	n.m = New(Options{
		Registry: &slow{n, n.h.Registry()}, Dialer: dialer{n}, Name: name, Address: name, Term: n.term, Fence: n.fence, Now: n.now, Fault: fault,
		OnChange: func(why error) { n.mu.Lock(); defer n.mu.Unlock(); n.changes = append(n.changes, why) },
		Draw: func() (id state.Incarnation) {
			if fault == FaultResumes { // it remembers who it was
				copy(id[:], name)
				return id
			}
			for i := range id {
				id[i] = byte(names.IntN(256))
			}
			return id
		},
	})
	if err := n.m.Join(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	if err := n.h.Attach(w.t.Context(), n); err != nil {
		w.t.Fatal(err)
	}
	n.m.Attach(n)
	return n
}

// now is the node's clock, which stands while the process does and jumps afterwards.
func (n *node) now() lease.Instant {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.resume != nil {
		return n.frozen
	}
	return n.clock()
}

func (n *node) clock() lease.Instant {
	return lease.Instant(float64(time.Since(n.origin))*n.rate) + lease.Instant(time.Hour)
}

func (n *node) pause() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.harmed++
	if n.resume == nil {
		n.frozen, n.resume = n.clock(), make(chan struct{})
	}
}

func (n *node) goOn() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.resume != nil {
		close(n.resume)
		n.resume = nil
	}
}

// runs waits while the process stands still.
func (n *node) runs(ctx context.Context) error {
	for {
		n.mu.Lock()
		c := n.resume
		n.mu.Unlock()
		if c == nil {
			return ctx.Err()
		}
		select {
		case <-c:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// The sink.

func (n *node) Reset()                             {}
func (n *node) Load(state.Record, authz.Revision)  {}
func (n *node) Loaded(m state.Mark, _ authz.Stamp) { n.apply(m.Revision) }
func (n *node) Apply(changes []state.Change)       { n.apply(changes[len(changes)-1].Revision) }
func (n *node) setStuck(yes bool)                  { n.mu.Lock(); n.stuck = yes; n.mu.Unlock() }
func (n *node) apply(rev authz.Revision) {
	n.runs(context.Background())
	for n.isStuck() {
		time.Sleep(10 * time.Millisecond)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if rev > n.applied {
		n.applied = rev
		n.side.owes = append(n.side.owes, owed{rev, n.side.ends})
	}
}

func (n *node) setCut(yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.harmed++
	n.cut = yes
}

func (n *node) isStuck() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return (n.stuck || n.cut) && !n.dead
}

// Local.

func (n *node) Applied() authz.Revision {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.applied
}

func (n *node) Settled() authz.Revision {
	now := n.now()
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.side
	for len(s.owes) > 0 && (s.owes[0].revision <= s.acked || now >= s.owes[0].ends) {
		s.owes = s.owes[1:]
	}
	if len(s.owes) > 0 {
		return s.owes[0].revision - 1
	}
	return n.applied
}

func (n *node) AwaitApplied(ctx context.Context, rev authz.Revision) error {
	for n.Applied() < rev {
		if !pause(ctx, 2*time.Millisecond) {
			return ctx.Err()
		}
	}
	return nil
}

func (n *node) CutAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.side.cut = true
	n.side.cuts++
}

// tend is what the sidecar and its PDP do from time to time: a hello, or a renewal, with or
// without an ack of what it knows.
func (n *node) tend(late bool) {
	now := n.now()
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.side
	if n.resume != nil || n.dead || s.shut || !n.m.Serving(now) {
		return
	}
	if s.cut || now >= s.ends {
		s.cut = false // a hello
	} else if len(s.owes) > 0 && now >= s.owes[0].ends.Add(term) {
		late = false // or it would get nothing
	}
	s.knows = n.applied
	if !late {
		s.acked = s.knows
	}
	s.until = time.Now().Add(slowest(lease.HolderTerm(n.term)))
	s.ends = max(s.ends, now.Add(lease.GrantorTerm(n.term)))
}

// look is what anybody could see now.
func (n *node) look() {
	w := n.w
	w.mu.Lock()
	eff := w.effective
	w.mu.Unlock()
	now := n.now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if time.Now().Before(n.side.until) && n.side.knows < eff {
		w.complain("the sidecar of %s believes revision %d, and %d is effective", n.name, n.side.knows, eff)
	}
	if n.resume == nil && !n.dead && n.m.Serving(now) && n.applied < eff {
		w.complain("%s answers from revision %d, and %d is effective", n.name, n.applied, eff)
	}
}

// slow is a registry whose answers do not reach a process that stands still.
type slow struct {
	n *node
	state.Registry
}

// reach waits while the process stands still, and fails when the store is out of reach.
func (s *slow) reach(write bool) error {
	s.n.runs(context.Background())
	s.n.mu.Lock()
	cut, full := s.n.cut, s.n.full
	s.n.mu.Unlock()
	switch {
	case full && write:
		return errors.New("the store is full")
	case !cut:
		return nil
	}
	time.Sleep(50 * time.Millisecond)
	return errors.New("the store cannot be reached")
}

// late does a write long after its caller has had an error, if it is its turn.
func (s *slow) late(write func() error) error {
	n := s.n
	n.mu.Lock()
	defer n.mu.Unlock()
	n.turn++
	if !n.slow || n.turn%3 == 0 {
		return nil
	}
	n.harmed++
	after := n.fence * time.Duration(n.turn%7) / 2
	time.AfterFunc(after, func() { write() })
	return errors.New("no answer")
}

func (s *slow) Join(ctx context.Context, r state.Registration) (head authz.Revision, err error) {
	if err := s.reach(true); err != nil {
		return 0, err
	}
	if err := s.late(func() error {
		_, err := s.Registry.Join(context.Background(), r)
		return err
	}); err != nil {
		return 0, err
	}
	head, err = s.Registry.Join(ctx, r)
	s.n.runs(context.Background())
	return head, err
}

func (s *slow) Fence(ctx context.Context, r state.Registration) error {
	if err := s.reach(true); err != nil {
		return err
	}
	if err := s.late(func() error { return s.Registry.Fence(context.Background(), r) }); err != nil {
		return err
	}
	return s.Registry.Fence(ctx, r)
}

func (s *slow) Renew(ctx context.Context, r state.Registration) (head authz.Revision, err error) {
	if err := s.reach(true); err != nil {
		return 0, err
	}
	if err := s.late(func() error {
		_, err := s.Registry.Renew(context.Background(), r)
		return err
	}); err != nil {
		return 0, err
	}
	head, err = s.Registry.Renew(ctx, r)
	s.n.mu.Lock()
	renewed := s.n.renewed
	s.n.renewed = nil
	s.n.mu.Unlock()
	if renewed != nil {
		renewed()
	}
	s.n.runs(context.Background())
	return head, errors.Join(err, s.reach(true)) // the answer may be lost
}

func (s *slow) List(ctx context.Context) (state.Registrations, error) {
	if err := s.reach(false); err != nil {
		return state.Registrations{}, err
	}
	time.Sleep(time.Millisecond)
	l, err := s.Registry.List(ctx)
	s.n.runs(context.Background())
	return l, err
}

// dialer calls nodes by name.
type dialer struct{ from *node }

func (d dialer) Dial(r state.Registration) (Peer, error) { return &link{d.from, r}, nil }

type link struct {
	from *node
	to   state.Registration
}

func (l *link) Close() error { return nil }

func (l *link) Settle(ctx context.Context, want Want, each func(Answer)) error {
	w := l.from.w
	for {
		var n *node
		w.mu.Lock()
		for _, o := range w.nodes {
			if o.name == l.to.Name && o.m.Incarnation() == l.to.Incarnation {
				n = o
			}
		}
		apart := n == nil || w.apart[[2]*node{l.from, n}]
		w.mu.Unlock()
		if apart {
			return errors.New("unreachable")
		}
		if err := n.runs(ctx); err != nil {
			return err
		}
		if !n.m.Serving(n.now()) {
			return n.m.Why(n.now())
		}
		a := Answer{Want: want, Applied: n.Applied(), Settled: n.Settled() >= want.Revision || w.deaf && n.Applied() >= want.Revision}
		each(a)
		if a.Settled {
			return nil
		}
		if !pause(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// commit makes a change at a node and waits for the receipt.
func (w *world) commit(n *node) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	n.mu.Lock()
	out, harmed := n.cut || n.dead || n.resume != nil, n.harmed
	n.mu.Unlock()
	if out {
		return
	}
	rev, err := n.h.Commit(ctx, state.Batch{Puts: []state.Record{&state.Runner{ID: n.name, Beat: authz.Stamp(time.Now().UnixNano())}}})
	if err != nil {
		return
	}
	began := time.Now()
	r := n.m.Settle(ctx, []Want{{Revision: rev}}, nil)
	n.mu.Lock()
	well := n.harmed == harmed && !n.dead
	n.mu.Unlock()
	if took := time.Since(began); well && (!r.Effective || took > r.Bound) {
		w.complain("the receipt of %s for %d took %v, with the bound %v: %+v", n.name, rev, took, r.Bound, r)
	}
	if !r.Effective {
		return
	}
	for n.Settled() < rev {
		if !pause(ctx, time.Millisecond) {
			return
		}
	}
	if n.runs(ctx) != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.effective = max(w.effective, rev)
	w.receipts++
	w.longest = max(w.longest, time.Since(began))
}

// stop ends all.
func (w *world) stop() {
	for _, n := range w.nodes {
		n.end()
	}
}

func (n *node) end() {
	n.goOn()
	n.mu.Lock()
	n.dead, n.stuck, n.cut = true, false, false
	n.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	n.m.Stop(ctx, false) // as a process that was killed: it says nothing
	n.h.Close()
}
