package engine

import (
	"fmt"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// life is a project with a user and a way to issue tokens for it.
type life struct {
	t    *testing.T
	e    *Engine
	jobs int
	dead []authz.Digest
}

// newLife starts with project 1 of user 1, and one token issued.
func newLife(t *testing.T) *life {
	l := &life{t: t, e: newEngine(t)}
	mustApply(t, l.e, l.project(), l.user(authz.UserStateActive), l.role(), user(9))
	l.issue()
	return l
}

func (l *life) project() Change { return personal(1, "u", "app") }
func (l *life) role() Change    { return role(1, authz.InProject(1), authz.RoleMaintainer) }

func (l *life) user(s authz.UserState) Change {
	return Change{User: &state.User{ID: 1, Name: "u", State: s}}
}

// issue issues a token, which has to live now and to be dead at every step after that.
func (l *life) issue() {
	l.t.Helper()
	l.jobs++
	d := mustIssue(l.t, l.e, issue1(authz.JobID(fmt.Sprint("job-", l.jobs))))
	if got, _ := l.e.Check(l.t.Context(), read(d)); !got.Allow {
		l.t.Errorf("a fresh token is refused: %s", got.Reason)
	}
	l.dead = append(l.dead, d)
}

// allDead asserts that none of the tokens opens anything.
func (l *life) allDead(when string) {
	l.t.Helper()
	for i, d := range l.dead {
		got, _ := l.e.Check(l.t.Context(), read(d))
		if got.Allow || got.Reason > authz.UserPendingApproval { // a reason of the token, its project or its user
			l.t.Errorf("%s: token %d is answered %s", when, i, got.Reason)
		}
	}
}

// step does something to a world in which every token is to be dead afterwards.
func (l *life) step(what string, f func() error) {
	l.t.Helper()
	if err := f(); err != nil {
		l.t.Fatalf("%s: %v", what, err)
	}
	l.allDead(what)
}

func (l *life) apply(what string, changes ...Change) {
	l.t.Helper()
	l.step(what, func() error { mustApply(l.t, l.e, changes...); return nil })
}

func (l *life) begin() error {
	_, err := l.e.BeginProjectDeletion(l.t.Context(), forge(), DeletionRequest{Project: 1})
	return err
}

func (l *life) finish() error {
	_, err := l.e.FinishProjectDeletion(l.t.Context(), forge(), DeletionRequest{Project: 1})
	return err
}

func (l *life) block(s authz.UserState) error {
	_, err := l.e.BlockUser(l.t.Context(), forge(), UserStateRequest{User: 1, State: s})
	return err
}

func (l *life) unblock() error {
	_, err := l.e.UnblockUser(l.t.Context(), forge(), UserStateRequest{User: 1})
	return err
}

// sync makes the directory that of the start, from a list as old as can be.
func (l *life) sync() error {
	_, err := runSync(l.t.Context(), l.e, SyncOptions{}, nil, []Change{l.project(), l.user(authz.UserStateActive), l.role()})
	return err
}

// TestDeathIsFinal (R7): no deletion begun, finished or undone, no re-creation, no block
// or unblock and no stale synchronisation brings a token back.
func TestDeathIsFinal(t *testing.T) {
	t.Run("project deleted and back", func(t *testing.T) {
		l := newLife(t)
		l.step("begin", l.begin)
		l.step("begin again", l.begin)
		l.step("stale sync during the deletion", l.sync)
		if p, _, _ := l.e.view.Project(1); p.State != authz.StatePendingDelete {
			t.Errorf("a sync took the project out of its deletion: %s", p.State)
		}
		l.step("finish", l.finish)
		l.step("finish again", l.finish)
		l.step("stale sync brings it back", l.sync)
		l.issue() // it is another project
		l.apply("removed at once", Change{DeleteProject: 1})
		l.apply("created again", l.project(), l.role())
		l.issue()
		l.step("all of it again", l.begin)
		l.step("all of it again", l.finish)
		l.step("all of it again", l.sync)
		l.issue()
	})
	t.Run("deletion called off", func(t *testing.T) {
		l := newLife(t)
		p := l.project()
		p.Project.State = authz.StateDeletionInProgress
		l.apply("deletion in progress", p)
		l.apply("called off", l.project())
		l.issue()
		l.step("begin", l.begin)
		l.apply("called off again", l.project())
		l.issue()
	})
	t.Run("user blocked and back", func(t *testing.T) {
		for _, s := range []authz.UserState{authz.UserStateBlocked, authz.UserStateDeactivated, authz.UserStateBanned, authz.UserStateBlockedPendingApproval} {
			l := newLife(t)
			l.step("block", func() error { return l.block(s) })
			l.step("block again", func() error { return l.block(s) })
			l.step("unblock", l.unblock)
			l.issue()
			l.apply("blocked by a batch", l.user(s))
			l.step("stale sync", l.sync)
			l.issue()
			l.apply("blocked", l.user(s))
			l.apply("otherwise", l.user(authz.UserStateBlocked))
			l.apply("back by a batch", l.user(authz.UserStateActive))
			l.issue()
		}
	})
	t.Run("user removed and back", func(t *testing.T) {
		l := newLife(t)
		l.apply("removed", Change{DeleteUser: 1})
		l.apply("created again", l.user(authz.UserStateActive), l.role())
		l.issue()
		l.apply("removed", Change{DeleteUser: 1})
		l.step("stale sync", l.sync)
		l.issue()
	})
	t.Run("issued in between", func(t *testing.T) {
		// Issue refuses a blocked user and a project in deletion. Should a token come into
		// being all the same, by a fault or by a store filled otherwise, coming back kills it.
		l := newLife(t)
		l.step("block", func() error { return l.block(authz.UserStateBlocked) })
		l.plant()
		l.step("unblock", l.unblock)
		l.step("begin", l.begin)
		l.plant()
		l.apply("called off", l.project())
		l.apply("removed", Change{DeleteProject: 1})
		l.plant()
		l.apply("created again", l.project(), l.role())
		l.apply("user removed", Change{DeleteUser: 1})
		l.plant()
		l.apply("user created again", l.user(authz.UserStateActive), l.role())
		l.issue()
	})
}

// plant puts a live token into the store behind the engine's back.
func (l *life) plant() {
	l.t.Helper()
	l.jobs++
	j := &state.Job{
		ID: authz.JobID(fmt.Sprint("planted-", l.jobs)), Digest: authz.Digest{1, byte(l.jobs)}, Project: 1, User: 1,
		Issued: state.ThisRevision, Expires: authz.StampOf(noon()) * 2,
	}
	if _, err := l.e.store.Commit(l.t.Context(), state.Batch{Puts: []state.Record{j}}); err != nil {
		l.t.Fatal(err)
	}
	l.dead = append(l.dead, j.Digest)
}

// TestDeathCostsOneCommit: the records that a block or a deletion writes do not grow
// with the tokens it kills.
func TestDeathCostsOneCommit(t *testing.T) {
	l := newLife(t)
	for range 50 {
		l.issue()
	}
	var commits, records int
	before, _ := l.e.store.Head()
	count := func() {
		commits, records = 0, 0
		if err := l.e.store.History(t.Context(), before.Revision, func(c state.Change) error {
			commits, records = commits+1, records+len(c.Keys)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		before, _ = l.e.store.Head()
	}
	l.step("block", func() error { return l.block(authz.UserStateBanned) })
	if count(); commits != 1 || records != 2 {
		t.Errorf("a block took %d commits of %d records", commits, records)
	}
	if err := l.unblock(); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		l.issue()
	}
	count()
	l.step("begin", l.begin)
	if count(); commits != 1 || records != 2 {
		t.Errorf("a deletion took %d commits of %d records", commits, records)
	}
}

// TestRepeatsNameTheFirst (R6): repeating a block or a deletion names the revision that
// killed, and commits nothing.
func TestRepeatsNameTheFirst(t *testing.T) {
	l := newLife(t)
	ctx := t.Context()
	block, err := l.e.BlockUser(ctx, forge(), UserStateRequest{User: 1, State: authz.UserStateBlocked})
	if err != nil {
		t.Fatal(err)
	}
	begin, err := l.e.BeginProjectDeletion(ctx, forge(), DeletionRequest{Project: 1})
	if err != nil {
		t.Fatal(err)
	}
	mustApply(t, l.e, user(50))
	head := l.e.view.Mark().Revision
	again, err := l.e.BlockUser(ctx, forge(), UserStateRequest{User: 1, State: authz.UserStateBlocked})
	if err != nil || again.Revision != block.Revision {
		t.Errorf("block again: %+v, %v; the first was %+v", again, err, block)
	}
	again, err = l.e.BeginProjectDeletion(ctx, forge(), DeletionRequest{Project: 1})
	if err != nil || again.Revision != begin.Revision || l.e.view.Mark().Revision != head {
		t.Errorf("begin again: %+v, %v; the first was %+v", again, err, begin)
	}
	finish, err := l.e.FinishProjectDeletion(ctx, forge(), DeletionRequest{Project: 1})
	if err != nil || finish.Revision <= head {
		t.Fatalf("finish: %+v, %v", finish, err)
	}
	again, err = l.e.FinishProjectDeletion(ctx, forge(), DeletionRequest{Project: 1})
	if err != nil || again.Revision != finish.Revision {
		t.Errorf("finish again: %+v, %v; the first was %+v", again, err, finish)
	}
	if again, err = l.e.BeginProjectDeletion(ctx, forge(), DeletionRequest{Project: 1}); err != nil || again.Revision != finish.Revision {
		t.Errorf("begin after finish: %+v, %v", again, err)
	}
}

func TestDeletionAndBlockRefusals(t *testing.T) {
	l := newLife(t)
	ctx := t.Context()
	_, err := l.e.BeginProjectDeletion(ctx, forge(), DeletionRequest{Project: 77})
	wantError(t, err, authz.KindNotFound, CodeProjectNotFound)
	_, err = l.e.FinishProjectDeletion(ctx, forge(), DeletionRequest{Project: 77})
	wantError(t, err, authz.KindNotFound, CodeProjectNotFound)
	_, err = l.e.FinishProjectDeletion(ctx, forge(), DeletionRequest{Project: 1})
	wantError(t, err, authz.KindPrecondition, CodeDeletionNotBegun)
	_, err = l.e.BeginProjectDeletion(ctx, forge(), DeletionRequest{})
	wantField(t, err, "project_id")
	_, err = l.e.BlockUser(ctx, forge(), UserStateRequest{User: 77, State: authz.UserStateBlocked})
	wantError(t, err, authz.KindNotFound, CodeUserNotFound)
	_, err = l.e.BlockUser(ctx, forge(), UserStateRequest{User: 1})
	wantField(t, err, "state")
	_, err = l.e.UnblockUser(ctx, forge(), UserStateRequest{})
	wantField(t, err, "user_id")
	rev := l.e.view.Mark().Revision
	for _, f := range []func() (Done, error){
		func() (Done, error) {
			return l.e.BeginProjectDeletion(ctx, forge(), DeletionRequest{Project: 1, ValidateOnly: true})
		},
		func() (Done, error) {
			return l.e.BlockUser(ctx, forge(), UserStateRequest{User: 1, State: authz.UserStateBanned, ValidateOnly: true})
		},
		func() (Done, error) { return l.e.UnblockUser(ctx, forge(), UserStateRequest{User: 1}) },
	} {
		if done, err := f(); err != nil || done.Revision != rev || l.e.view.Mark().Revision != rev {
			t.Errorf("%+v, %v", done, err)
		}
	}
}
