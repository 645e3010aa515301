package memstore

import (
	"cmp"
	"sync"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Options are the settings of a [Cluster]. The zero value is good.
type Options struct {
	// Keep is how many changes History has at least; zero is [DefaultHistory].
	Keep int
	// Timeout is how long a call waits on a handle that is cut off; zero is 100 ms.
	Timeout time.Duration
}

// Cluster is one history that several stores have open at a time, as PDPs have one in etcd,
// and the registry of those PDPs. Each [Handle] is the store of one. It waits on channels and
// timers only, so that it works in the bubbles of testing/synctest.
type Cluster struct {
	opts Options

	mu       sync.Mutex // everything below and in the handles; never held while a sink is called
	data     *data
	step     uint64 // counts what was committed, batches without a revision too
	handles  map[*Handle]bool
	live     map[state.Incarnation]state.Registration
	departed map[state.Incarnation]state.Departed
}

// NewCluster makes an empty history with a new epoch.
func NewCluster(opts Options) *Cluster {
	opts.Keep = cmp.Or(opts.Keep, DefaultHistory)
	opts.Timeout = cmp.Or(opts.Timeout, 100*time.Millisecond)
	return &Cluster{
		opts: opts, data: newData(), handles: make(map[*Handle]bool),
		live: make(map[state.Incarnation]state.Registration), departed: make(map[state.Incarnation]state.Departed),
	}
}

// Open gives one more store on the history.
func (c *Cluster) Open() *Handle {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := &Handle{
		cluster: c, mark: c.data.mark, stamp: c.data.stamp,
		turn: make(chan struct{}, 1), wake: make(chan struct{}, 1), gone: make(chan struct{}), failed: make(chan struct{}),
	}
	c.handles[h] = true
	return h
}

// commit stores a batch and queues it for every sink, the committer's too. It gives the step
// that it is, and the head's revision. The caller holds mu.
func (c *Cluster) commit(p *state.Prepared) (step uint64, rev authz.Revision) {
	before := c.data.stamp
	change := c.data.commit(p, c.opts.Keep)
	if change != nil || c.data.stamp != before {
		c.step++
		for h := range c.handles {
			if h.sink != nil {
				h.queue = append(h.queue, delivery{c.step, change, c.data.mark, c.data.stamp})
				h.poke()
			}
		}
	}
	return c.step, c.data.mark.Revision
}

// delivery is one step on its way to one sink.
type delivery struct {
	step   uint64
	change *state.Change // nil for one that only moved the stamp
	mark   state.Mark
	stamp  authz.Stamp
}

// errUnreachable says that a handle was cut off. Of a write whose answer was lost the message
// says too much, as that of a store whose network is gone would.
func errUnreachable(what string) error {
	return authz.Errorf(authz.KindUnavailable, "STORE_UNREACHABLE", "the store cannot be reached now: %s; retry", what)
}
