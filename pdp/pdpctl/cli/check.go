package cli

import (
	"errors"
	"fmt"
	"time"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

// question is what check and explain ask.
type question struct {
	tokenInput
	Job        string `help:"Ask for the newest token of this job instead of giving a token (needs the admin role)."`
	Anonymous  bool   `help:"Ask what a visitor without any token may do."`
	Target     string `placeholder:"PROJECT" help:"Project asked for; the job's own questions need none."`
	Permission string `required:"" short:"p" help:"What the job wants to do there, such as read_packages."`
	Surface    string `enum:"default,policy,rest,git,registry,graphql,unlisted" default:"default" help:"Kind of door: default (the permission's own), policy, rest, git, registry, graphql or unlisted."`
}

func (c *question) build() (*jobwardv1.Question, error) {
	if c.Anonymous && (c.Job != "" || c.TokenFile != "" || c.Token == "-") {
		return nil, errors.New("--anonymous asks about no token: leave out the token and --job, or it")
	}
	surface, err := authz.ParseSurface(c.Surface)
	if err != nil {
		return nil, err
	}
	q := &jobwardv1.Question{TargetProjectId: number(c.Target), Permission: c.Permission, Surface: wire.SurfaceToProto(surface)}
	if q.TargetProjectId == 0 {
		q.TargetProjectPath = c.Target
	}
	return q, nil
}

type checkCmd struct{ question }

// Run checks. With --job it asks Explain, which needs no token, and prints the decision alone.
func (c *checkCmd) Run(s *session) error {
	q, err := c.build()
	if err != nil {
		return err
	}
	service, err := s.decisions()
	if err != nil {
		return err
	}
	var d *jobwardv1.Decision
	req := &jobwardv1.CheckRequest{
		TargetProjectId: q.TargetProjectId, TargetProjectPath: q.TargetProjectPath, Permission: q.Permission, Surface: q.Surface,
	}
	if c.Job != "" {
		resp, err := call(s, service.Explain, &jobwardv1.ExplainRequest{Subject: &jobwardv1.ExplainRequest_JobId{JobId: c.Job}, Question: q})
		if err != nil {
			return err
		}
		d = resp.GetDecision()
	} else {
		if c.Anonymous {
			req.TokenDigest = authz.Nobody[:]
		} else if req.Token, err = c.shown(s); err != nil {
			return err
		}
		resp, err := call(s, service.Check, req)
		if err != nil {
			return err
		}
		d = resp.GetDecision()
	}
	if err := s.print(d, func(t *table) { decisionRows(t, d) }); err != nil {
		return err
	}
	if !d.GetAllow() {
		return errDenied
	}
	return nil
}

// shown reads the token that the question is about.
func (c *question) shown(s *session) (string, error) {
	token, err := c.read(s)
	if err == nil && token == "" {
		err = errNoToken
	}
	return token, err
}

var errNoToken = errors.New("give a token (as - to read it from standard input, by --token-file, or in JOBWARD_TOKEN), --job or --anonymous")

func decisionRows(t *table, d *jobwardv1.Decision) {
	word := "DENY"
	if d.GetAllow() {
		word = "ALLOW"
	}
	t.linef("%s  %s: %s", word, enum("REASON", d.GetReason()), reasonText(d.GetReason()))
	if a := advice(d); a != "" {
		t.linef("what would help: %s", a)
	}
	t.row("job", or(d.GetJobId()))
	t.row("source project", or(d.GetSourceProjectId()))
	t.row("user", or(d.GetUserId()))
	t.row("target project", or(d.GetTargetProjectId()))
	if d.GetEntry() != nil {
		t.row("allowlist entry", scope(d.GetEntry()))
	}
	if d.GetRole() != jobwardv1.Role_ROLE_UNSPECIFIED {
		t.row("role", fmt.Sprintf("%s from %s", enum("ROLE", d.GetRole()), scope(d.GetRoleScope())))
	}
	t.row("revision", d.GetRevision())
	if d.GetCached() {
		t.row("cached", "yes: nothing that it rests on has changed since that revision")
	}
	if d.GetValidFor() != nil && d.GetJobId() != "" { // a visitor has no token that lives
		t.row("token lives for", d.GetValidFor().AsDuration().Round(time.Second))
	}
	if d.GetDecisionId() != "" {
		t.row("decision", d.GetDecisionId())
	}
}

// scope names a project or group in words.
func scope(p *jobwardv1.Scope) string {
	if id := p.GetProjectId(); id != 0 {
		return fmt.Sprintf("project %d", id)
	}
	if id := p.GetGroupId(); id != 0 {
		return fmt.Sprintf("group %d", id)
	}
	return "-"
}

func reasonText(r jobwardv1.Reason) string {
	reason, ok := wire.ReasonFromProto(r)
	if !ok {
		return "a reason that this version does not know"
	}
	return reason.Text()
}
