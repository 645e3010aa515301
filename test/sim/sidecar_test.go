package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobward/jobward/internal/clock"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/pep"
)

// sidecar is a machine with a service that asks through a pep.Decider in its own process.
type sidecar struct {
	s          *sim
	name       string
	rnd        *rand.Rand
	dial, wake *lane
	// The ways to the PDP: the lane of leases, each direction, and calls.
	watchUp, watchDown, callUp, callDown gate
	stopped                              gate        // while the process stands still
	dialing                              gate        // of new streams alone
	mute                                 atomic.Bool // acks are lost
	welcomed                             func()      // called when a welcome arrives
	places                               []place
	streams                              int
	dir                                  string        // where the mark is kept; empty: nowhere
	kept                                 atomic.Uint64 // of the mark that is on disk
	trulySeen                            atomic.Uint64 // of the true history, when the PDP began to serve another

	mu      sync.Mutex
	conns   []*conn
	wires   []*wire
	proc    *pep1 // nil while it is down
	count   int
	leaving bool
}

// place is a set of lanes for one stream.
type place struct {
	up, down, fate *lane
	upRnd, rnd     *rand.Rand
	downRnd        *rand.Rand
}

// pep1 is one process of it.
type pep1 struct {
	sc    *sidecar
	n     int
	d     *pep.Decider
	meter meter
	gone  atomic.Bool

	mu sync.Mutex
	// What the lane of leases said, to know the end of the lease without the holder's help.
	sent map[renewal]lease.Instant
	ends lease.Instant
	// tickerUntil: with a planted bug, until when the clock shows what it did before a stop.
	tickerUntil time.Duration
	// most is the highest revision that it applied, or answered from without the cache.
	applied authz.Revision
	epoch   uint64
	wrongs  map[lease.Generation]bool // granted by a PDP whose history is not the true one
}

type renewal struct {
	gen    lease.Generation
	number uint64
}

func (s *sim) newSidecar(i int) *sidecar {
	name := fmt.Sprint("pep", i)
	sc := &sidecar{s: s, name: name, rnd: s.chance(name), dial: s.lane(), wake: s.lane()}
	for n := range 3 {
		sc.places = append(sc.places, place{s.lane(), s.lane(), s.lane(),
			s.chance(fmt.Sprint(name, " up ", n)), s.chance(fmt.Sprint(name, " fate ", n)), s.chance(fmt.Sprint(name, " down ", n))})
	}
	if s.plan.keepsMark {
		sc.dir = s.tempDir(name)
	}
	return sc
}

// start starts a process. With a mark it knows what the one before had seen.
func (sc *sidecar) start() {
	s := sc.s
	if s.over.Load() {
		return
	}
	sc.count++
	h := &pep1{sc: sc, n: sc.count, sent: map[renewal]lease.Instant{}, wrongs: map[lease.Generation]bool{}}
	rnd := s.chance(fmt.Sprint(sc.name, " process ", sc.count))
	h.meter = meter{s: s, origin: s.now(), rate: s.rate(rnd)}
	cfg := pep.Config{
		Transport: transport{h}, Name: sc.name, StateDir: sc.dir,
		MaxEntries: s.plan.maxEntries, Wait: 301 * time.Millisecond, CallTimeout: s.plan.callTimeout, MaxBackoff: 701 * time.Millisecond,
		ReportEvery: -1, Clock: clock.Func(h.clock), Seed: rnd.Uint64() | 1, Fault: s.bug.pepFault(),
	}
	if s.grpc {
		cfg = h.overGRPC(cfg)
	}
	d, err := pep.New(cfg)
	if err != nil {
		panic(err)
	}
	h.d = d
	s.note(sc.name, sc.name, "starts", "process %d, rate %+.4f", h.n, h.meter.rate)
	sc.mu.Lock()
	sc.proc = h
	sc.mu.Unlock()
}

// clock is that of the process.
func (h *pep1) clock() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tickerUntil > h.sc.s.now() {
		return h.meter.held
	}
	return h.meter.now()
}

func (h *pep1) dead() bool { return h.gone.Load() }

func (sc *sidecar) running() *pep1 {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	return sc.proc
}

// crash kills the process. told says whether the PDP learns of it soon. With lost the next
// one begins without the mark.
func (sc *sidecar) crash(told, lost bool) bool {
	h := sc.running()
	if h == nil {
		return false
	}
	s := sc.s
	s.note(sc.name, sc.name, "dies", "process %d, mark lost %v", h.n, lost)
	h.gone.Store(true)
	if sc.dir == "" {
		sc.trulySeen.Store(0)
	}
	sc.mu.Lock()
	sc.proc = nil
	conns, wires := sc.conns, sc.wires
	sc.conns, sc.wires = nil, nil
	sc.mu.Unlock()
	if sc.dir != "" {
		next := s.tempDir(sc.name)
		epoch, kept := markIn(sc.dir)
		if lost || epoch != s.epoch() {
			kept = 0
		}
		sc.kept.Store(uint64(kept))
		sc.trulySeen.Store(min(sc.trulySeen.Load(), uint64(kept)))
		if !lost && s.bug.kind != bugForgetsMark {
			copyDir(next, sc.dir)
		}
		sc.dir = next
	}
	for _, w := range wires {
		w.broken()
	}
	for _, c := range conns {
		late := s.delay(c.rnd)
		if !told {
			late = 3 * s.plan.term
		}
		c.broken(late)
	}
	s.ending.Go(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		h.d.Close(ctx)
	})
	return true
}

// leave is a clean stop: the lease is released.
func (sc *sidecar) leave() {
	h := sc.running()
	if h == nil {
		return
	}
	sc.mu.Lock()
	sc.proc, sc.leaving = nil, true
	sc.mu.Unlock()
	sc.s.note(sc.name, sc.name, "leaves", "process %d", h.n)
	h.d.Close(context.Background())
	h.gone.Store(true)
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.leaving = false
}

// pause stops the process for a while, and its machine's clocks go on. See doc.go for what
// this is of a stopped process.
func (sc *sidecar) pause(d time.Duration) {
	h := sc.running()
	s := sc.s
	now := s.now()
	if h == nil || sc.stopped.wait(now) > 0 {
		return
	}
	s.note(sc.name, sc.name, "stops", "for %v", d)
	h.mu.Lock()
	h.meter.held, h.meter.stood = h.meter.now(), true
	h.mu.Unlock()
	until := sc.wake.next(now, d)
	sc.stopped.shut(until)
	time.AfterFunc(until-now, func() {
		h.mu.Lock()
		h.meter.stood = false
		if s.bug.kind == bugTicker {
			h.tickerUntil = s.now() + 250*time.Millisecond
		}
		h.mu.Unlock()
		s.note(sc.name, sc.name, "goes on", "")
	})
}

// asked notes when a lease was asked for, on the process' clock.
func (h *pep1) asked(gen lease.Generation, number uint64) {
	now := lease.Instant(h.clock())
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sent[renewal{gen, number}] = now
}

// granted notes a lease. It is counted from the latest time at which the sidecar can have
// asked for it, so what is noted is not before the holder's own end.
func (h *pep1) granted(m lease.Message, forked bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, ok := h.sent[renewal{m.Generation, m.Number}]
	if m.Number == 0 {
		at, ok = h.sent[renewal{}]
	}
	if forked {
		h.wrongs[m.Generation] = true
	}
	if ok {
		h.ends = max(h.ends, at.Add(m.Term-m.Term/100))
	}
}

// markIn gives the epoch and revision of the mark in a state directory.
func markIn(dir string) (epoch uint64, rev authz.Revision) {
	var m struct{ Epoch, Revision uint64 }
	b, err := os.ReadFile(filepath.Join(dir, "mark.json"))
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return 0, 0
	}
	return m.Epoch, authz.Revision(m.Revision)
}

func copyDir(to, from string) {
	err := filepath.WalkDir(from, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "lock" {
			return err
		}
		b, err := os.ReadFile(p)
		if err == nil {
			err = os.WriteFile(filepath.Join(to, e.Name()), b, 0o600)
		}
		return err
	})
	if err != nil {
		panic(err)
	}
}
