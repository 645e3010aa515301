// Package audit is the record of who did what: every change of state, every denial of a
// token, and a sample of the allows. Changes are written in the very commit that makes
// them, so neither can exist without the other. Decisions are collected by a
// [Recorder], which counts equal denials together and writes them a few seconds
// later; what a crash can lose is those seconds of decisions, never a change.
package audit

import "github.com/jobward/jobward/pdp/authz"

// VerbCheck is the verb of an event that tells of a decision; all others tell of a
// change and carry the name of the call that made it.
const VerbCheck = "check"

// Event is one entry. Zero fields do not apply. The names in JSON are those of stores from
// before codec.go.
type Event struct {
	// Time is when it happened. Revision is the change's own, or for a decision the
	// one it was judged at.
	Time     authz.Stamp    `json:"t"`
	Revision authz.Revision `json:"rev,omitempty"`
	// Actor is the authenticated caller; OnBehalf the user it acted for.
	Actor    string       `json:"actor"`
	OnBehalf authz.UserID `json:"for,omitempty"`
	Verb     string       `json:"verb"`
	// Reason is that of the decision, by its name.
	Reason string `json:"reason,omitempty"`

	Job        authz.JobID      `json:"job,omitempty"`
	Source     authz.ProjectID  `json:"source,omitempty"`
	Target     authz.ProjectID  `json:"target,omitempty"`
	User       authz.UserID     `json:"user,omitempty"`
	Permission authz.Permission `json:"permission,omitempty"`
	// Count is how many equal decisions the event stands for, or how many records a
	// change touched.
	Count uint64 `json:"n,omitempty"`
	// Detail says the rest in words.
	Detail string `json:"detail,omitempty"`
	// Decision is the id of the (last) decision, as given to the caller.
	Decision string `json:"decision,omitempty"`
}

// Denial reports whether the event tells of a refusal.
func (e Event) Denial() bool {
	r, ok := authz.ParseReason(e.Reason)
	return ok && e.Verb == VerbCheck && !r.Allows()
}

// Filter chooses events; a zero field chooses all.
type Filter struct {
	Job     authz.JobID
	Project authz.ProjectID // as source or as target
	User    authz.UserID    // as the job's user, as the one acted for, or as the one changed
	Actor   string
	Verb    string
	Reason  string
	// Denials chooses refusals only, Changes everything but decisions.
	Denials, Changes bool
}

// Match reports whether the filter chooses e.
func (f Filter) Match(e Event) bool {
	return (f.Job == "" || f.Job == e.Job) &&
		(f.Project == 0 || f.Project == e.Source || f.Project == e.Target) &&
		(f.User == 0 || f.User == e.User || f.User == e.OnBehalf) &&
		(f.Actor == "" || f.Actor == e.Actor) &&
		(f.Verb == "" || f.Verb == e.Verb) &&
		(f.Reason == "" || f.Reason == e.Reason) &&
		(!f.Denials || e.Denial()) &&
		(!f.Changes || e.Verb != VerbCheck)
}
