package cli

import (
	"fmt"
	"os"
	"regexp"

	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/scenario"
)

// testCmd is "pdpctl test".
type testCmd struct {
	Files []string `arg:"" name:"file" help:"Scenario files: JSON lines, or a YAML stream."`
	Run_  string   `name:"run" placeholder:"REGEX" help:"Only scenarios whose id matches."`
}

// tally counts scenarios.
type tally struct{ passed, failed, skipped int }

// Run goes through the files.
func (c *testCmd) Run(s *session) error {
	only, err := regexp.Compile(c.Run_)
	if err != nil {
		return fmt.Errorf("--run: %w", err)
	}
	if s.addressGiven {
		return fmt.Errorf("test runs in process only: leave --address and JOBWARD_ADDRESS out")
	}
	var n tally
	for _, name := range c.Files {
		if err := s.testFile(name, only, s.testHere, &n); err != nil {
			return err
		}
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
func (s *session) testHere(sc *scenario.Scenario) verdict {
	d, steps, err := scenario.Run(sc)
	if err != nil {
		return verdict{failed: err.Error()}
	}
	return verdict{failed: sc.Judge(d), steps: steps}
}
