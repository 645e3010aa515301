package policy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/scenario"
)

// transcript prints a decision and what every rule saw, R1 to R20, as the golden
// files have it.
func transcript(d authz.Decision, steps []policy.Step) string {
	var b strings.Builder
	for _, s := range steps {
		verdict := "passes"
		if s.Reason != authz.ReasonNone {
			verdict = s.Reason.String()
		}
		fmt.Fprintf(&b, "R%-3d %-30s %-20s %s\n", s.Rule, s.Name, verdict, s.Saw)
	}
	answer := "denied"
	if d.Allow {
		answer = "allowed"
	}
	fmt.Fprintf(&b, "\n%s: %s, %s\n", answer, d.Reason, d.Reason.Text())
	return b.String()
}

// TestTranscripts compares what Explain says with texts that people have read.
func TestTranscripts(t *testing.T) {
	for _, s := range scenarios(t, "testdata/explain.yaml") {
		d, steps, err := scenario.Run(s)
		if err != nil {
			t.Fatal(err)
		}
		if wrong := s.Judge(d); wrong != "" {
			t.Errorf("%s: %s", s.ID, wrong)
		}
		got := "# " + s.Why + "\n\n" + transcript(d, steps)
		file := filepath.Join("testdata", "explain", s.ID+".txt")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || string(want) != got {
			t.Errorf("%s: %v\n--- have\n%s--- want\n%s", file, err, got, want)
		}
	}
}

// explained checks the answer of Explain against that of Decide on the same question,
// and what holds of every explanation. It gives the first complaint.
func explained(d, e authz.Decision, steps []policy.Step) string {
	if !slices.Equal(d.Keys, e.Keys) {
		return fmt.Sprintf("Decide rests on %v, Explain on %v", d.Keys, e.Keys)
	}
	if d.Keys, e.Keys = nil, nil; !reflect.DeepEqual(d, e) {
		return fmt.Sprintf("Decide says %+v, Explain %+v", d, e)
	}
	first := authz.ReasonNone
	for i, s := range steps {
		if s.Rule != i+1 || s.Name == "" {
			return fmt.Sprintf("step %d is R%d %q", i, s.Rule, s.Name)
		}
		if first == authz.ReasonNone {
			first = s.Reason
		}
	}
	switch {
	case first == authz.ReasonNone && len(steps) < policy.NumRules:
		return fmt.Sprintf("it ends after R%d without a reason", len(steps))
	case first != authz.ReasonNone && first != d.Reason:
		return fmt.Sprintf("the first rule to speak says %s, the decision %s", first, d.Reason)
	case first == authz.ReasonNone && !d.Allow:
		return "every rule passes, and it is denied"
	}
	return ""
}

// promised checks what holds of every decision: P8, and what the fields of a decision
// promise.
func promised(d authz.Decision) string {
	switch {
	case d.Allow != d.Reason.Allows():
		return "Allow is not what the reason says (P8)"
	case d.Reason == authz.ReasonNone || d.Reason == authz.LeaseLapsed:
		return "a reason that policy does not give (P8)"
	case d.ValidFor == authz.VisitorTerm: // no token of these worlds lives so long
		return promisedVisitor(d)
	case d.Reason == authz.TokenMissing:
		return "a token that is shown and missing"
	case d.Allow && (d.ValidFor <= 0 || d.Target == 0 || d.Job == "" || d.Source == 0 || d.User == 0):
		return "an allow without a job, a target or an end"
	case d.Reason.Dead() && d.ValidFor != 0:
		return "a dead token that is good for a while"
	case (d.Need != authz.RoleNone) != (d.Reason == authz.NotMember || d.Reason == authz.RoleTooLow || d.Reason == authz.PipelinesNotPublic && d.Role != authz.RoleNone):
		return "Need is set where it should not be, or the other way round"
	case d.Need != authz.RoleNone && d.Role >= d.Need:
		return "the role that would have done is there"
	case (len(d.Missing) > 0) != (d.Reason == authz.PolicyMissing):
		return "Missing is set where it should not be, or the other way round"
	case d.Reason == authz.AllowedListed && d.Entry == authz.Scope{}:
		return "let in by an entry that is not named"
	case d.Role != authz.RoleNone && d.RoleScope == authz.Scope{}:
		return "a role from nowhere"
	case d.Reason != authz.TokenMalformed && d.Reason != authz.TokenUnknown && len(d.Keys) < 2:
		return "an answer about a job that does not rest on the job"
	}
	return ""
}

// promisedVisitor is promised for an answer about an anonymous visitor.
func promisedVisitor(d authz.Decision) string {
	switch r := d.Reason; {
	case r != authz.AllowedOpen && r != authz.TokenMissing && r != authz.PermissionUnknown && r != authz.SurfaceClosed:
		return "no reason to give to a visitor"
	case d.Job != "" || d.Source != 0 || d.User != 0:
		return "a visitor with a job"
	case d.Entry != (authz.Scope{}) || d.Role != 0 || d.RoleScope != (authz.Scope{}) || d.Need != 0 || d.Feature != 0 || d.Missing != nil:
		return "a visitor is told what a member would be"
	case d.Allow && d.Target == 0:
		return "an allow without a target"
	case !slices.Contains(d.Keys, authz.TheInstance):
		return "it does not rest on the settings"
	}
	for _, k := range d.Keys {
		if k.Kind() == authz.KeyJob || k.Kind() == authz.KeyUser {
			return "it rests on a job or a user"
		}
	}
	return ""
}
