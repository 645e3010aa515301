package policy

import (
	"fmt"

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

func (k *Walk) sawf(format string, args ...any) { k.rec.saw = fmt.Sprintf(format, args...) }

func when(s authz.Stamp) string {
	if s == 0 {
		return "no set time"
	}
	return s.Time().Format("2006-01-02T15:04:05.000Z07:00")
}
