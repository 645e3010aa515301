package badgerstore

import "fmt"

// Step is one durable step of the store, in the order in which a life of it takes them.
type Step string

// The steps. Tests break each of them, before and after (see [Fault]).
const (
	// StepCreateMark makes the mark file of a new store.
	StepCreateMark Step = "create mark"
	// StepOpen lets Badger open its folder: it replays, truncates and deletes files.
	StepOpen Step = "open"
	// StepCreateHead commits the first head record.
	StepCreateHead Step = "create head"
	// StepStore commits the transaction of some batches, synced.
	StepStore Step = "store"
	// StepSyncNames makes the name of a new write-ahead file durable. It is only reached when
	// Badger begins one.
	StepSyncNames Step = "sync names"
	// StepMark writes the mark that follows a transaction.
	StepMark Step = "mark"
	// StepSyncMark syncs the mark file behind the transactions.
	StepSyncMark Step = "sync mark"
	// StepClose lets Badger write its table in memory to a file.
	StepClose Step = "close"
)

// Steps gives all steps, for tests that break each.
func Steps() []Step {
	return []Step{
		StepCreateMark, StepOpen, StepCreateHead, StepStore, StepSyncNames, StepMark, StepSyncMark, StepClose,
	}
}

// Fault is a hook for tests, called at every [Step] before (done is false) and after it.
// An error makes the step fail as a disk does: given before, nothing was written; given
// after, it was, and is reported as failed all the same. A hook that copies the folder has
// what a kill of the process would leave.
type Fault func(step Step, done bool) error

// do runs a step between the two calls of the hook.
func (f Fault) do(step Step, fn func() error) error {
	if f == nil {
		return fn()
	}
	if err := f(step, false); err != nil {
		return fmt.Errorf("%s: %w", step, err)
	}
	if err := fn(); err != nil {
		return err
	}
	if err := f(step, true); err != nil {
		return fmt.Errorf("%s: %w", step, err)
	}
	return nil
}
