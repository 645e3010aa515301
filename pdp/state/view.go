package state

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"sync"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
)

// View holds everything a store holds, in memory, for decisions and reads. It is the
// [Sink] of a store; between two of the store's calls it is exactly one revision.
// All methods are safe for concurrent use. What they return belongs to the caller,
// except that strings and the slices inside limits and policies must not be changed.
//
// Millions of records fit because none of them is a Go object: rows without pointers
// stand in slabs, text stands in an arena, and indexes hold row numbers. See
// view_rows.go for the rows.
//
// Records may come in any order and may refer to what does not exist. Where a group
// above is missing the chain of groups ends, and there is no path.
//
// Within one kind, names and digests are the store's to keep unique: of several
// projects or groups with one path the one with the lowest id is found.
type View struct {
	// mu guards everything below. Apply holds it for one call, decisions hold it
	// shared for one question.
	mu sync.RWMutex

	seed maphash.Seed
	salt uint64

	epoch    Epoch
	revision authz.Revision
	stamp    authz.Stamp

	instance     Instance
	instanceMod  authz.Revision
	catalogue    *policy.Catalogue
	document     *Catalogue
	documentMod  authz.Revision
	catalogueErr error
	leases       *Leases
	leasesMod    authz.Revision
	directoryMod authz.Revision

	text     text
	limits   shared[policy.Limits]
	policies shared[[]string]
	counts   [NumKinds]int

	groups    slab[groupRow]
	groupRest slab[groupRest]
	projects  slab[projectRow]
	users     slab[userRow]
	jobs      slab[jobRow]
	runners   slab[runnerRow]
	pulses    slab[pulseRow]
	replaced  slab[replacedRow]
	deaths    slab[deathRow]
	requests  slab[requestRow]

	groupIDs, projectIDs, userIDs, jobIDs, runnerIDs index
	digests, oldDigests, deathIDs, requestIDs        index
	groupNames, projectNames                         index

	// Orders: id, or hash of the job id, and row.
	groupOrder, projectOrder, userOrder, jobOrder pairs
	// Reverse indexes: scope and user, caller's scope and project, target and source,
	// group and the scope in it.
	membersOf, listedOn, outboundOf, children pairs

	// keys, was, buf and key are memory for Apply to work in.
	keys, was []uint64
	buf, key  []byte
	// listed and joined are the rows of the last Allowlist and the last Members.
	listed, joined uint32
	ahead          ahead

	worlds sync.Pool // of *world

	// sweepAt is where the last search for outdated records stopped; sweepMu, taken
	// before mu, guards it.
	sweepMu sync.Mutex
	sweepAt int
}

// MaxGroupDepth is how many groups the view follows upward from a project or group.
// What is deeper has no path, and groups beyond it count for nothing: whoever accepts
// groups must refuse deeper ones, and circles.
const MaxGroupDepth = 64

// DefaultInstance gives the settings of an installation without an Instance record.
func DefaultInstance() Instance {
	return Instance{
		Instance:          policy.Instance{PublicScope: authz.ScopeExempt, AnyoneCanPull: true},
		MaxProjectEntries: 200, MaxGroupEntries: 200,
	}
}

// NewView gives an empty view at revision 0.
func NewView() *View {
	v := &View{seed: maphash.MakeSeed(), salt: rand.Uint64()}
	v.worlds.New = func() any { return new(world) }
	v.clear()
	v.build()
	return v
}

// Reset forgets everything.
func (v *View) Reset() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.clear()
}

func (v *View) clear() {
	v.epoch, v.revision, v.stamp = Epoch{}, 0, 0
	v.instance, v.instanceMod = DefaultInstance(), 0
	v.catalogue, v.document, v.documentMod, v.catalogueErr = policy.Builtin(), nil, 0, nil
	v.leases, v.leasesMod, v.directoryMod = nil, 0, 0
	v.listed, v.joined, v.ahead = 0, 0, ahead{}
	v.text = newText(v.textField)
	v.limits, v.policies = newShared[policy.Limits](), newShared[[]string]()
	v.counts = [NumKinds]int{}
	v.groups, v.groupRest = newSlab[groupRow](), newSlab[groupRest]()
	v.projects, v.users = newSlab[projectRow](), newSlab[userRow]()
	v.jobs, v.runners, v.replaced = newSlab[jobRow](), newSlab[runnerRow](), newSlab[replacedRow]()
	v.pulses, v.deaths, v.requests = newSlab[pulseRow](), newSlab[deathRow](), newSlab[requestRow]()
	for _, ix := range []*index{
		&v.groupIDs, &v.projectIDs, &v.userIDs, &v.jobIDs, &v.runnerIDs,
		&v.digests, &v.oldDigests, &v.deathIDs, &v.requestIDs, &v.groupNames, &v.projectNames,
	} {
		*ix = newIndex()
	}
	for _, t := range v.trees() {
		*t = newPairs()
	}
}

func (v *View) trees() []*pairs {
	return []*pairs{
		&v.groupOrder, &v.projectOrder, &v.userOrder, &v.jobOrder,
		&v.membersOf, &v.listedOn, &v.outboundOf, &v.children,
	}
}

// build makes the trees of what was collected: the largest one beside all the others, as
// it takes about as long as they do.
func (v *View) build() {
	var largest *pairs
	for _, t := range v.trees() {
		if !t.built && (largest == nil || len(t.bulk) > len(largest.bulk)) {
			largest = t
		}
	}
	if largest == nil {
		return
	}
	var beside sync.WaitGroup
	beside.Go(largest.build)
	for _, t := range v.trees() {
		if t != largest && !t.built {
			t.build()
		}
	}
	beside.Wait()
}

// Load takes one record of the snapshot.
func (v *View) Load(rec Record, mod authz.Revision) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if j, ok := rec.(*Job); ok {
		v.loadJob(j, mod)
		return
	}
	v.flushJobs() // what comes behind jobs may look for them
	v.put(rec, mod)
}

// Loaded ends the snapshot.
func (v *View) Loaded(mark Mark, stamp authz.Stamp) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.flushJobs()
	v.build()
	v.epoch, v.revision, v.stamp = mark.Epoch, mark.Revision, stamp
}

// Apply takes committed changes. No decision or read sees a part of the call.
func (v *View) Apply(changes []Change) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range changes {
		v.apply(&changes[i])
	}
}

// apply takes one change.
func (v *View) apply(c *Change) {
	for _, rec := range c.Puts {
		v.put(rec, c.Revision)
	}
	for _, k := range c.Deletes {
		v.delete(k)
	}
	v.revision, v.stamp = c.Revision, max(v.stamp, c.Stamp)
}

func (v *View) put(rec Record, mod authz.Revision) {
	switch r := rec.(type) {
	case *Instance:
		v.putInstance(r, mod)
	case *Catalogue:
		v.putCatalogue(r, mod)
	case *Group:
		v.putGroup(r, mod)
	case *Project:
		v.putProject(r, mod)
	case *User:
		v.putUser(r, mod)
	case *Members:
		v.putMembers(r, mod)
	case *Allowlist:
		v.putAllowlist(r, mod)
	case *Job:
		v.putJob(r, mod)
	case *Replaced:
		v.putReplaced(r, mod)
	case *Runner:
		v.putRunner(r, mod)
	case *Death:
		v.putDeath(r, mod)
	case *Request:
		v.putRequest(r, mod)
	case *Leases:
		v.counts[KindLeases] = 1
		v.leases, v.leasesMod = r, mod
	case *Directory:
		v.counts[KindDirectory], v.directoryMod = 1, mod
	default:
		panic(fmt.Sprintf("state: the view has no place for a %T", rec))
	}
}

func (v *View) delete(k Key) {
	id, _ := k.number()
	switch k.Kind() {
	case KindInstance:
		v.deleteInstance()
	case KindCatalogue:
		v.deleteCatalogue()
	case KindGroup:
		v.deleteGroup(id)
	case KindProject:
		v.deleteProject(id)
	case KindUser:
		v.deleteUser(id)
	case KindMembers:
		v.deleteMembers(id)
	case KindAllowlist:
		v.deleteAllowlist(id)
	case KindJob:
		v.deleteJob(string(k[1:]))
	case KindReplaced:
		v.deleteReplaced(authz.Digest([]byte(k[1:])))
	case KindRunner:
		v.deleteRunner(string(k[1:]))
	case KindDeath:
		v.deleteDeath(id)
	case KindRequest:
		v.deleteRequest(string(k[1:]))
	case KindLeases:
		v.counts[KindLeases] = 0
		v.leases, v.leasesMod = nil, 0
	case KindDirectory:
		v.counts[KindDirectory], v.directoryMod = 0, 0
	default:
		panic(fmt.Sprintf("state: the view knows no kind %d", k.Kind()))
	}
}

// Mark tells which point of which history the view is at. Its Chain is zero: stores
// keep that.
func (v *View) Mark() Mark {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return Mark{Epoch: v.epoch, Revision: v.revision}
}

// Stamp gives the greatest stamp applied.
func (v *View) Stamp() authz.Stamp {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.stamp
}

// Counts gives the number of records by [Kind].
func (v *View) Counts() [NumKinds]int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.counts
}
