package engine

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// P1, attacked: checks run all the time while jobs are revoked. One that starts after
// its job's Revoke has returned is never allowed.
func TestNoCheckAfterRevokeIsAllowed(t *testing.T) {
	ctx := context.Background()
	e, _, _ := newTokenEngine(t)
	const jobs = 100
	var digests [jobs]authz.Digest
	var revoked [jobs]atomic.Bool
	for i := range digests {
		digests[i] = mustIssue(t, e, issue1(authz.JobID(fmt.Sprint(i))))
	}
	var stop atomic.Bool
	var allowed, denied atomic.Int64
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := w; !stop.Load(); i++ {
				job := i % jobs
				dead := revoked[job].Load() // before the check starts
				d, err := e.Check(ctx, read(digests[job]))
				switch {
				case err != nil:
					t.Error(err)
				case d.Allow && dead:
					t.Errorf("job %d is allowed at revision %d after its Revoke returned", job, d.Revision)
				case d.Allow:
					allowed.Add(1)
				case dead:
					denied.Add(1)
				}
			}
		})
	}
	for i := range digests {
		if _, err := e.Revoke(ctx, runner(), byJob(authz.JobID(fmt.Sprint(i)))); err != nil {
			t.Error(err)
		}
		revoked[i].Store(true)
	}
	for i := range digests { // all are asked once more before the checkers stop
		wantReason(t, e, read(digests[i]), authz.JobNotRunning)
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("%d allowed before, %d denied after", allowed.Load(), denied.Load())
}

// P10: blocking a user or deleting a project is one commit of two records, however many
// tokens it kills.
func TestKillingManyTokensIsOneSmallCommit(t *testing.T) {
	ctx := context.Background()
	by := Actor{Name: "forge", Admin: true}
	kills := map[string]func(*Engine) error{
		"block": func(e *Engine) error {
			_, err := e.BlockUser(ctx, by, UserStateRequest{User: 1, State: authz.UserStateBlocked})
			return err
		},
		"delete": func(e *Engine) error {
			_, err := e.BeginProjectDeletion(ctx, by, DeletionRequest{Project: 1})
			return err
		},
	}
	for name, kill := range kills {
		e, _, st := newTokenEngine(t)
		var digests []authz.Digest
		for i := range 300 {
			digests = append(digests, mustIssue(t, e, issue1(authz.JobID(fmt.Sprint(i)))))
		}
		before := e.View().Mark().Revision
		if err := kill(e); err != nil {
			t.Fatal(err)
		}
		commits, records := 0, 0
		err := st.History(ctx, before, func(c state.Change) error {
			commits, records = commits+1, records+len(c.Keys)
			return nil
		})
		if err != nil || commits != 1 || records != 2 {
			t.Errorf("%s: %d commits of %d records, %v; want one of two", name, commits, records, err)
		}
		for _, d := range digests {
			if dec, _ := e.Check(ctx, read(d)); dec.Allow {
				t.Fatalf("%s: a token lives on", name)
			}
		}
	}
}
