package policy_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/scenario"
)

var update = flag.Bool("update", false, "rewrite reasons and transcripts in testdata with what policy says; read the difference")

// TestRules runs the small cases of each rule. A denial in the file of a rule has to
// be that rule's own, an allow has to pass it, and the reason is the one that stands
// there. The answers are written by hand from SEMANTICS; -update rewrites reasons
// only, so that it cannot turn an allow into a denial.
func TestRules(t *testing.T) {
	for _, rule := range []struct{ name, about string }{
		{"R1", "the token is one, and some job has it"},
		{"R2", "not replaced, its time is not over"},
		{"R3", "the job is running or canceling"},
		{"R4", "the job is not erased"},
		{"R5", "the heartbeat has not lapsed"},
		{"R6", "the source exists and is not being deleted"},
		{"R7", "the user is active"},
		{"R8", "the permission exists and belongs to the surface"},
		{"R9", "the job's own limit on permissions"},
		{"R10", "a question about the job itself"},
		{"R11", "the target exists"},
		{"R12", "the job's own limit on targets"},
		{"R13", "own project only"},
		{"R14", "outbound"},
		{"R15", "inbound, and the nearest entry"},
		{"R16", "pushes"},
		{"R17", "features"},
		{"R18", "roles and the public set"},
		{"R19", "the state of the target"},
		{"R20", "fine-grained permissions"},
	} {
		t.Run(rule.name, func(t *testing.T) {
			file := filepath.Join("testdata", "rules", rule.name+".yaml")
			n, denied := 0, 0
			for _, s := range scenarios(t, file) {
				n++
				d, steps, err := scenario.Run(s)
				if err != nil {
					t.Fatal(err)
				}
				if !d.Allow {
					denied++
				}
				if *update {
					rewrite(t, file, s, d.Reason)
					s.ExpectReason = d.Reason.String()
				}
				if wrong := s.Judge(d); wrong != "" {
					t.Errorf("%s:%d: %s: %s; %s\n%s", file, s.Line, s.ID, wrong, s.Why, transcript(d, steps))
				}
				for _, st := range steps {
					if st.Reason == authz.ReasonNone {
						continue
					}
					if got := "R" + strconv.Itoa(st.Rule); !d.Allow && got != rule.name {
						t.Errorf("%s: %s refused it, not %s", s.ID, got, rule.name)
					}
					break
				}
				if want := newNaive(withUsers(&s.World)).answer(s.Job, s.Request); want != d.Reason.String() {
					t.Errorf("%s: the naive evaluator says %s, policy %s", s.ID, want, d.Reason)
				}
			}
			if n == denied || denied == 0 && rule.name != "R10" {
				t.Errorf("%s (%s) has %d cases, %d of them denials", rule.name, rule.about, n, denied)
			}
		})
	}
	if policy.NumRules != 20 {
		t.Errorf("there are %d rules; this test has 20", policy.NumRules)
	}
}

// withUsers writes out the users that a scenario leaves to its reader.
func withUsers(w *scenario.World) *scenario.World {
	if w.Users == nil {
		c := *w
		c.Users = []scenario.User{{Name: "dev"}}
		return &c
	}
	return w
}

func scenarios(t *testing.T, file string) []*scenario.Scenario {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []*scenario.Scenario
	err = scenario.Read(bytes.NewReader(text), file, func(s scenario.Scenario) error { out = append(out, &s); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// rewrite puts the reason into the text of one scenario and leaves the rest alone.
func rewrite(t *testing.T, file string, s *scenario.Scenario, reason authz.Reason) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	for i := s.Line - 1; i < len(lines); i++ {
		if strings.HasPrefix(lines[i], "expect_reason: ") {
			lines[i] = "expect_reason: " + reason.String() + "\n"
			break
		}
	}
	if err := os.WriteFile(file, []byte(strings.Join(lines, "")), 0o644); err != nil {
		t.Fatal(err)
	}
}
