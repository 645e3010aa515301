package pep

import (
	"slices"
	"sync/atomic"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// subject is whose token an answer is about. The entries of one token share it.
type subject struct {
	digest authz.Digest
	job    authz.JobID
	source authz.ProjectID
	user   authz.UserID
	next   *subject // another token of a job with the same key
	era    lease.Era
	refs   int32
	dead   atomic.Bool // its job changed: the entries are void
	known  bool        // it is in index.jobs
}

// ground is what answers have in common that are given to different tokens: the
// question, the outcome, and what they rest on besides the token's job.
type ground struct {
	target     authz.ProjectID
	permission string // one text for all grounds
	extra      *extra // nil where all of it is zero
	keys       []uint32
	id         uint32
	refs       int32
	dead       atomic.Bool // something it rests on changed: the entries are void
	instance   bool        // rests on authz.TheInstance, which is in no list
	found      bool        // the answer's target is the one asked for
	surface    authz.Surface
	reason     authz.Reason
	role, need authz.Role
	feature    authz.Feature
}

// extra is what few answers have.
type extra struct {
	path             string // asked for
	leads            authz.ProjectID
	entry, roleScope authz.Scope
	missing          []string
}

func (g *ground) asks(q *question) bool {
	return g.target == q.target.ID && g.surface == q.surface && g.permission == string(q.permission) && g.path() == q.target.Path
}

func (g *ground) path() string {
	if g.extra == nil {
		return ""
	}
	return g.extra.path
}

func (g *ground) same(o *ground) bool {
	if g.target != o.target || g.permission != o.permission || g.surface != o.surface || g.reason != o.reason || g.role != o.role ||
		g.need != o.need || g.feature != o.feature || g.found != o.found || g.instance != o.instance || (g.extra == nil) != (o.extra == nil) ||
		!slices.Equal(g.keys, o.keys) {
		return false
	}
	a, b := g.extra, o.extra
	return a == nil || a.path == b.path && a.leads == b.leads && a.entry == b.entry && a.roleScope == b.roleScope && slices.Equal(a.missing, b.missing)
}

// What things take, about; measured by TestMemory.
const (
	entryBytes   = 48 + 10
	subjectBytes = 96 + 30
	groundBytes  = 80 + 8 + 24
	extraBytes   = 96
	keyBytes     = 80 // of a key that something rests on
	restBytes    = 10 // of one ground resting on one key
)

// index finds what rests on a key. The key of a job leads to its tokens, any other to
// grounds.
type index struct {
	seed  uint64
	jobs  map[authz.Key]*subject
	keyAt map[authz.Key]uint32
	keys  []dependency
	spare []uint32 // free places in keys

	same      map[uint64]uint32 // by hash: to share grounds
	grounds   []*ground
	free      []uint32 // free places in grounds
	instances int      // grounds that rest on the instance

	names  map[string]string // permissions
	bytes  int64
	unused map[authz.Key]struct{} // keys that lost their last entry
}

// dependency is a key that grounds rest on. Places in list may be stale: the ground has
// gone, or another has its place. live counts the true ones.
type dependency struct {
	key  authz.Key
	live uint32
	list []uint32
}

func (x *index) init(seed uint64) {
	*x = index{
		seed: seed, jobs: map[authz.Key]*subject{}, keyAt: map[authz.Key]uint32{}, same: map[uint64]uint32{},
		names: map[string]string{}, unused: map[authz.Key]struct{}{},
	}
}

// subjectOf gives the subject of an answer, shared with the other answers of its token.
func (x *index) subjectOf(k *key, d *authz.Decision, era lease.Era) *subject {
	job := authz.JobKey(d.Job)
	known := d.Job != "" && slices.Contains(d.Keys, job)
	if known {
		for s := x.jobs[job]; s != nil; s = s.next {
			if s.digest == k.token && s.job == d.Job && s.source == d.Source && s.user == d.User && s.era == era {
				return s
			}
		}
	}
	s := &subject{digest: k.token, job: d.Job, source: d.Source, user: d.User, era: era, known: known}
	x.bytes += subjectBytes + int64(len(d.Job))
	if known {
		s.next = x.jobs[job]
		x.jobs[job] = s
	}
	return s
}

func (x *index) leaveSubject(s *subject) {
	if s.refs--; s.refs > 0 {
		return
	}
	x.bytes -= subjectBytes + int64(len(s.job))
	if !s.known || s.dead.Load() {
		return
	}
	job := authz.JobKey(s.job)
	first := x.jobs[job]
	if first == s {
		first = s.next
	} else {
		for o := first; o != nil; o = o.next {
			if o.next == s {
				o.next = s.next
			}
		}
	}
	if first != nil {
		x.jobs[job] = first
		return
	}
	delete(x.jobs, job)
	x.drop(job)
}

// groundOf gives the ground of an answer, shared with equal ones.
func (x *index) groundOf(k *key, d *authz.Decision) *ground {
	g := &ground{
		target: k.target.ID, permission: x.name(string(k.permission)), surface: k.surface,
		reason: d.Reason, role: d.Role, need: d.Need, feature: d.Feature, found: k.target.ID != 0 && d.Target == k.target.ID,
	}
	if k.target.Path != "" || d.Entry != (authz.Scope{}) || d.RoleScope != (authz.Scope{}) || len(d.Missing) > 0 {
		g.extra = &extra{path: k.target.Path, leads: d.Target, entry: d.Entry, roleScope: d.RoleScope, missing: slices.Clone(d.Missing)}
	}
	job := authz.JobKey(d.Job)
	g.keys = make([]uint32, 0, len(d.Keys))
	for _, dep := range d.Keys {
		switch {
		case dep == authz.TheInstance:
			g.instance = true
		case d.Job != "" && dep == job: // the subject's
		default:
			g.keys = append(g.keys, x.dependency(dep))
		}
	}
	slices.Sort(g.keys)
	g.keys = slices.Clip(slices.Compact(g.keys))
	h := x.hashGround(g)
	if at, ok := x.same[h]; ok {
		if o := x.grounds[at]; o.same(g) {
			return o
		}
	} else {
		x.same[h] = uint32(x.place(nil))
	}
	x.add(g, h)
	return g
}

// place makes room for one more ground.
func (x *index) place(g *ground) uint32 {
	if n := len(x.free); n > 0 {
		at := x.free[n-1]
		x.free = x.free[:n-1]
		x.grounds[at] = g
		return at
	}
	x.grounds = append(x.grounds, g)
	return uint32(len(x.grounds) - 1)
}

// add puts a new ground in. When x.same has its hash with an empty place, that is its
// place; else another ground has the same hash, and this one is not shared.
func (x *index) add(g *ground, h uint64) {
	if at := x.same[h]; x.grounds[at] == nil {
		x.grounds[at] = g
		g.id = at
	} else {
		g.id = x.place(g)
	}
	if g.instance {
		x.instances++
	}
	for _, at := range g.keys {
		dep := &x.keys[at]
		dep.live++
		dep.list = append(dep.list, g.id)
	}
	x.bytes += g.size()
}

func (g *ground) size() int64 {
	n := int64(groundBytes + restBytes*len(g.keys))
	if g.extra != nil {
		n += extraBytes + int64(len(g.extra.path))
	}
	return n
}

func (x *index) hashGround(g *ground) uint64 {
	h := fold(x.seed^uint64(g.target), hashString(x.seed, g.permission))
	h = fold(h, uint64(g.surface)|uint64(g.reason)<<8|uint64(g.role)<<16|uint64(g.need)<<24|uint64(g.feature)<<32)
	if g.extra != nil {
		h = fold(h^uint64(g.extra.leads), hashString(x.seed, g.extra.path))
	}
	for _, at := range g.keys {
		h = fold(h, uint64(at))
	}
	return h
}

func (x *index) name(s string) string {
	if p, ok := x.names[s]; ok {
		return p
	}
	if len(x.names) >= 4096 { // more than any catalogue has; what is in use stays where it is
		clear(x.names)
	}
	x.names[s] = s
	return s
}

// dependency gives the place of a key that something is about to rest on.
func (x *index) dependency(k authz.Key) uint32 {
	if at, ok := x.keyAt[k]; ok {
		return at
	}
	var at uint32
	if n := len(x.spare); n > 0 {
		at = x.spare[n-1]
		x.spare = x.spare[:n-1]
		x.keys[at] = dependency{key: k}
	} else {
		at = uint32(len(x.keys))
		x.keys = append(x.keys, dependency{key: k})
	}
	x.keyAt[k] = at
	x.bytes += keyBytes
	return at
}

func (x *index) leaveGround(g *ground) {
	if g.refs--; g.refs == 0 && !g.dead.Load() {
		x.forgetGround(g)
	}
}

// forgetGround takes a ground out of every list. Entries may still hold it, if it is
// dead.
func (x *index) forgetGround(g *ground) {
	if h := x.hashGround(g); x.grounds[g.id] == g {
		if at, ok := x.same[h]; ok && at == g.id {
			delete(x.same, h)
		}
		x.grounds[g.id] = nil
		x.free = append(x.free, g.id)
	}
	x.bytes -= g.size()
	if g.instance {
		if x.instances--; x.instances == 0 {
			x.drop(authz.TheInstance)
		}
	}
	for _, at := range g.keys {
		x.leaveKey(at)
	}
}

// leaveKey notes that a ground does not rest on the key any more. A list with more
// stale places than true ones is cleaned, so the cost is constant on average.
func (x *index) leaveKey(at uint32) {
	dep := &x.keys[at]
	if dep.live--; dep.live == 0 {
		delete(x.keyAt, dep.key)
		x.drop(dep.key)
		*dep = dependency{}
		x.spare = append(x.spare, at)
		x.bytes -= keyBytes
		return
	}
	if len(dep.list) > 2*int(dep.live)+16 {
		list := slices.DeleteFunc(dep.list, func(id uint32) bool { return !x.rests(id, at) })
		slices.Sort(list)
		dep.list = slices.Clone(slices.Compact(list))
	}
}

// rests reports whether the ground at a place rests on the key at another.
func (x *index) rests(id, keyAt uint32) bool {
	g := x.grounds[id]
	if g == nil {
		return false
	}
	_, ok := slices.BinarySearch(g.keys, keyAt)
	return ok
}

// invalidate voids all that rests on the keys, and tells how many entries that were.
func (x *index) invalidate(keys []authz.Key) int {
	n := 0
	for _, k := range keys {
		n += x.killJob(k)
		if k == authz.TheInstance {
			for _, g := range slices.Clone(x.grounds) {
				if g != nil && g.instance {
					n += x.kill(g)
				}
			}
		}
		if at, ok := x.keyAt[k]; ok {
			list := x.keys[at].list
			x.keys[at].list = nil // kill must not move what is being read
			for _, id := range list {
				if x.rests(id, at) {
					n += x.kill(x.grounds[id])
				}
			}
		}
		delete(x.unused, k) // the ack says it
	}
	return n
}

func (x *index) killJob(k authz.Key) int {
	n := 0
	for s := x.jobs[k]; s != nil; s = s.next {
		s.dead.Store(true)
		n += int(s.refs)
	}
	delete(x.jobs, k)
	return n
}

func (x *index) kill(g *ground) int {
	g.dead.Store(true)
	x.forgetGround(g)
	return int(g.refs)
}

// holds reports whether anything rests on the key.
func (x *index) holds(k authz.Key) bool {
	if _, ok := x.keyAt[k]; ok {
		return true
	}
	return x.jobs[k] != nil || k == authz.TheInstance && x.instances > 0
}

// drop notes that nothing rests on the key any more.
func (x *index) drop(k authz.Key) { x.unused[k] = struct{}{} }

// refuse notes the keys of an answer that was not installed: the PDP thinks that it
// was.
func (x *index) refuse(keys []authz.Key) {
	for _, k := range keys {
		if !x.holds(k) {
			x.drop(k)
		}
	}
}

// takeUnused gives the keys that nothing rests on, of those that something rested on.
func (x *index) takeUnused() []authz.Key {
	if len(x.unused) == 0 {
		return nil
	}
	keys := slices.DeleteFunc(sortedKeys(x.unused), x.holds)
	x.unused = map[authz.Key]struct{}{}
	return keys
}

// all gives every key that something rests on.
func (x *index) all() []authz.Key {
	keys := make([]authz.Key, 0, len(x.keyAt)+len(x.jobs)+1)
	if x.instances > 0 {
		keys = append(keys, authz.TheInstance)
	}
	for k := range x.keyAt {
		keys = append(keys, k)
	}
	for k := range x.jobs {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
