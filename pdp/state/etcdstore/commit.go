package etcdstore

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// request is one call that waits for the committer.
type request struct {
	ctx   context.Context
	batch *state.Prepared
	since time.Time
	size  int // at most what the batch takes in an entry
	// done gets the answer; it has room for it.
	done chan answer
}

type answer struct {
	rev authz.Revision
	err error
}

func newRequest(ctx context.Context, p *state.Prepared) *request {
	r := &request{ctx: ctx, batch: p, since: time.Now(), done: make(chan answer, 1)}
	r.size = 64 + len(p.Actor) + len(p.Verb)
	for _, key := range p.Keys {
		r.size += len(key) + 8
	}
	for _, body := range p.Bodies {
		r.size += len(body)
	}
	for _, e := range p.Events {
		r.size += len(e.Data) + 16
	}
	return r
}

// Commit implements [state.Store]. An empty batch changes nothing and gives the head after it
// was read from the cluster: that is how a replica catches up (PROTOCOL R16). Calls that wait
// share one read, which is sent after they came.
func (s *Store) Commit(ctx context.Context, b state.Batch) (authz.Revision, error) {
	p, err := state.Prepare(b)
	if err != nil {
		return 0, err
	}
	r := newRequest(ctx, p)
	if s.opts.Look && len(p.Keys)+len(p.Events) > 0 {
		return 0, errLookedAt()
	}
	if err := s.enqueue(r); err != nil {
		return 0, err
	}
	select {
	case a := <-r.done:
		return a.rev, a.err
	case <-ctx.Done():
		return 0, state.ErrCanceled(ctx)
	}
}

func (s *Store) enqueue(r *request) error {
	s.entering.Add(1)
	defer s.entering.Add(-1)
	if err := s.usable(r.ctx); err != nil {
		return err
	}
	if s.stage.Load() != attached {
		return state.ErrAttachOrder("nothing is attached")
	}
	if err := s.spaceLeft(r); err != nil {
		return err
	}
	select {
	case s.queue <- r:
		return nil
	case <-r.ctx.Done():
		return state.ErrCanceled(r.ctx)
	}
}

// commitLoop is the committer: it makes all transactions that move the head. It ends when the
// store is closed and everything that was queued by then is done, or when the store failed.
func (s *Store) commitLoop() {
	defer close(s.idle)
	for {
		r := s.wait()
		if r == nil {
			break
		}
		s.process(s.fill(r))
	}
	s.turnAway()
}

func (s *Store) wait() *request {
	if len(s.held) > 0 {
		r := s.held[0]
		s.held = s.held[1:]
		return r
	}
	select {
	case r := <-s.queue:
		return r
	case <-s.failed:
		return nil
	case <-s.closed:
		select {
		case r := <-s.queue:
			return r
		default:
			return nil
		}
	}
}

// turnAway answers those who were on their way into the queue when the committer ended.
func (s *Store) turnAway() {
	refuse(s.held, s.gone())
	for {
		entering := s.entering.Load()
		select {
		case r := <-s.queue:
			r.done <- answer{err: s.gone()}
			continue
		default:
		}
		if entering == 0 {
			return
		}
		runtime.Gosched()
	}
}

// gone is the error of calls that the committer did not come to.
func (s *Store) gone() error {
	if err := s.usable(context.Background()); err != nil {
		return err
	}
	return state.ErrClosed()
}

// patience is a fraction of what a transaction takes, and enough for the callers of the last
// one to come back.
const patience = 200 * time.Microsecond

// maxGroup bounds the requests of one transaction; their callers wait for each other.
const maxGroup = 1024

// fill collects what is queued. Where there are many callers it waits a moment for those whom
// the last transaction woke.
func (s *Store) fill(first *request) []*request {
	group := append([]*request{first}, s.held...)
	s.held = nil
	var waiting time.Time
	for len(group) < maxGroup {
		select {
		case r := <-s.queue:
			group = append(group, r)
			waiting = time.Time{}
			continue
		default:
		}
		if len(group) == 1 && s.group <= 1 || len(group) >= s.group && !waiting.IsZero() {
			break
		}
		if now := time.Now(); waiting.IsZero() {
			waiting = now
		} else if now.Sub(waiting) > patience {
			break
		}
		runtime.Gosched()
	}
	s.group = len(group)
	return group
}

// process answers all requests of a group, in as many transactions as it takes.
func (s *Store) process(group []*request) {
	for len(group) > 0 {
		n, size := 0, 0
		for n < len(group) && (n == 0 || size+group[n].size <= s.room()) {
			size += group[n].size
			n++
		}
		if n > 1 && group[0].size > s.room() {
			n = 1
		}
		s.settle(group[:n])
		group = group[n:]
	}
}

// room is what batches may take in an entry that has them in it.
func (s *Store) room() int { return s.opts.Request - 4096 }

// transaction is a group as it was judged at one point.
type transaction struct {
	entry    *entry
	batches  []*state.Prepared
	answers  []answer // one for each request
	headMod  int64
	writes   bool
	requests []*request
}

// judge evaluates the guards of a group at the point that the sink has, each batch after those
// before it.
func (s *Store) judge(group []*request) *transaction {
	s.applying.Lock()
	defer s.applying.Unlock()
	t := &transaction{entry: &entry{before: s.now}, headMod: s.headMod, requests: group, answers: make([]answer, len(group))}
	fresh := make(map[state.Key]authz.Revision)
	rev, stamp := s.now.mark.Revision, s.now.stamp
	for i, r := range group {
		p := r.batch
		if r.ctx.Err() != nil {
			t.answers[i].err = state.ErrCanceled(r.ctx)
			continue
		}
		if t.answers[i].err = s.guards(p.Guards, fresh); t.answers[i].err != nil {
			continue
		}
		if len(p.Keys) > 0 {
			rev++
			for j, key := range p.Keys {
				fresh[key] = rev
				if j >= len(p.Puts) {
					fresh[key] = 0
				}
			}
		}
		t.answers[i].rev = rev
		if len(p.Keys) > 0 || len(p.Events) > 0 || p.Stamp > stamp {
			t.batches = append(t.batches, p)
		}
		stamp = max(stamp, p.Stamp)
	}
	t.writes = len(t.batches) > 0
	return t
}

func (s *Store) guards(guards []state.Guard, fresh map[state.Key]authz.Revision) error {
	for _, g := range guards {
		found, ok := fresh[g.Key]
		if !ok {
			found = s.mods[g.Key]
		}
		if found != g.Revision {
			return state.ErrGuardFailed(g, found)
		}
	}
	return nil
}

func (t *transaction) answer() {
	for i, r := range t.requests {
		r.done <- t.answers[i]
	}
}

func refuse(group []*request, err error) {
	for _, r := range group {
		r.done <- answer{err: err}
	}
}

func (s *Store) closing() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// errGivenUp ends the wait for an outcome when the store is closed.
var errGivenUp = errors.New("the store was closed before etcd said what became of the last transaction")
