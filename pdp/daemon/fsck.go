package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/pdp/state/badgerstore"
)

// errDamaged ends fsck when the report has problems.
var errDamaged = errors.New("the store has problems; nothing was changed. Restore a backup into another directory, and keep this one to find out what happened")

// fsck looks at every byte of a store, changes nothing, and prints what there is and what is wrong.
func fsck(ctx context.Context, dir string, w io.Writer) error {
	report, err := badgerstore.Check(ctx, dir)
	if report == nil {
		return settings.Refuse(fmt.Errorf("data-dir: %w", err)) // there is no store, or a PDP has it open
	}
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "store %s\n%v", dir, report); err != nil {
		return err
	}
	if len(report.Problems) > 0 {
		return errDamaged
	}
	return nil
}
