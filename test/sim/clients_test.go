package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
)

// client is somebody who calls the PDP's verbs, over a network of their own.
type client struct {
	s    *sim
	name string
	lane *lane
	rnd  *rand.Rand
	way  gate
	port *port
}

func (s *sim) client(name string) *client {
	c := &client{s: s, name: name, lane: s.lane(), rnd: s.chance(name)}
	c.port = s.port(name, nil, &c.way)
	return c
}

// loop acts until ctx ends.
func (c *client) loop(ctx context.Context, pause time.Duration, act func(ctx context.Context)) {
	for c.s.sleep(ctx, c.lane, between(c.rnd, pause/4, pause)) {
		act(ctx)
	}
}

// patience is how long a call may take.
func (c *client) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	d := oneOf(c.rnd, 200*time.Millisecond, time.Second, 10*time.Second) + c.lane.phase // no two end at once
	return context.WithTimeout(ctx, d)
}

// await is the end of a handler of package server: it waits for the receipt and tells the
// oracle of an effective one at once, as P1 counts from then.
func (s *sim) await(ctx context.Context, at *pdp, a engine.Awaits, also func(now time.Duration)) engine.Receipt {
	r := at.e.Await(ctx, engine.WaitEffective, a)
	if at.dead() || s.oracle.isForked() {
		return r
	}
	s.note("pdp", "", "receipt", "%d for %v all %v: effective %v, acked %d, lapsed %d, pending %d", a.Revision, a.Each, a.All, r.Effective, r.Acked, r.Lapsed, r.Pending)
	if !r.Effective {
		s.late(at, a, r)
		return r
	}
	var all authz.Revision
	if a.All {
		all = a.Revision
	}
	s.oracle.receipt(a.Each, all, also)
	s.heat()
	return r
}

// owing is a revocation whose receipt was not effective when the call ended.
type owing struct {
	jobs   []authz.JobID
	awaits engine.Awaits
	also   func(now time.Duration)
}

// runner issues jobs and ends them.
type runner struct {
	*client
	heart *client // says that it lives
	n     int
	alive []*tokenInfo
	owed  []owing
	retry []authz.JobID // nobody knows whether they are ended
	beats []authz.Stamp
	told  map[authz.JobID]bool
}

func (r *runner) act(ctx context.Context) {
	ctx, cancel := r.patience(ctx)
	defer cancel()
	f := r.rnd.Float64()
	switch {
	case len(r.retry) > 0 && f < 0.5:
		ids := r.retry
		r.retry = nil
		r.revoke(ctx, ids)
	case len(r.owed) > 0 && f < 0.3:
		o := r.owed[0]
		r.owed = r.owed[1:]
		r.again(ctx, o)
	case len(r.alive) < 2 || f < 0.35:
		r.issue(ctx, authz.JobID(fmt.Sprintf("%s-job%d", r.name, r.n+1)), r.rnd.IntN(12) == 0)
	case f < 0.75:
		i := r.rnd.IntN(len(r.alive))
		r.revoke(ctx, []authz.JobID{r.alive[i].job})
	case f < 0.85: // a new token for a job
		r.issue(ctx, r.alive[r.rnd.IntN(len(r.alive))].job, false)
	case f < 0.9:
		r.reconcile(ctx)
	case f < 0.95: // a revocation that overtakes its Issue
		id := authz.JobID(fmt.Sprintf("%s-job%d", r.name, r.n+1))
		r.revoke(ctx, []authz.JobID{id})
		r.issue(ctx, id, false)
	default: // to a sudden end
		r.revoke(ctx, []authz.JobID{r.alive[0].job, r.alive[len(r.alive)-1].job})
	}
}

// issue issues a job and lets services know its token. With short its life is.
func (r *runner) issue(ctx context.Context, id authz.JobID, short bool) {
	s := r.s
	req := engine.IssueRequest{
		Job: id, Project: authz.ProjectID(1 + r.rnd.IntN(4)), User: authz.UserID(1 + r.rnd.IntN(numUsers)), Timeout: time.Hour,
	}
	for _, t := range r.alive {
		if t.job == id {
			req.Project, req.User = t.source, t.user
		}
	}
	if short {
		req.Timeout = between(r.rnd, time.Second, 5*time.Second)
	}
	if r.rnd.IntN(4) == 0 {
		req.Runner, req.Term = r.name, between(r.rnd, 1500*time.Millisecond, 4*time.Second)
	}
	r.n++
	var old []authz.Digest
	for _, t := range r.alive {
		if t.job == id {
			old = append(old, t.digest)
		}
	}
	forked := false
	out, err := call(ctx, r.port, func(ctx context.Context, at *pdp) (engine.Issued, error) {
		forked = s.oracle.isForked()
		out, err := at.e.Issue(ctx, engine.Actor{Name: r.name}, req)
		if err != nil {
			return out, err
		}
		s.note("pdp", string(id), "issued", "%s at %d, replaced %v", id, out.Revision, out.Replaced)
		s.await(ctx, at, out.Awaits(), func(now time.Duration) {
			for _, d := range old {
				earliest(s.oracle.deadTokens, d, now)
			}
		})
		return out, nil
	})
	if err != nil {
		s.note(r.name, string(id), "cannot issue", "%s: %v", id, err)
		if len(old) > 0 {
			r.retry = append(r.retry, id) // one of two tokens, who knows
		}
		return
	}
	t := &tokenInfo{digest: out.Token.Digest(), job: id, source: req.Project, user: req.User, issued: out.Revision}
	r.alive = slices.DeleteFunc(r.alive, func(o *tokenInfo) bool { return o.job == id })
	r.alive = append(r.alive, t)
	if !forked { // else it is nobody's token when the true history is back
		s.oracle.issued(t)
		s.focus(t)
	}
}

// revoke ends jobs, as a runner does or by their tokens.
func (r *runner) revoke(ctx context.Context, ids []authz.JobID) {
	s := r.s
	req := engine.RevokeRequest{Jobs: ids, Outcome: oneOf(r.rnd, engine.Succeeded, engine.Canceled, engine.Erased)}
	for _, t := range r.alive {
		if slices.Contains(ids, t.job) {
			s.focus(t)
		}
	}
	o := owing{jobs: ids, also: func(now time.Duration) {
		for _, id := range ids {
			earliest(s.oracle.deadJobs, id, now)
		}
	}}
	rc, err := call(ctx, r.port, func(ctx context.Context, at *pdp) (engine.Receipt, error) {
		out, err := at.e.Revoke(ctx, engine.Actor{Name: r.name}, req)
		if err != nil {
			return engine.Receipt{}, err
		}
		s.note("pdp", string(ids[0]), "revoked", "%v: %v", ids, out.Items)
		o.awaits = out.Awaits()
		if s.bug.kind == bugForgetsRetry {
			o.awaits.Each = nil
			for _, it := range out.Items {
				if it.Ending == engine.EndedNow {
					o.awaits.Each = []authz.Revision{out.Revision}
				}
			}
		}
		return s.await(ctx, at, o.awaits, o.also), nil
	})
	switch {
	case err != nil:
		r.retry = append(r.retry, ids...)
		return
	case !rc.Effective:
		r.owed = append(r.owed, o)
	}
	r.alive = slices.DeleteFunc(r.alive, func(t *tokenInfo) bool { return slices.Contains(ids, t.job) })
}

// again asks again for a receipt: by repeating the call, or by its revision.
func (r *runner) again(ctx context.Context, o owing) {
	if r.rnd.IntN(2) == 0 {
		r.revoke(ctx, o.jobs)
		return
	}
	rc, err := call(ctx, r.port, func(ctx context.Context, at *pdp) (engine.Receipt, error) {
		return r.s.await(ctx, at, engine.Awaits{Revision: o.awaits.Revision, All: true}, o.also), nil
	})
	if err != nil || !rc.Effective {
		r.owed = append(r.owed, o)
	}
}

// reconcile ends all of the runner's jobs but the newest few, by a list.
func (r *runner) reconcile(ctx context.Context) {
	s := r.s
	keep := r.alive[max(len(r.alive)-2, 0):]
	var running []authz.JobID
	asOf := authz.Revision(0)
	for _, t := range r.alive {
		asOf = max(asOf, t.issued)
	}
	for _, t := range keep {
		running = append(running, t.job)
	}
	if asOf == 0 {
		return
	}
	_, err := call(ctx, r.port, func(ctx context.Context, at *pdp) (engine.Receipt, error) {
		out, err := at.e.Reconcile(ctx, engine.Actor{Name: r.name}, engine.ReconcileRequest{AsOf: asOf, Runner: r.name, Running: running, Outcome: engine.Failed})
		if err != nil {
			return engine.Receipt{}, err
		}
		s.note("pdp", "", "reconciled", "%v as of %d", out.Finished, asOf)
		return s.await(ctx, at, out.Awaits(), func(now time.Duration) {
			for _, id := range out.Finished {
				earliest(s.oracle.deadJobs, id, now)
			}
		}), nil
	})
	s.note(r.name, "", "reconcile", "%v", err)
}

// keepAlive says that the runner lives. What the PDP lets lapse meanwhile must have been
// silent for a term, not counting what nobody could hear (R12).
func (r *runner) keepAlive(ctx context.Context) {
	s := r.s
	ctx, cancel := r.heart.patience(ctx)
	defer cancel()
	_, _ = call(ctx, r.heart.port, func(ctx context.Context, at *pdp) (engine.Heartbeat, error) {
		out, err := at.e.KeepAlive(ctx, engine.Actor{Name: r.name}, r.name)
		if err != nil || at.dead() || s.oracle.isForked() {
			return out, err
		}
		for _, id := range out.Lapsed {
			j, _, ok := at.e.View().Job(id)
			if !ok || r.told[id] {
				continue
			}
			r.told[id] = true
			heard := j.IssuedAt
			for _, b := range append(r.beats, s.starts()...) {
				if b <= j.EndedAt {
					heard = max(heard, b)
				}
			}
			if silent := j.EndedAt.Sub(heard); silent < j.Term-100*time.Millisecond {
				s.fail("R12", []string{string(id)}, "%s lapsed %v after it was last heard of, and has a term of %v", id, silent, j.Term)
			}
		}
		r.beats = append(r.beats, at.clock.Now())
		return out, nil
	})
}

// maintainer edits allowlists and settings.
func (c *client) edit(ctx context.Context) {
	ctx, cancel := c.patience(ctx)
	defer cancel()
	id := authz.ProjectID(1 + c.rnd.IntN(numProjects))
	other := oneOf(c.rnd, authz.InGroup(1), authz.InProject(4), authz.InGroup(2), authz.InProject(1))
	what := c.rnd.IntN(10)
	fine := c.rnd.IntN(3) == 0
	on := c.rnd.IntN(2) == 0
	c.s.focusOn(c.rnd)
	_, err := call(ctx, c.port, func(ctx context.Context, at *pdp) (engine.Receipt, error) {
		e := at.e
		var done engine.Done
		var err error
		list, _ := e.View().Allowlist(id)
		has := false
		for _, en := range list.Inbound {
			has = has || en.Caller == other
		}
		edit := engine.AllowlistEdit{Project: id}
		entry := engine.EntryEdit{AllowlistEdit: edit, Other: other, Default: !fine}
		if fine {
			entry.Policies = []string{"read_packages"}
		}
		switch {
		case what == 0:
			_, done, err = e.UpdateAllowlist(ctx, admin(), engine.AllowlistSettings{AllowlistEdit: edit, InboundOn: &on})
		case what == 1:
			_, done, err = e.UpdateAllowlist(ctx, admin(), engine.AllowlistSettings{AllowlistEdit: edit, OutboundOn: &on})
		case what == 2:
			_, done, err = e.UpdateInstance(ctx, admin(), engine.InstanceEdit{EnforceInbound: &on})
		case has && fine:
			_, done, err = e.UpdateEntry(ctx, admin(), entry)
		case has:
			done, err = e.RemoveEntry(ctx, admin(), engine.EntryRemoval{AllowlistEdit: edit, Other: other})
		default:
			_, done, err = e.AddEntry(ctx, admin(), entry)
		}
		if err != nil {
			return engine.Receipt{}, err
		}
		c.s.note("pdp", "", "edited", "list of project %d, %v, what %d, at %d", id, other, what, done.Revision)
		return c.s.await(ctx, at, done.Awaits(), nil), nil
	})
	c.s.note(c.name, "", "edit", "%v", err)
}

// forge changes the directory.
func (c *client) forge(ctx context.Context) {
	ctx, cancel := c.patience(ctx)
	defer cancel()
	what := c.rnd.IntN(10)
	u := authz.UserID(1 + c.rnd.IntN(numUsers))
	id := authz.ProjectID(1 + c.rnd.IntN(numProjects))
	draw := rand.New(rand.NewPCG(c.rnd.Uint64(), 0))
	c.s.focusOn(c.rnd)
	_, err := call(ctx, c.port, func(ctx context.Context, at *pdp) (engine.Receipt, error) {
		switch {
		case what < 2:
			return c.userState(ctx, at, u)
		case what < 4:
			return c.delete(ctx, at, id)
		}
		ch := directoryChange(draw, at.e.View())
		out, err := at.e.Apply(ctx, admin(), engine.ApplyRequest{Changes: []engine.Change{ch}})
		if err != nil {
			return engine.Receipt{}, err
		}
		c.s.note("pdp", "", "changed", "the directory at %d", out.Revision)
		return c.s.await(ctx, at, out.Awaits(), nil), nil
	})
	c.s.note(c.name, "", "forge", "%v", err)
}

func (c *client) userState(ctx context.Context, at *pdp, u authz.UserID) (engine.Receipt, error) {
	s := c.s
	if rec, _, ok := at.e.View().User(u); ok && rec.State != authz.UserStateActive {
		done, err := at.e.UnblockUser(ctx, admin(), engine.UserStateRequest{User: u})
		if err != nil {
			return engine.Receipt{}, err
		}
		return s.await(ctx, at, done.Awaits(), nil), nil
	}
	done, err := at.e.BlockUser(ctx, admin(), engine.UserStateRequest{User: u, State: authz.UserStateBlocked})
	if err != nil {
		return engine.Receipt{}, err
	}
	s.note("pdp", "", "blocked", "user %d at %d", u, done.Revision)
	return s.await(ctx, at, done.Awaits(), func(now time.Duration) {
		s.oracle.deadUsers[u] = append(s.oracle.deadUsers[u], deathAt{done.Revision, now})
	}), nil
}

// delete goes the next step of a project's end, and after it makes another of the same id.
func (c *client) delete(ctx context.Context, at *pdp, id authz.ProjectID) (engine.Receipt, error) {
	s, e := c.s, at.e
	rec, _, ok := e.View().Project(id)
	if !ok {
		out, err := e.Apply(ctx, admin(), engine.ApplyRequest{Changes: []engine.Change{{Project: project(id)}}})
		if err != nil {
			return engine.Receipt{}, err
		}
		return s.await(ctx, at, out.Awaits(), nil), nil
	}
	act := e.BeginProjectDeletion
	if rec.State == authz.StatePendingDelete {
		act = e.FinishProjectDeletion
	}
	done, err := act(ctx, admin(), engine.DeletionRequest{Project: id})
	if err != nil {
		return engine.Receipt{}, err
	}
	s.note("pdp", "", "deleted", "project %d, was %v, at %d", id, rec.State, done.Revision)
	return s.await(ctx, at, done.Awaits(), func(now time.Duration) {
		s.oracle.deadProjects[id] = append(s.oracle.deadProjects[id], deathAt{done.Revision, now})
	}), nil
}

// service asks at one sidecar.
type service struct {
	*client
	sc *sidecar
}

type portKey struct{}

func portOf(ctx context.Context) *port { return ctx.Value(portKey{}).(*port) }

func (s *sim) service(sc *sidecar, n int) *service {
	c := &client{s: s, name: fmt.Sprintf("%s/%d", sc.name, n), lane: s.lane()}
	c.rnd = s.chance(c.name)
	c.port = s.port(c.name, &sc.stopped)
	c.port.up, c.port.down = []*gate{&sc.callUp}, []*gate{&sc.callDown, &c.way}
	return &service{client: c, sc: sc}
}

// loop asks until ctx ends. All services of a sidecar tend to ask the same at one time.
func (v *service) loop(ctx context.Context) {
	s := v.s
	for {
		d := between(v.rnd, 5*time.Millisecond, s.plan.pace)
		if s.hot() {
			d = between(v.rnd, time.Millisecond, 15*time.Millisecond)
		}
		if !s.sleep(ctx, v.lane, d+v.sc.stopped.wait(s.now())) {
			return
		}
		if v.sc.stopped.wait(s.now()) > 0 {
			continue
		}
		h := v.sc.running()
		if h == nil {
			continue
		}
		t, n, ok := v.choose()
		if !ok {
			continue
		}
		v.ask(ctx, h, question(t, n))
	}
}

func (v *service) ask(ctx context.Context, h *pep1, q authz.Request) (authz.Decision, error) {
	a := v.s.oracle.begin(h, q)
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, portKey{}, v.port), 4*time.Second+v.lane.phase)
	defer cancel()
	d, err := h.d.Check(ctx, q)
	v.s.oracle.end(a, d, err)
	return d, err
}

// choose draws a question: mostly about the token that something happens to, often one
// that this sidecar's other services ask as well.
func (v *service) choose() (*tokenInfo, int, bool) {
	s := v.s
	s.mu.Lock()
	t := s.focused
	s.mu.Unlock()
	if t == nil {
		return nil, 0, false
	}
	window := uint64(s.now() / (40 * time.Millisecond))
	n := int(window*0x9e3779b97f4a7c15>>40) % 3
	switch v.rnd.IntN(8) {
	case 0:
		n = v.rnd.IntN(6)
	case 1, 2:
		o := s.oracle
		o.mu.Lock()
		if k := len(o.tokens); k > 0 {
			t = o.tokens[max(0, k-1-v.rnd.IntN(8))]
		}
		o.mu.Unlock()
		n = v.rnd.IntN(4)
	}
	return t, n, true
}
