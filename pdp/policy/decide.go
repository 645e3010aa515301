package policy

import (
	"time"

	"github.com/jobward/jobward/pdp/authz"
)

// rule is one numbered step of the walk. Its function gives ReasonNone to go on, an
// allowing reason to end the walk at once, or a refusal. last says that after a
// refusal there is nothing for the later rules to look at.
type rule struct {
	name  string
	last  bool
	apply func(*Walk) authz.Reason
}

// rules is the walk in order: R1 is at index 0.
var rules = [...]rule{
	{"token", true, (*Walk).token},
	{"expiry", false, (*Walk).expiry},
	{"job status", false, (*Walk).status},
	{"erased", false, (*Walk).erased},
	{"heartbeat", false, (*Walk).heartbeat},
	{"source project", false, (*Walk).source},
	{"user", false, (*Walk).userState},
	{"permission", true, (*Walk).permission},
	{"job's own limits: permission", false, (*Walk).limitedPermission},
	{"own job", true, (*Walk).ownJob},
	{"target", true, (*Walk).findTarget},
	{"job's own limits: target", false, (*Walk).limitedTarget},
	{"own project", false, (*Walk).ownProject},
	{"outbound list", false, (*Walk).outbound},
	{"inbound list", false, (*Walk).inbound},
	{"push switch", false, (*Walk).push},
	{"features", false, (*Walk).features},
	{"role", false, (*Walk).role},
	{"target state", false, (*Walk).targetState},
	{"fine-grained permissions", false, (*Walk).fineGrained},
}

// NumRules is the number of rules, R1 to R20.
const NumRules = len(rules)

// Walk is the memory of one decision, kept apart so that a caller can use it again
// and decide without allocating. The zero Walk is ready. It is not safe for
// concurrent use.
type Walk struct {
	w   World
	req authz.Request // by value: a pointer would move every caller's question to the heap
	now authz.Stamp
	dec authz.Decision
	rec *recorder

	tok    Token
	user   User
	src    Project
	tgt    Project
	perm   *Permission
	groups []Group // buffer for ancestors
	tgtGr  []Group // the groups above the target
	// tgtWorst is the severest state among the target and the groups above it.
	tgtWorst authz.ProjectState
	frozen   bool // one of them is archived or scheduled for deletion

	surface    authz.Surface
	self       bool
	open       bool // the target is open to the user without any membership
	exempt     bool // lists do not bind on this target
	outOK      bool
	inOn       bool // the target's inbound list is in force
	listed     bool // an entry lets the source in
	entry      Entry
	memberNeed authz.Role // least role for the features kept to members
	byOpen     bool       // allowed by openness, not by a role
	role_      bool       // dec.Role is known
}

// Decide answers req as of now. The Keys of the decision belong to the walk and are
// good until its next use.
func (k *Walk) Decide(w World, req authz.Request, now authz.Stamp) authz.Decision {
	return k.run(w, &req, now, nil)
}

// Decide answers one question with a walk of its own.
func Decide(w World, req authz.Request, now authz.Stamp) authz.Decision {
	return new(Walk).Decide(w, req, now)
}

func (k *Walk) run(w World, req *authz.Request, now authz.Stamp, rec *recorder) authz.Decision {
	*k = Walk{
		w: w, req: *req, now: now, rec: rec, groups: k.groups[:0], tgtGr: k.tgtGr[:0],
		dec: authz.Decision{Revision: w.Revision(), Keys: k.dec.Keys[:0]},
	}
	verdict, walk := authz.ReasonNone, &rules
	var first authz.Decision // the decision as it stood at the first refusal, when explaining
	for i := 0; i < len(walk); i++ {
		r := walk[i].apply(k)
		if rec != nil {
			rec.end(i, r)
		}
		if r == authz.ReasonNone {
			continue
		}
		if r == authz.TokenMissing && walk == &rules { // R1 found nobody: once more from the start
			if i, walk = -1, &visitorRules; rec != nil {
				rec.steps = nil
			}
			continue
		}
		if verdict == authz.ReasonNone {
			verdict, first = r, k.dec
		}
		if rec == nil || walk[i].last || r.Allows() {
			break
		}
	}
	if verdict == authz.ReasonNone {
		verdict, first = k.allowed(), k.dec
	}
	first.Reason, first.Allow = verdict, verdict.Allows()
	switch {
	case k.tok.Job != "" && !verdict.Dead():
		first.ValidFor = k.validFor()
	case walk == &visitorRules:
		first.ValidFor = authz.VisitorTerm
	}
	k.w, k.rec = nil, nil
	k.dec.Keys = first.Keys
	return first
}

// allowed names what let an allowed request through. Where lists do not bind, an
// entry is not what did, except for a push, which needs one even there (R16).
func (k *Walk) allowed() authz.Reason {
	switch {
	case k.byOpen:
		return authz.AllowedOpen
	case k.self:
		return authz.AllowedSelf
	case k.exempt && k.perm.Action != ActionPush:
		return authz.AllowedExempt
	case k.listed:
		return authz.AllowedListed
	}
	return authz.AllowedListOff
}

func (k *Walk) validFor() time.Duration {
	end := k.tok.Expires
	if d := k.tok.Deadline; d != 0 && (end == 0 || d < end) {
		end = d
	}
	if end <= k.now {
		return 0
	}
	return end.Sub(k.now)
}

func (k *Walk) key(key authz.Key) { k.dec.Keys = append(k.dec.Keys, key) }

// ancestors looks up the groups above a project, notes their keys, and gives the
// severest state of the project and of them.
func (k *Walk) ancestors(id authz.ProjectID, own authz.ProjectState, buf []Group) ([]Group, authz.ProjectState) {
	buf = k.w.Ancestors(id, buf[:0])
	worst := own
	for i := range buf {
		k.key(authz.GroupKey(buf[i].ID))
		worst = max(worst, buf[i].State)
	}
	return buf, worst
}
