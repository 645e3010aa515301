package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/etcdstore"
)

// maxProblems bounds how many problems a census lists.
const maxProblems = 100

// census counts what a store gives its sink. It implements [state.Sink].
type census struct {
	mu      sync.Mutex
	mark    state.Mark
	stamp   authz.Stamp
	counts  [state.NumKinds]int
	changed map[state.Key]authz.Revision // of each record that is there

	problems []error // take's
}

// Reset implements [state.Sink].
func (c *census) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.changed)
	c.counts = [state.NumKinds]int{}
}

// Load implements [state.Sink].
func (c *census) Load(rec state.Record, mod authz.Revision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(rec.Key(), mod)
}

// Loaded implements [state.Sink].
func (c *census) Loaded(mark state.Mark, stamp authz.Stamp) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mark, c.stamp = mark, stamp
}

// Apply implements [state.Sink].
func (c *census) Apply(changes []state.Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range changes {
		for _, rec := range ch.Puts {
			c.put(rec.Key(), ch.Revision)
		}
		for _, key := range ch.Deletes {
			if _, ok := c.changed[key]; ok {
				delete(c.changed, key)
				c.counts[key.Kind()]--
			}
		}
		c.mark.Revision, c.mark.Chain, c.stamp = ch.Revision, ch.Chain, max(c.stamp, ch.Stamp)
	}
}

func (c *census) put(key state.Key, mod authz.Revision) {
	if _, ok := c.changed[key]; !ok {
		c.counts[key.Kind()]++
	}
	c.changed[key] = mod
}

// take reads everything and says what there is.
func (c *census) take(ctx context.Context, store *etcdstore.Store) (said string, err error) {
	if err := store.Attach(ctx, c); err != nil {
		return "", err
	}
	c.mu.Lock()
	mark, stamp, counts := c.mark, c.stamp, c.counts
	c.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "at %v, %s\n", mark, stamp.Time().Format("2006-01-02 15:04:05 MST"))
	for kind := state.Kind(1); int(kind) < state.NumKinds; kind++ {
		if counts[kind] > 0 {
			fmt.Fprintf(&b, "%10d %v\n", counts[kind], kind)
		}
	}
	events := 0
	err = store.Events(ctx, 0, 0, "", func(state.Event, string) error { events++; return nil })
	if err != nil {
		return b.String(), err
	}
	for {
		first := store.First()
		err = c.compare(ctx, store, first)
		if gone := new(authz.Error); errors.As(err, &gone) && gone.Code == "HISTORY_GONE" && store.First() > first {
			continue // a PDP has cut the log meanwhile
		}
		fmt.Fprintf(&b, "%10d events\nhistory from revision %d\n", events, first)
		return b.String(), err
	}
}

// compare finds records that are not as history left them.
func (c *census) compare(ctx context.Context, store *etcdstore.Store, first authz.Revision) error {
	type touch struct {
		at   authz.Revision
		gone bool
	}
	touched := map[state.Key]touch{}
	at := first - 1
	err := store.History(ctx, at, func(ch state.Change) error {
		if at++; ch.Revision != at {
			c.problem("history has revision %d after %d", ch.Revision, at-1)
			at = ch.Revision
		}
		for _, key := range ch.Keys {
			touched[key] = touch{at: at}
		}
		for _, key := range ch.Deletes {
			touched[key] = touch{at: at, gone: true}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, mod := range c.changed {
		t, ok := touched[key]
		switch {
		case mod > at: // after history was read
		case ok && (t.gone || mod != t.at):
			c.problem("%v is that of revision %d, and history changed it last at %d", key, mod, t.at)
		case !ok && mod >= first:
			c.problem("%v was changed at revision %d, of which history knows nothing", key, mod)
		}
		delete(touched, key)
	}
	for key, t := range touched {
		if !t.gone && c.mark.Revision == at {
			c.problem("%v was stored at revision %d and is missing", key, t.at)
		}
	}
	return nil
}

func (c *census) problem(format string, args ...any) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, fmt.Errorf(format, args...))
	}
}
