package pep

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobward/jobward/internal/clock"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/authz"
)

// Decider answers questions about job tokens from a cache that a PDP keeps true. It
// implements [authz.Decider] and is safe for concurrent use. Make one with [New] and
// end it with [Decider.Close].
type Decider struct {
	cfg       Config
	clock     clock.Source
	log       *slog.Logger
	transport Transport
	table     *table
	// lease is a copy of the holder's, which answers look at without the lock. It is
	// replaced under the lock, after whatever the same message asked to be removed.
	lease  atomic.Pointer[lease.Lease]
	format atomic.Pointer[token.Format] // of the newest welcome
	_      [64]byte                     // what every answer reads stays clear of what is written
	uses   uses
	counts counts
	marks  marks

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	done sync.WaitGroup
	kick chan struct{} // wakes the goroutine that opens streams; holds one

	closing  sync.Once
	closeErr error

	mu     sync.Mutex // guards what follows and all changes of table
	holder *lease.Holder
	// current is the stream of the generation in force, which may be broken; joining the
	// newest one, until it comes into force.
	current, joining *link
	flights          map[key]*flight
	changed          chan struct{} // closed and replaced when target changes
	lost             lease.Instant // since when there is no target
	head             authz.Revision
	leased           bool             // there was a lease once
	lapsedIn         lease.Generation // whose lapse was counted
	refused          error            // why the last PDP was not believed, until the next lease
	closed           bool
}

var _ authz.Decider = (*Decider)(nil)

// New makes a Decider and begins to look for a PDP; it does not wait for one. Errors
// are about the settings, their files and the state directory.
func New(cfg Config) (*Decider, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	d := &Decider{
		cfg: cfg, clock: cfg.Clock, log: cfg.Logger, transport: cfg.Transport,
		flights: map[key]*flight{}, changed: make(chan struct{}), kick: make(chan struct{}, 1),
	}
	if err := d.marks.open(cfg.StateDir); err != nil {
		return nil, err
	}
	if d.transport == nil {
		t, err := newGRPC(&cfg)
		if err != nil {
			d.marks.close()
			return nil, err
		}
		d.transport = t
	}
	random := rand.New(rand.NewPCG(cfg.Seed, 0x6a6f6277617264))
	d.table = newTable(cfg.MaxEntries, cfg.MaxBytes, random.Uint64)
	d.uses.init(d.table, cfg.Fault.ReportBlocks)
	d.holder = lease.NewHolder(lease.HolderConfig{Seen: d.marks.seen, Fault: cfg.Fault.Lease})
	d.lost = d.now()
	d.publish()
	d.ctx, d.stop = context.WithCancel(context.Background())
	d.done.Go(func() { d.connectLoop(random) })
	d.done.Go(d.tidyLoop)
	d.done.Go(func() { d.marks.run(d.ctx, d.log) })
	d.done.Go(d.reportLoop)
	return d, nil
}

func (d *Decider) now() lease.Instant { return lease.Instant(d.clock.Now()) }

// publish makes the holder's lease the one that answers look at. Called with the lock.
func (d *Decider) publish() {
	l := d.holder.Lease()
	if old := d.lease.Load(); old == nil || *old != l {
		d.lease.Store(&l)
	}
}

// Check implements [authz.Decider]. An answer from the cache has Cached set, names in
// ValidFor what is left of it, and has no Keys: it must not be kept by anybody else.
func (d *Decider) Check(ctx context.Context, req authz.Request) (out authz.Decision, err error) {
	k := d.keyOf(&req)
	why := d.hit(d.table.hash(&k), &k, &out)
	if why == hit {
		return out, nil
	}
	return d.miss(ctx, req, why)
}

func (d *Decider) keyOf(req *authz.Request) key {
	k := keyOf(req)
	if d.cfg.Fault.KeyWithoutSurface {
		k.surface = 0
	}
	return k
}

// outcome of a look into the cache, and why it gave nothing.
type outcome uint8

const (
	hit outcome = iota
	absent
	invalidated
	expired
	lapsed
	numOutcomes
)

// hit looks into the cache. It takes no lock and allocates nothing.
//
// A check that starts after an ack does not see what the ack covers: subject and ground
// were marked dead, or the lease taken away, before it was sent. The clock is read
// last, so a process that stood still in between finds its lease over.
func (d *Decider) hit(h uint64, k *key, out *authz.Decision) outcome {
	e := d.table.find(h, k)
	l := d.lease.Load()
	now := lease.Instant(d.clock.Now())
	switch {
	case now >= l.Ends:
		return lapsed
	case e == nil:
		return absent
	case !l.Valid(now, e.subject.era) || e.dead():
		return invalidated
	case now >= e.ends && !d.cfg.Fault.NoValidUntil:
		return expired
	}
	if tick := uint32(now>>tickBits)<<1 | 1; e.last.Load() != tick {
		e.last.Store(tick)
	}
	if e.hits.Add(1) == 1 {
		d.uses.first(h, e)
	}
	e.decision(out, now)
	return hit
}

// Digest gives the digest of a text that was shown as a job token, to be asked about;
// the zero digest when it is none. Before the first lease the prefixes of the
// installation are not known, and any is taken.
func (d *Decider) Digest(text string) authz.Digest {
	f := d.format.Load()
	if f == nil {
		s, err := token.Parse(text)
		if err != nil {
			return authz.Digest{}
		}
		return s.Digest()
	}
	digest, ok := f.DigestOfString(text)
	if !ok {
		return authz.Digest{}
	}
	return digest
}

// Format gives the shape of the installation's job tokens, nil before the first lease.
func (d *Decider) Format() *token.Format { return d.format.Load() }

// tidyLoop removes what is void or over, and tells the PDP what nothing rests on any
// more.
func (d *Decider) tidyLoop() {
	const (
		every  = time.Second
		passes = 32 // a quiet table is gone through once in so many rounds
		piece  = 4096
	)
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-t.C:
		}
		d.mu.Lock()
		todo := max(len(d.table.buckets)/passes, d.table.dirty)
		d.mu.Unlock()
		for todo > 0 && d.ctx.Err() == nil {
			n := min(todo, piece)
			todo -= n
			d.mu.Lock()
			d.table.sweep(n, d.now())
			d.mu.Unlock()
		}
		d.mu.Lock()
		d.noteLapse()
		d.forget()
		d.mu.Unlock()
	}
}

// forget tells the PDP which keys nothing rests on any more. Called with the lock.
func (d *Decider) forget() {
	const most = 2000 // in one message; every answer under way is compared with it
	if d.current == nil || d.current.broken {
		return // they stay noted
	}
	for keys := d.table.takeUnused(); len(keys) > 0; {
		n := min(most, len(keys))
		d.current.out.forget(d.holder.Forget(keys[:n]))
		keys = keys[n:]
	}
	d.current.poke()
}

// Close ends the Decider: it tells what was not reported yet, gives its lease up, so
// that no receipt waits for it, and waits for its goroutines. ctx bounds the first two,
// which take no more than a second each. Questions fail from then on.
func (d *Decider) Close(ctx context.Context) error {
	d.closing.Do(func() { d.closeErr = d.close(ctx) })
	return d.closeErr
}

func (d *Decider) close(ctx context.Context) error {
	if d.cfg.ReportEvery > 0 {
		soon, cancel := context.WithTimeout(ctx, farewell)
		d.uses.flushNow(soon)
		cancel()
	}

	d.mu.Lock()
	d.closed = true
	last := d.current
	if _, ok := d.holder.Leave(); ok {
		d.table.clear()
		if last != nil && !last.broken {
			d.leave(last)
		} else {
			last = nil
		}
	}
	d.publish()
	close(d.changed)
	d.changed = make(chan struct{})
	d.mu.Unlock()
	if last != nil {
		select {
		case <-last.ended: // the PDP has the release
		case <-ctx.Done():
		}
	}

	d.stop()
	d.done.Wait()
	d.mu.Lock()
	for _, l := range []*link{d.current, d.joining} {
		if l != nil {
			d.retire(l)
		}
	}
	d.current, d.joining = nil, nil
	d.mu.Unlock()
	d.done.Wait()
	return errors.Join(d.transport.Close(), d.marks.close())
}
