package engine

import (
	"context"
	"errors"

	"github.com/jobward/jobward/pdp/audit"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// EventQuery chooses events of the audit log.
type EventQuery struct {
	audit.Filter
	// From and To bound the time, From <= t < To; zero bounds nothing.
	From, To authz.Stamp
	Page     Page
}

// scanEvents is how many stored events one page looks at.
const scanEvents = 10_000

// ListEvents reads the audit log, newest first. It looks at a bounded number of
// stored events for each page, so with a filter a page can be short, even empty, with a
// Next. A change bears its own revision, a decision that which it was judged at.
func (e *Engine) ListEvents(ctx context.Context, q EventQuery) (Listing[audit.Event], error) {
	if q.To != 0 && q.To <= q.From {
		return Listing[audit.Event]{}, authz.Invalid("end_time", "must be after start_time")
	}
	out := Listing[audit.Event]{Revision: e.view.Mark().Revision}
	limit, scanned, last := q.Page.limit(), 0, ""
	err := e.store.Events(ctx, q.From, q.To, q.Page.After, func(stored state.Event, cursor string) error {
		if scanned == scanEvents || len(out.Items) == limit {
			out.Next = last
			return errPageFull
		}
		scanned, last = scanned+1, cursor
		ev, err := audit.Decode(stored.Data)
		if err != nil {
			return err
		}
		if ev.Verb != audit.VerbCheck {
			ev.Revision = stored.Revision
		}
		if q.Match(ev) {
			out.Items = append(out.Items, ev)
		}
		return nil
	})
	if err != nil && !errors.Is(err, errPageFull) {
		return Listing[audit.Event]{}, err
	}
	return out, nil
}

// errPageFull ends a scan.
var errPageFull = errors.New("engine: the page is full")

// pruneEvents is how many audit events are removed at once.
const pruneEvents = 5000

// pruneAudit removes what is older than the audit retention.
func (e *Engine) pruneAudit(ctx context.Context) error {
	before := e.clock.Now().Add(-e.opt.AuditRetention)
	for {
		n, err := e.store.PruneEvents(ctx, before, pruneEvents)
		if err != nil || n < pruneEvents {
			return err
		}
	}
}
