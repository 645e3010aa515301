package audit

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobward/jobward/pdp/authz"
)

// maxPending bounds the distinct decisions held between two writes.
const maxPending = 20_000

// Recorder collects decisions and hands them to its sink every few seconds. Denials
// that are equal in everything but time count as one event, so that a flood of bad
// tokens costs one event per caller and interval and no disk access of its own.
type Recorder struct {
	sink   func(context.Context, []Event) error
	sample uint64

	allows atomic.Uint64
	lost   atomic.Uint64

	mu      sync.Mutex
	pending map[Event]*pending // by the event without its own time, count and id
}

type pending struct {
	last     authz.Stamp
	revision authz.Revision
	count    uint64
	decision string
}

// NewRecorder makes a Recorder that writes through sink and keeps one of sample
// allows; zero keeps none.
func NewRecorder(sample int, sink func(context.Context, []Event) error) *Recorder {
	return &Recorder{sink: sink, sample: uint64(max(sample, 0)), pending: map[Event]*pending{}}
}

// Decision notes a decision. It never blocks on I/O; past the bound it only counts
// (see [Recorder.Lost]). What an anonymous visitor may do is not noted: nobody was
// authenticated, and a refusal only asks for a token, as of every git that comes without.
func (r *Recorder) Decision(now authz.Stamp, actor string, req *authz.Request, d *authz.Decision, id string) {
	if d.Job == "" && req.Token == authz.Nobody {
		return
	}
	if d.Allow && (r.sample == 0 || r.allows.Add(1)%r.sample != 0) {
		return
	}
	key := Event{
		Actor: actor, Verb: VerbCheck, Reason: d.Reason.String(),
		Job: d.Job, Source: d.Source, Target: d.Target, User: d.User,
	}
	if d.Job != "" {
		key.Permission = req.Permission
		if d.Target == 0 {
			key.Detail = req.Target.Path
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.of(key, 1, maxPending); p != nil {
		p.last, p.revision, p.decision = now, d.Revision, id
	}
}

// Access is an answer that a sidecar gave from its cache, as often as it says.
type Access struct {
	Source, Target authz.ProjectID
	Permission     authz.Permission
	Reason         authz.Reason
	// Last is when it was given last.
	Last  authz.Stamp
	Count uint64
}

// FromCache is the Detail of events that tell of answers from a cache.
const FromCache = "from a cache"

// Access notes answers that a sidecar gave from its cache, by the rules of
// [Recorder.Decision]: denials all, and allows when one among so many was the one to be
// kept, together with those told of with it. Whose job it was is not known. Half of the
// bound is out of their reach: what a sidecar makes up does not crowd out what the PDP
// itself has decided.
func (r *Recorder) Access(actor string, a Access) {
	if a.Reason.Allows() {
		if r.sample == 0 {
			return
		}
		if n := r.allows.Add(a.Count); n/r.sample == (n-a.Count)/r.sample {
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.of(Event{
		Actor: actor, Verb: VerbCheck, Reason: a.Reason.String(), Source: a.Source, Target: a.Target, Permission: a.Permission, Detail: FromCache,
	}, a.Count, maxPending/2)
	if p != nil {
		p.last = max(p.last, a.Last)
	}
}

// of gives where equal decisions are counted, and counts them there; nil where they are
// lost because there are so many different ones. r.mu is held.
func (r *Recorder) of(key Event, count uint64, bound int) *pending {
	p := r.pending[key]
	if p == nil {
		if len(r.pending) >= bound {
			r.lost.Add(count)
			return nil
		}
		p = &pending{}
		r.pending[key] = p
	}
	p.count += count
	return p
}

// Lost tells how many decisions were not kept because too many distinct ones came
// between two writes.
func (r *Recorder) Lost() uint64 { return r.lost.Load() }

// Flush writes what has been collected. What the sink refuses is counted as lost.
func (r *Recorder) Flush(ctx context.Context) error {
	r.mu.Lock()
	todo := r.pending
	r.pending = map[Event]*pending{}
	r.mu.Unlock()
	if len(todo) == 0 {
		return nil
	}
	events := make([]Event, 0, len(todo))
	var total uint64
	for e, p := range todo {
		e.Time, e.Revision, e.Count, e.Decision = p.last, p.revision, p.count, p.decision
		events = append(events, e)
		total += p.count
	}
	if err := r.sink(ctx, events); err != nil {
		r.lost.Add(total)
		return err
	}
	return nil
}

// Run flushes at the given interval until ctx ends, and once more then. Errors go to
// report.
func (r *Recorder) Run(ctx context.Context, every time.Duration, report func(error)) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), every)
			defer cancel()
			if err := r.Flush(last); err != nil {
				report(err)
			}
			return
		case <-t.C:
			if err := r.Flush(ctx); err != nil {
				report(err)
			}
		}
	}
}
