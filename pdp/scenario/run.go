package scenario

import (
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
)

// Run puts a scenario into a world of its own and asks policy its question, telling
// every rule. An error means that the scenario makes no sense, not that it failed:
// that is for [Scenario.Judge] to say.
func Run(s *Scenario) (authz.Decision, []policy.Step, error) {
	records, req, now, err := s.Records()
	if err != nil {
		return authz.Decision{}, nil, err
	}
	facts, err := NewFacts(records...)
	if err != nil {
		return authz.Decision{}, nil, s.wrap(err)
	}
	facts.At = builtAt
	d, steps := policy.Explain(facts, req, now)
	return d, steps, nil
}
