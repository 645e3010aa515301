package cli

import (
	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

type explainCmd struct{ question }

// Run explains; the exit code is that of check.
func (c *explainCmd) Run(s *session) error {
	q, err := c.build()
	if err != nil {
		return err
	}
	req := &jobwardv1.ExplainRequest{Question: q}
	switch {
	case c.Anonymous:
		req.Subject = &jobwardv1.ExplainRequest_Anonymous{Anonymous: true}
	case c.Job != "":
		req.Subject = &jobwardv1.ExplainRequest_JobId{JobId: c.Job}
	default:
		token, err := c.shown(s)
		if err != nil {
			return err
		}
		req.Subject = &jobwardv1.ExplainRequest_Token{Token: token}
	}
	service, err := s.decisions()
	if err != nil {
		return err
	}
	resp, err := call(s, service.Explain, req)
	if err != nil {
		return err
	}
	err = s.print(resp, func(t *table) {
		decisionRows(t, resp.GetDecision())
		t.row()
		t.row("RULE", "ABOUT", "RESULT", "SAW")
		decided := false
		for _, step := range resp.GetSteps() {
			result := "pass"
			if step.GetReason() != jobwardv1.Reason_REASON_UNSPECIFIED {
				result = enum("REASON", step.GetReason())
				if !decided {
					result, decided = "=> "+result, true
				}
			}
			t.row(step.GetRule(), step.GetName(), result, step.GetSaw())
		}
	})
	if err == nil && !resp.GetDecision().GetAllow() {
		return errDenied
	}
	return err
}
