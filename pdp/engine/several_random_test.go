package engine

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

var severalWorlds = flag.Int("several-worlds", 20, "worlds of TestSeveralEngines")

// several is a world that a few callers change at a few engines at once, with what they were
// answered.
type several struct {
	*testing.T
	rs []member

	mu     sync.Mutex
	issued map[authz.Digest]state.Job
	dead   map[authz.Digest]string            // what an answer said is dead for good, and which
	once   map[string]map[authz.Revision]bool // request id, revisions of answers that were no repetition
}

// TestSeveralEngines has callers at engines that hear late of each other (R8). What comes out
// is a world that one engine could have made: valid as a whole, the same at all, with dead
// what was said to be dead (R7, R12), each request id carried out once, and nobody refused for
// what was so before their call.
func TestSeveralEngines(t *testing.T) {
	first := cmp.Or(*seed, uint64(time.Now().UnixNano()))
	n := *severalWorlds
	if *seed != 0 {
		n = 1
	}
	for i := range uint64(n) {
		testSeveral(t, first+i)
		if t.Failed() {
			t.Fatalf("run again with -run TestSeveralEngines -seed %d (goroutines differ: perhaps several times, with -count)", first+i)
		}
	}
}

func testSeveral(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	world := tokenWorld()
	const callers = 4
	for i := range callers {
		world = append(world, &state.User{ID: authz.UserID(100 + i), Name: fmt.Sprint("own", i)})
	}
	_, rs := newReplicas(t, 2+rnd.IntN(2), world...)
	for _, r := range rs {
		r.clock.advance(time.Duration(rnd.IntN(3000)) * time.Millisecond)
	}
	s := &several{T: t, rs: rs, issued: map[authz.Digest]state.Job{}, dead: map[authz.Digest]string{}, once: map[string]map[authz.Revision]bool{}}
	var calls, net sync.WaitGroup
	stop := make(chan struct{})
	for _, r := range rs {
		rnd := rand.New(rand.NewPCG(seed, rnd.Uint64()))
		net.Go(func() { s.network(r, rnd, stop) })
	}
	for i := range callers {
		rnd := rand.New(rand.NewPCG(seed, rnd.Uint64()))
		calls.Go(func() { s.caller(i, rnd) })
	}
	calls.Wait()
	close(stop)
	net.Wait()
	s.compare()
	for _, r := range rs {
		r.Close()
		r.store.Close()
	}
}

// network holds changes back from a replica, lets some through, or all.
func (s *several) network(r member, rnd *rand.Rand, stop chan struct{}) {
	for {
		select {
		case <-stop:
			r.store.Release()
			return
		case <-time.After(time.Duration(rnd.IntN(300)) * time.Microsecond):
		}
		switch rnd.IntN(4) {
		case 0:
			r.store.Release()
		case 1:
			r.store.Deliver(rnd.IntN(3))
		default:
			r.store.Hold()
		}
		r.clock.advance(time.Duration(rnd.IntN(50)) * time.Millisecond)
	}
}

func (s *several) any(rnd *rand.Rand) *Engine { return s.rs[rnd.IntN(len(s.rs))].Engine }

func (s *several) caller(n int, rnd *rand.Rand) {
	for i := range 25 {
		switch rnd.IntN(10) {
		case 0, 1:
			s.own(n, i, rnd)
		case 2:
			s.sync(rnd)
		case 3:
			s.repeat(n, i, rnd)
		case 4, 5:
			s.tokens(n, i, rnd)
		case 6:
			s.deaths(rnd)
		default:
			_, err := s.any(rnd).Apply(s.Context(), forge(), ApplyRequest{Changes: s.changes(rnd)})
			s.allowed("apply", err)
		}
	}
}

// allowed fails the test for errors that say more than that the world was in the way.
func (s *several) allowed(what string, err error) {
	if err != nil && !rests(err) {
		s.Errorf("%s: %v", what, err)
	}
}

// changes moves, makes and removes the little that all quarrel about.
func (s *several) changes(rnd *rand.Rand) (list []Change) {
	used := map[changeKey]bool{}
	for range 1 + rnd.IntN(3) {
		g, p, u := authz.GroupID(1+rnd.IntN(4)), authz.ProjectID(1+rnd.IntN(4)), authz.UserID(1+rnd.IntN(2))
		name := string(rune('a' + rnd.IntN(3)))
		var c Change
		switch rnd.IntN(9) {
		case 0, 1, 2:
			c = group(g, authz.GroupID(rnd.IntN(5)), name)
		case 3, 4:
			c = projectIn(p, authz.GroupID(1+rnd.IntN(4)), name)
		case 5:
			c = personal(p, "a", name)
		case 6:
			c = role(u, authz.InGroup(g), authz.RoleDeveloper)
		case 7:
			c = Change{DeleteGroup: g}
		default:
			c = Change{DeleteProject: p}
		}
		if !used[c.key()] {
			used[c.key()] = true
			list = append(list, c)
		}
	}
	return list
}

// own is what nobody else touches: each call comes after the answer to the one before, at
// whichever replica, and none may fail.
func (s *several) own(n, i int, rnd *rand.Rand) {
	p, u := authz.ProjectID(100+n), authz.UserID(100+n)
	must := func(what string, err error) {
		if err != nil {
			s.Errorf("caller %d's %s: %v", n, what, err)
		}
	}
	do := func(c ...Change) error {
		_, err := s.any(rnd).Apply(s.Context(), forge(), ApplyRequest{Changes: c})
		return err
	}
	must("creation", do(personal(p, fmt.Sprint("own", n), "x"), role(u, authz.InProject(p), authz.RoleOwner)))
	out, err := s.any(rnd).Issue(s.Context(), runner(), IssueRequest{Job: authz.JobID(fmt.Sprintf("own-%d-%d", n, i)), Project: p, User: u})
	must("issue", err)
	if err == nil {
		rev, err := s.any(rnd).Revoke(s.Context(), runner(), RevokeRequest{Tokens: []authz.Digest{out.Token.Digest()}})
		must("revoke", err)
		if err == nil && rev.Items[0].Ending != EndedNow {
			s.Errorf("caller %d's token was %v", n, rev.Items[0])
		}
		s.kill(out.Token.Digest(), "revoked")
	}
	must("removal", do(Change{DeleteProject: p}))
}

func (s *several) sync(rnd *rand.Rand) {
	from := s.any(rnd)
	asOf := from.view.Mark().Revision
	list := slices.DeleteFunc(listOf(from), func(c Change) bool {
		return (c.Project != nil && c.Project.ID < 100 || c.Membership != nil) && rnd.IntN(4) == 0
	})
	for i := range list {
		if g := list[i].Group; g != nil && rnd.IntN(3) == 0 {
			g.Name = string(rune('a' + rnd.IntN(3)))
		}
	}
	sync, err := s.any(rnd).BeginSync(forge(), SyncOptions{AsOf: asOf})
	if err != nil {
		s.Errorf("sync: %v", err)
		return
	}
	sync.chunk, sync.moves = 1+rnd.IntN(3), rnd.IntN(3)
	for _, c := range list {
		if sync.Add(c) != nil {
			return // a name that another synchronisation has parked something under
		}
	}
	_, err = sync.Finish(s.Context())
	s.allowed("sync", err)
}

// repeat makes a call with a request id that another caller may use for the same call.
func (s *several) repeat(_, i int, rnd *rand.Rand) {
	id := fmt.Sprint("r", i)
	done, err := s.any(rnd).Apply(s.Context(), forge(), ApplyRequest{Changes: []Change{user(authz.UserID(50 + i))}, RequestID: id})
	if s.allowed("repeat", err); err != nil || done.Repeated {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.once[id] == nil {
		s.once[id] = map[authz.Revision]bool{}
	} else {
		s.Errorf("request %s was carried out at %v and at %d", id, slices.Collect(maps.Keys(s.once[id])), done.Revision)
	}
	s.once[id][done.Revision] = true
}

func (s *several) kill(d authz.Digest, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead[d] = why
}

// tokens issues jobs and keeps, ends and loses them.
func (s *several) tokens(n, i int, rnd *rand.Rand) {
	req := IssueRequest{Job: authz.JobID(fmt.Sprintf("job-%d", rnd.IntN(30))), Project: authz.ProjectID(1 + rnd.IntN(4)), User: authz.UserID(1 + rnd.IntN(2))}
	if rnd.IntN(2) == 0 {
		req.Runner, req.Term = "r", time.Second
	}
	out, err := s.any(rnd).Issue(s.Context(), runner(), req)
	if s.allowed("issue", err); err == nil {
		s.mu.Lock()
		for d, j := range s.issued { // another call may be the newer one, if both were at once
			if j.ID == req.Job && j.Issued < out.Revision {
				s.dead[d] = "replaced"
			}
		}
		s.issued[out.Token.Digest()] = state.Job{ID: req.Job, Project: req.Project, User: req.User, Issued: out.Revision}
		s.mu.Unlock()
	}
	beat, err := s.any(rnd).KeepAlive(s.Context(), runner(), "r")
	s.allowed("keep alive", err)
	for _, id := range beat.Lapsed {
		s.killAll("lapsed", s.known(func(j state.Job) bool { return j.ID == id }))
	}
	if rnd.IntN(2) == 0 {
		id := authz.JobID(fmt.Sprintf("job-%d", rnd.IntN(30)))
		before := s.known(func(j state.Job) bool { return j.ID == id })
		_, err := s.any(rnd).Revoke(s.Context(), runner(), byJob(id))
		if s.allowed("revoke", err); err == nil {
			s.killAll("revoked", before)
		}
	}
}

func (s *several) known(f func(state.Job) bool) (list []authz.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for d, j := range s.issued {
		if f(j) {
			list = append(list, d)
		}
	}
	return list
}

func (s *several) killAll(why string, list []authz.Digest) {
	for _, d := range list {
		s.kill(d, why)
	}
}

// deaths blocks users and removes projects, and brings both back.
func (s *several) deaths(rnd *rand.Rand) {
	u, p := authz.UserID(1+rnd.IntN(2)), authz.ProjectID(1+rnd.IntN(4))
	before := s.known(func(j state.Job) bool { return j.User == u })
	_, err := s.any(rnd).BlockUser(s.Context(), forge(), UserStateRequest{User: u, State: authz.UserStateBlocked, RequestID: fmt.Sprint("b", rnd.Uint64())})
	if s.allowed("block", err); err == nil {
		s.killAll("blocked", before)
	}
	_, err = s.any(rnd).UnblockUser(s.Context(), forge(), UserStateRequest{User: u})
	s.allowed("unblock", err)
	before = s.known(func(j state.Job) bool { return j.Project == p })
	_, err = s.any(rnd).BeginProjectDeletion(s.Context(), forge(), DeletionRequest{Project: p})
	if s.allowed("begin", err); err == nil {
		s.killAll("of a project that was to be deleted", before)
	}
	_, err = s.any(rnd).FinishProjectDeletion(s.Context(), forge(), DeletionRequest{Project: p})
	s.allowed("finish", err)
}

// compare looks at what has come out.
func (s *several) compare() {
	for _, r := range s.rs {
		if err := r.catchUp(s.Context()); err != nil {
			s.Fatal(err)
		}
	}
	for _, r := range s.rs {
		sameWorld(s.T, holding(r.Engine), holding(s.rs[0].Engine))
		checkNoLeftovers(s.T, r.Engine)
		var list staged
		for _, c := range listOf(r.Engine) {
			list.add(&c)
		}
		list.sort()
		if err := list.check(); err != nil {
			s.Errorf("the directory is none: %v", err)
		}
		for d, why := range s.dead {
			dec, err := r.Check(s.Context(), authz.Request{Token: d, Permission: "read_own_job"})
			if err != nil || dec.Allow {
				s.Errorf("a token that was %s is allowed (%v)", why, err)
			}
		}
		if now := r.Now(); now < r.view.Stamp() {
			s.Errorf("the time is %s behind what was committed", r.view.Stamp().Sub(now))
		}
	}
}
