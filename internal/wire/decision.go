package wire

import (
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/pdp/authz"
)

// inlineKeys is how many keys an answer holds without another allocation: those of a
// question by id between two projects eight groups deep.
const inlineKeys = 24

// CheckResponse makes the answer to a Check. It copies what it needs of d, apart from
// the strings and Missing, which never change. id names the decision in logs.
func CheckResponse(d *authz.Decision, id string) *jobwardv1.CheckResponse {
	// The server marshals it after the handler has returned, so it cannot come from a
	// pool: one allocation with everything inside is the least there is.
	c := new(struct {
		response jobwardv1.CheckResponse
		answer   answer
		keys     [inlineKeys]uint64
	})
	c.answer.fill(d, id, c.keys[:0])
	c.response.Decision = &c.answer.msg
	return &c.response
}

// DecisionToProto makes the message of one decision.
func DecisionToProto(d *authz.Decision, id string) *jobwardv1.Decision {
	return CheckResponse(d, id).Decision
}

// Answers makes the messages of many decisions, a handful of allocations for all. The
// zero Answers is ready. It is for one goroutine.
type Answers struct {
	slab []answer
	msgs []*jobwardv1.Decision
	keys []uint64
}

// Reset forgets what was added, makes room for n answers, and takes back the memory
// of those given out before: they must have been sent.
func (a *Answers) Reset(n int) {
	if cap(a.slab) < n {
		a.slab = make([]answer, 0, n)
	}
	a.slab, a.msgs, a.keys = a.slab[:0], slices.Grow(a.msgs[:0], n), a.keys[:0]
}

// Add adds a decision; it copies as [CheckResponse] does.
func (a *Answers) Add(d *authz.Decision, id string) {
	if len(a.slab) == cap(a.slab) { // the messages given out stay where they are
		a.slab = make([]answer, 0, max(8, 2*cap(a.slab)))
	}
	a.slab = a.slab[:len(a.slab)+1]
	next := &a.slab[len(a.slab)-1]
	a.keys = next.fill(d, id, a.keys)
	a.msgs = append(a.msgs, &next.msg)
}

// Decisions gives the messages in the order they were added, good until Reset.
func (a *Answers) Decisions() []*jobwardv1.Decision { return a.msgs }

// answer is a Decision message together with what it points to.
type answer struct {
	msg              jobwardv1.Decision
	validFor         durationpb.Duration
	entry, roleScope jobwardv1.Scope
}

// fill overwrites every field. The keys are appended to keys, which is given back.
func (a *answer) fill(d *authz.Decision, id string, keys []uint64) []uint64 {
	m := &a.msg
	m.Allow, m.Reason, m.Revision = d.Allow, ReasonToProto(d.Reason), uint64(d.Revision)
	m.JobId, m.SourceProjectId, m.UserId = string(d.Job), int64(d.Source), int64(d.User)
	m.TargetProjectId = int64(d.Target)
	m.Role, m.NeededRole = RoleToProto(d.Role), RoleToProto(d.Need)
	m.MissingPolicies, m.DecisionId = d.Missing, id
	m.AnswerNumber, m.Cached = d.Number, d.Cached

	m.ValidFor = nil
	if d.ValidFor != 0 {
		a.validFor.Seconds = int64(d.ValidFor / time.Second)
		a.validFor.Nanos = int32(d.ValidFor % time.Second)
		m.ValidFor = &a.validFor
	}
	m.Entry, m.RoleScope = nil, nil
	if d.Entry.Kind != authz.ScopeNone {
		setScope(&a.entry, d.Entry)
		m.Entry = &a.entry
	}
	if d.RoleScope.Kind != authz.ScopeNone {
		setScope(&a.roleScope, d.RoleScope)
		m.RoleScope = &a.roleScope
	}
	m.Feature = jobwardv1.Feature_FEATURE_UNSPECIFIED
	if ofFeature(d.Reason) {
		m.Feature = FeatureToProto(d.Feature)
	}

	from := len(keys)
	for _, k := range d.Keys {
		keys = append(keys, uint64(k))
	}
	m.DependencyKeys = keys[from:len(keys):len(keys)]
	return keys
}

// ofFeature reports whether Decision.Feature means something: its zero value is a
// feature, too.
func ofFeature(r authz.Reason) bool {
	return r == authz.FeatureIsDisabled || r == authz.FeatureMembersOnly
}

// DecisionFromProto reads a decision that a server gave. It fails where the message
// contradicts itself or names something that this version does not know; like every
// error, that must be taken for a refusal. The slices are the caller's.
func DecisionFromProto(m *jobwardv1.Decision) (authz.Decision, error) {
	if m == nil {
		return authz.Decision{}, badAnswer("has no decision")
	}
	reason, ok := ReasonFromProto(m.GetReason())
	switch {
	case !ok:
		return authz.Decision{}, badAnswer("gives a reason that this version does not know")
	case reason == authz.ReasonNone:
		return authz.Decision{}, badAnswer("gives no reason")
	case m.GetAllow() != reason.Allows():
		return authz.Decision{}, badAnswer("contradicts itself: its reason does not go with its outcome")
	}
	d := authz.Decision{
		Allow: m.GetAllow(), Reason: reason, Revision: authz.Revision(m.GetRevision()), ValidFor: m.GetValidFor().AsDuration(),
		Job: authz.JobID(m.GetJobId()), Source: authz.ProjectID(m.GetSourceProjectId()), User: authz.UserID(m.GetUserId()),
		Target: authz.ProjectID(m.GetTargetProjectId()), Missing: m.GetMissingPolicies(), Number: m.GetAnswerNumber(), Cached: m.GetCached(),
	}
	var known [5]bool
	d.Entry, known[0] = ScopeFromProto(m.GetEntry())
	d.RoleScope, known[1] = ScopeFromProto(m.GetRoleScope())
	d.Role, known[2] = RoleFromProto(m.GetRole())
	d.Need, known[3] = RoleFromProto(m.GetNeededRole())
	known[4] = true
	if ofFeature(reason) {
		d.Feature, known[4] = FeatureFromProto(m.GetFeature())
	}
	if known != [5]bool{true, true, true, true, true} {
		return authz.Decision{}, badAnswer("names a scope, role or feature that this version does not know")
	}
	if n := len(m.GetDependencyKeys()); n > 0 {
		d.Keys = make([]authz.Key, n)
		for i, k := range m.GetDependencyKeys() {
			d.Keys[i] = authz.Key(k)
		}
	}
	return d, nil
}

func badAnswer(what string) error {
	return authz.Errorf(authz.KindInternal, "BAD_ANSWER",
		"the policy decision point's answer %s; if it is newer than this program, upgrade this program first", what)
}
