package sim

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// oracle knows what the promises allow. It is told of every durable change, every receipt
// and every answer, with true times, and knows nothing of leases and caches.
type oracle struct {
	s *sim

	newly   sync.Mutex // taken under the disk's lock
	pending []state.Change
	times   map[authz.Revision]time.Duration

	mu     sync.Mutex
	view   *state.View // at the head
	walk   policy.Walk
	tokens []*tokenInfo
	names  sync.Mutex // for writing byID, and for reading it without mu
	byID   map[authz.Digest]*tokenInfo
	// What receipts said: from when on something is dead, or a change is effective.
	deadJobs     map[authz.JobID]time.Duration
	deadTokens   map[authz.Digest]time.Duration
	deadProjects map[authz.ProjectID][]deathAt
	deadUsers    map[authz.UserID][]deathAt
	effective    map[authz.Revision]time.Duration
	// over: an end by time that somebody was told of (R12).
	over                           map[authz.Digest]time.Duration
	forked                         bool // the PDP serves a history that is not the one that was
	forkedAt                       authz.Revision
	checks, hits, allows, receipts int
}

type tokenInfo struct {
	digest authz.Digest
	job    authz.JobID
	source authz.ProjectID
	user   authz.UserID
	issued authz.Revision
	known  time.Duration // when Issue returned
	name   string        // for traces
}

type deathAt struct {
	before authz.Revision
	at     time.Duration
}

func newOracle(s *sim) *oracle {
	o := &oracle{
		s: s, view: state.NewView(), times: map[authz.Revision]time.Duration{}, byID: map[authz.Digest]*tokenInfo{}, deadJobs: map[authz.JobID]time.Duration{},
		deadTokens: map[authz.Digest]time.Duration{}, deadProjects: map[authz.ProjectID][]deathAt{}, deadUsers: map[authz.UserID][]deathAt{},
		effective: map[authz.Revision]time.Duration{}, over: map[authz.Digest]time.Duration{},
	}
	o.view.Reset()
	o.view.Loaded(state.Mark{}, 0)
	return o
}

// committed takes a durable change.
func (o *oracle) committed(c state.Change) {
	o.newly.Lock()
	defer o.newly.Unlock()
	o.pending = append(o.pending, c)
	o.times[c.Revision] = o.s.now()
}

// made tells when a change became durable.
func (o *oracle) made(rev authz.Revision) (time.Duration, bool) {
	o.newly.Lock()
	defer o.newly.Unlock()
	at, ok := o.times[rev]
	return at, ok
}

// lock takes the lock, with all changes applied.
func (o *oracle) lock() {
	o.mu.Lock()
	o.newly.Lock()
	defer o.newly.Unlock()
	if !o.forked && len(o.pending) > 0 {
		o.view.Apply(o.pending)
	}
	o.pending = nil
}

// issued takes a token that Issue has returned.
func (o *oracle) issued(t *tokenInfo) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t.known, t.name = o.s.now(), fmt.Sprintf("t%d", len(o.tokens)+1)
	o.tokens = append(o.tokens, t)
	o.names.Lock()
	defer o.names.Unlock()
	o.byID[t.digest] = t
}

func earliest[K comparable](m map[K]time.Duration, k K, at time.Duration) {
	if old, ok := m[k]; !ok || at < old {
		m[k] = at
	}
}

// receipt takes an effective receipt for changes, at the moment at which it is effective.
func (o *oracle) receipt(revs []authz.Revision, all authz.Revision, also func(now time.Duration)) {
	now := o.s.now()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.receipts++
	for _, r := range revs {
		earliest(o.effective, r, now)
	}
	for r := authz.Revision(1); r <= all; r++ {
		earliest(o.effective, r, now)
	}
	if also != nil {
		also(now)
	}
}

// saying is what an answer says, in words when they are needed.
type saying struct {
	*asking
	d *authz.Decision
}

func (w saying) String() string {
	return fmt.Sprintf("%s says %v (revision %d, cached %v) to %s, asked at %.6f",
		w.h.sc.name, w.d.Reason, w.d.Revision, w.d.Cached, w.h.sc.s.question(w.req), w.began.Seconds())
}

// asking is one check under way.
type asking struct {
	h        *pep1
	req      authz.Request
	began    time.Duration
	applied  authz.Revision // of the process, before
	seen     uint64         // epoch
	stamp    authz.Stamp
	mark     authz.Revision // that it knows of the true history, while there is another
	forked   bool
	forkedAt authz.Revision
}

// begin notes the start of a check.
func (o *oracle) begin(h *pep1, req authz.Request) *asking {
	st := h.d.Status()
	a := &asking{h: h, req: req, began: o.s.now(), applied: st.Applied, seen: st.Seen.Epoch, stamp: o.stamp()}
	o.mu.Lock()
	a.forked, a.forkedAt, a.mark = o.forked, o.forkedAt, authz.Revision(h.sc.trulySeen.Load())
	o.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.seen == h.epoch && a.applied < h.applied {
		o.s.fail("R14", []string{h.sc.name}, "%s has gone back from revision %d to %d", h.sc.name, h.applied, a.applied)
	}
	h.epoch, h.applied = a.seen, a.applied
	return a
}

// end judges an answer.
func (o *oracle) end(a *asking, d authz.Decision, err error) {
	s, h := o.s, a.h
	if h.dead() {
		return // so is whoever asked
	}
	now := s.now()
	about := []string{h.sc.name}
	o.lock()
	defer o.mu.Unlock()
	t := o.byID[a.req.Token]
	if t != nil {
		about = append(about, t.name, string(t.job))
	}
	s.note(h.sc.name, h.sc.name, "answers", "%s asked at %.6f: %v at %d cached %v %v", s.question(a.req), a.began.Seconds(), d.Reason, d.Revision, d.Cached, err)
	if a.forked && a.mark > a.forkedAt && h.misled() {
		s.fail("R13", about, "%s took a lease from a PDP whose history was set back to revision %d, and has seen %d", h.sc.name, a.forkedAt, a.mark)
	}
	if err != nil {
		if k := authz.KindOf(err); k != authz.KindUnavailable && k != authz.KindCanceled {
			s.fail("errors", about, "%s: a check failed with %v", h.sc.name, err)
		}
		return
	}
	o.checks++
	if d.Cached {
		o.hits++
	}
	what := saying{a, &d}
	if d.Allow != d.Reason.Allows() || d.Reason == authz.ReasonNone {
		s.fail("R17", about, "%s", what)
	}
	if d.Reason == authz.LeaseLapsed {
		if d.Cached || h.d.Status().Remaining > 0 {
			s.fail("R17", about, "%s, and has a lease", what)
		}
		return
	}
	if a.forked || o.forked {
		return // who has not seen the true history cannot know
	}
	if a.seen < s.epoch() {
		return // it has what it has from the other history, until its lease is over (R1)
	}
	o.reasons(a, &d, t, now, about, what)
	if d.Allow {
		o.allows++
		o.allowed(a, t, about, what)
	}
	if d.Cached {
		o.cached(a, &d, now, about, what)
		return
	}
	if d.Revision < a.applied && h.epoch == a.seen {
		s.fail("R14", about, "%s, and had applied revision %d before", what, a.applied)
	}
}

// reasons looks at ends that must stay and at tokens that must be known.
func (o *oracle) reasons(a *asking, d *authz.Decision, t *tokenInfo, now time.Duration, about []string, what saying) {
	switch {
	case t == nil:
	case d.Reason == authz.TokenUnknown && t.known < a.began:
		o.s.fail("R16", about, "%s, whose Issue had returned at %.6f", what, t.known.Seconds())
	case d.Reason == authz.TokenExpired:
		earliest(o.over, t.digest, now)
	case d.Reason == authz.HeartbeatLapsed && o.lapsed(t.job):
		// Not before it is committed: a PDP that dies before that gives the job a new term.
		earliest(o.over, t.digest, now)
	}
}

// misled reports whether the lease in force was granted by a PDP with a false history.
func (h *pep1) misled() bool {
	gen := h.d.Status().Generation
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.wrongs[gen]
}

func (o *oracle) lapsed(id authz.JobID) bool {
	j, _, ok := o.view.Job(id)
	return ok && j.Lapsed
}

// allowed is P1: nothing that a receipt called dead is allowed to whoever asks later.
func (o *oracle) allowed(a *asking, t *tokenInfo, about []string, what saying) {
	if t == nil {
		o.s.fail("P1", about, "%s, which nobody was given", what)
		return
	}
	dead := func(why string, at time.Duration, ok bool, rev authz.Revision) bool {
		if ok && at < a.began {
			o.s.fail("P1", about, "%s, which was dead since an effective receipt at %.6f: %s %v", what, at.Seconds(), why, rev)
			return true
		}
		return false
	}
	at, ok := o.deadJobs[t.job]
	if dead("job revoked", at, ok, 0) {
		return
	}
	at, ok = o.deadTokens[t.digest]
	if dead("token replaced", at, ok, 0) {
		return
	}
	for _, d := range o.deadProjects[t.source] {
		if dead("project deleted at revision", d.at, t.issued < d.before, d.before) {
			return
		}
	}
	for _, d := range o.deadUsers[t.user] {
		if dead("user blocked at revision", d.at, t.issued < d.before, d.before) {
			return
		}
	}
	// Two clocks may run apart by twice ρ; see the package's comment.
	if at, ok := o.over[t.digest]; ok && at+2*time.Second < a.began {
		o.s.fail("R12", about, "%s, whose time was over at %.6f", what, at.Seconds())
		return
	}
	o.rights(a, about, what)
}

// rights is P1 for what is not death: of the changes since the newest revision at which
// the answer is right, the first has taken the right away. Its receipt must not have been
// effective.
func (o *oracle) rights(a *asking, about []string, what saying) {
	allows := func(v *state.View) bool {
		return v.Decide(&o.walk, a.req, o.stamp()).Allow || v.Decide(&o.walk, a.req, a.stamp.Add(-slack)).Allow
	}
	if allows(o.view) {
		return
	}
	head := o.view.Mark().Revision
	for r := head; r > 0; r-- {
		if allows(o.s.disk.viewAt(r - 1)) {
			if at, ok := o.effective[r]; ok && at < a.began {
				c, _ := o.s.disk.changeAt(r)
				o.s.fail("P1", about, "%s, a right that revision %d (%s %v) took, with an effective receipt at %.6f", what, r, c.Verb, c.Keys, at.Seconds())
			}
			return
		}
	}
	o.s.fail("P9", about, "%s, and was never right", what)
}

// stamp is the PDP's time now.
func (o *oracle) stamp() authz.Stamp {
	if p := o.s.running(); p != nil {
		return p.clock.Now()
	}
	return authz.StampOf(time.Now())
}

// slack is how far the ends of short lives may be apart on two clocks.
const slack = 1200 * time.Millisecond

// cached is P9 and P2: a cached answer is what the PDP would say at the revision that the
// holder has applied, and is given under a lease.
func (o *oracle) cached(a *asking, d *authz.Decision, now time.Duration, about []string, what saying) {
	s, h := o.s, a.h
	h.mu.Lock()
	ends, clock := h.ends, lease.Instant(h.meter.now())
	h.mu.Unlock()
	if clock >= ends && !s.grpc { // nobody reads along on gRPC
		s.fail("P2", about, "%s, %v after the end of its lease", what, clock.Sub(ends))
	}
	if a.seen != s.epoch() {
		return
	}
	stamp := o.stamp()
	if same(d, o.view.Decide(&o.walk, a.req, stamp)) {
		return
	}
	at := min(max(a.applied, d.Revision), o.view.Mark().Revision)
	v := s.disk.viewAt(at)
	want := v.Decide(&o.walk, a.req, stamp)
	if same(d, want) || same(d, v.Decide(&o.walk, a.req, stamp.Add(-slack))) {
		return
	}
	if byTime := want.Reason == authz.TokenExpired || want.Reason == authz.HeartbeatLapsed; byTime && d.Reason.Dead() {
		return // dead is dead: it has died of old age as well since it was judged
	}
	s.fail("P9", about, "%s; at revision %d, which it has applied, it is %v", what, at, want.Reason)
}

func same(d *authz.Decision, w authz.Decision) bool {
	return d.Reason == w.Reason && d.Job == w.Job && d.Source == w.Source && d.User == w.User && d.Target == w.Target && d.Entry == w.Entry &&
		d.Role == w.Role && d.RoleScope == w.RoleScope && d.Need == w.Need && d.Feature == w.Feature && slices.Equal(d.Missing, w.Missing)
}
