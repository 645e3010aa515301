package serving

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// ReloadEvery is how often files that may change are looked at.
const ReloadEvery = time.Second

// Stops undoes what was started, last first. The zero value has nothing to undo. It belongs to one goroutine.
type Stops struct{ list []func() error }

// Add puts f before everything that is there.
func (s *Stops) Add(f func() error) { s.list = append(s.list, f) }

// Background runs f until Stop, which waits for it.
func (s *Stops) Background(f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { f(ctx) })
	s.Add(func() error { cancel(); done.Wait(); return nil })
}

// Stop undoes everything, and goes on when something of it fails. A second time it does nothing.
func (s *Stops) Stop() error {
	var errs []error
	for i := len(s.list) - 1; i >= 0; i-- {
		errs = append(errs, s.list[i]())
	}
	s.list = nil
	return errors.Join(errs...)
}

// Reloaded makes a function that logs how files which have changed were taken: nil for a change that is in force. It is what the Run methods
// of package identity report to.
func Reloaded(log *slog.Logger, what string) func(error) {
	return func(err error) {
		if err != nil {
			log.Error("what has changed cannot be used; the last good one stays in force", "what", what, "error", err)
			return
		}
		log.Info("taken over what has changed", "what", what)
	}
}
