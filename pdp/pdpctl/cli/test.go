package cli

import (
	"errors"
	"fmt"
	"os"
	"regexp"

	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/scenario"
)

// testCmd is "pdpctl test". It asks policy in process, or, when --address is given, a PDP.
type testCmd struct {
	Files []string `arg:"" name:"file" help:"Scenario files: JSON lines, or a YAML stream."`
	Only  string   `name:"run" placeholder:"REGEX" help:"Only scenarios whose id matches."`

	AllowSettingsChanges bool `help:"Against a PDP: give it the settings and catalogue of each scenario, for everybody, and put its own back at the end. Without it scenarios with others are skipped."`
}

// Help explains what the flags cannot.
func (*testCmd) Help() string {
	return `Without --address the scenarios are judged in process and nothing is contacted.

With --address (or JOBWARD_ADDRESS) each runs against that PDP, in a scratch world beside what it holds: all names begin with pdpctl-test-,
and all of it is removed again, also after a failure or Ctrl-C. The caller needs the admin role. Scenarios that need other settings than the
PDP has, or a state that no call can make, are skipped and counted.`
}

// tally counts scenarios.
type tally struct{ passed, failed, skipped int }

// Run goes through the files.
func (c *testCmd) Run(s *session) error {
	only, err := regexp.Compile(c.Only)
	if err != nil {
		return fmt.Errorf("--run: %w", err)
	}
	one := testHere
	var b *bench
	if s.addressGiven {
		if b, err = s.bench(c.AllowSettingsChanges); err != nil {
			return err
		}
		one = b.test
	}
	var n tally
	for _, name := range c.Files {
		if err = s.testFile(name, only, one, &n); err != nil {
			break
		}
	}
	if b != nil {
		if back := b.close(); back != nil {
			err = errors.Join(err, fmt.Errorf("the settings of the PDP could not be put back to %v: %w", b.home, back))
		}
	}
	if err != nil {
		return err
	}
	if n == (tally{}) {
		return fmt.Errorf("no scenario was run: the files are empty, or --run matches none of them")
	}
	fmt.Fprintf(s.out, "%d passed, %d failed, %d skipped\n", n.passed, n.failed, n.skipped)
	if n.failed > 0 {
		return errDenied
	}
	return nil
}

// verdict is what became of one scenario: nothing when it passed.
type verdict struct {
	failed, skipped string
	steps           []policy.Step
}

func (s *session) testFile(name string, only *regexp.Regexp, one func(*scenario.Scenario) verdict, n *tally) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return scenario.Read(f, name, func(sc scenario.Scenario) error {
		if err := s.ctx.Err(); err != nil {
			return fmt.Errorf("interrupted after %d scenarios", n.passed+n.failed+n.skipped)
		}
		if !only.MatchString(sc.ID) {
			return nil
		}
		switch v := one(&sc); {
		case v.skipped != "":
			n.skipped++
			fmt.Fprintf(s.out, "SKIP %s:%d: %s: %s\n", sc.File, sc.Line, sc.ID, v.skipped)
		case v.failed != "":
			n.failed++
			s.drawFailure(&sc, v)
		default:
			n.passed++
		}
		return nil
	})
}

func (s *session) drawFailure(sc *scenario.Scenario, v verdict) {
	fmt.Fprintf(s.out, "FAIL %s:%d: %s: %s\n", sc.File, sc.Line, sc.ID, v.failed)
	if sc.Why != "" {
		fmt.Fprintf(s.out, "     why: %s\n", sc.Why)
	}
	for _, step := range v.steps {
		said := "pass"
		if step.Reason != 0 {
			said = step.Reason.String()
		}
		fmt.Fprintf(s.out, "     R%-2d  %-24s %-20s %s\n", step.Rule, step.Name, said, step.Saw)
	}
}

// testHere asks policy in process.
func testHere(sc *scenario.Scenario) verdict {
	d, steps, err := scenario.Run(sc)
	if err != nil {
		return verdict{failed: err.Error()}
	}
	return verdict{failed: sc.Judge(d), steps: steps}
}
