package policy

import (
	"fmt"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
)

// Step is what one rule saw and said.
type Step struct {
	// Rule is the number in the package comment, 1 for R1.
	Rule int
	// Name says in a few words what the rule is about.
	Name string
	// Saw tells what it looked at; empty when there is nothing to tell.
	Saw string
	// Reason is ReasonNone when the rule passed, else what it said. A refusal after
	// the first one did not decide; it tells what would have come next.
	Reason authz.Reason
}

type recorder struct {
	steps []Step
	saw   string
}

// Explain answers req as Decide does, and tells every rule in order with what it
// saw. It goes on after a refusal as far as there is something to look at, so that
// the token of a job that has ended still shows how it would have been judged.
func (k *Walk) Explain(w World, req authz.Request, now authz.Stamp) (authz.Decision, []Step) {
	rec := &recorder{}
	d := k.run(w, &req, now, rec)
	return d, rec.steps
}

// Explain explains one question with a walk of its own.
func Explain(w World, req authz.Request, now authz.Stamp) (authz.Decision, []Step) {
	return new(Walk).Explain(w, req, now)
}

func (r *recorder) end(i int, reason authz.Reason) {
	r.steps = append(r.steps, Step{Rule: i + 1, Name: rules[i].name, Saw: r.saw, Reason: reason})
	r.saw = ""
}

// The functions below put what a rule saw into words. They are called with a recorder
// only: a decision makes no text.

func (k *Walk) sawf(format string, args ...any) { k.rec.saw = fmt.Sprintf(format, args...) }

func either[T any](b bool, yes, no T) T {
	if b {
		return yes
	}
	return no
}

// above adds the severest state where it is that of a group.
func above(own, worst authz.ProjectState) string {
	return either(worst == own, "", fmt.Sprintf(", and a group above it is %s", worst))
}

// killed adds what a death of the source or the user means for this token.
func (k *Walk) killed(before authz.Revision) string {
	return either(before == 0, "", fmt.Sprintf("; tokens issued before revision %d are dead, this one is of %d", before, k.tok.Issued))
}

func when(s authz.Stamp) string {
	return either(s == 0, "no set time", s.Time().Format("2006-01-02T15:04:05.000Z07:00"))
}

func (k *Walk) sawLimit(none bool, list any) {
	if k.sawf("the job set itself no limit"); !none {
		k.sawf("the job limited itself to %v", list)
	}
}

func (k *Walk) sawHeartbeat() {
	if k.sawf("no heartbeat was agreed"); k.tok.Lapsed || k.tok.Deadline != 0 {
		k.sawf("the heartbeat term ends at %s%s", when(k.tok.Deadline), either(k.tok.Lapsed, ", and has been noted as lapsed", ""))
	}
}

func (k *Walk) sawOutbound() {
	switch {
	case k.self:
		k.sawf("own project")
	case !k.src.OutboundOn:
		k.sawf("the source does not limit its outbound access")
	case k.tgt.Visibility != authz.Private:
		k.sawf("the source limits its outbound access; the target is not private")
	default:
		k.sawf("the source limits its outbound access, and %s the target", either(k.outOK, "lists", "does not list"))
	}
}

func (k *Walk) sawInbound() {
	saw := "the target's list is on, and has no entry for the source"
	if k.listed {
		saw = "the target's list is on; the nearest entry for the source is that for " + k.dec.Entry.String()
	}
	if k.open {
		saw += "; the target is open to the user" + either(k.exempt, ", and lists do not bind there", "")
	}
	k.sawf("%s", saw)
}

func (k *Walk) sawFeatures() {
	saw := "asks for no feature"
	for i, f := range k.perm.Features {
		saw = either(i == 0, "", saw+", ") + f.String() + " is " + k.tgt.Features[f].String()
	}
	k.sawf("%s; the source is %s", saw, either(k.inScope(), "let in", "not let in"))
}

func (k *Walk) sawState() {
	saw := ""
	if k.frozen {
		saw += ", archived or scheduled for deletion"
	}
	if k.tgtWorst == authz.StateDeletionInProgress {
		saw += ", being deleted"
	}
	if k.tgt.ReadOnly {
		saw += ", with a read-only repository"
	}
	k.sawf("a %s; the target is %s", actionNames[k.perm.Action], either(saw == "", "active", strings.TrimPrefix(saw, ", ")))
}

// sawEntry adds to what the rule saw before.
func (k *Walk) sawEntry() {
	saw := either(k.rec.saw == "", "", k.rec.saw+"; ")
	if k.entry.Default {
		k.sawf("%sthe entry for %s has default permissions", saw, k.dec.Entry)
		return
	}
	k.sawf("%sthe entry for %s grants %v; needed: %v", saw, k.dec.Entry, k.entry.Policies, k.perm.Policies)
}
