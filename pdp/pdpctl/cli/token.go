package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

type tokenCmd struct {
	Issue      issueCmd      `cmd:"" help:"Issue the token of a job. A second one for the same job replaces the first."`
	Revoke     revokeCmd     `cmd:"" help:"End jobs: when it returns, no check that starts afterwards is allowed for them."`
	Keepalive  keepAliveCmd  `cmd:"" help:"Say that a runner lives, for all its jobs that have a heartbeat term."`
	Introspect introspectCmd `cmd:"" help:"Tell whose token this is, and whether it lives."`
	Reconcile  reconcileCmd  `cmd:"" help:"Say which jobs run: every other job that is not younger is finished."`
	Get        jobGetCmd     `cmd:"" help:"Tell what is known of a job."`
	List       jobListCmd    `cmd:"" help:"List jobs."`
}

// tokenInput is how a verb gets a token: processes of a machine can see each other's arguments, so a file or the environment is better.
type tokenInput struct {
	Token     string `arg:"" optional:"" env:"JOBWARD_TOKEN" help:"The token, or - to read it from standard input. Other processes can see arguments: prefer -, --token-file or JOBWARD_TOKEN."`
	TokenFile string `placeholder:"FILE" help:"File that holds the token."`
}

// read gives the token; empty when none was given.
func (t *tokenInput) read(s *session) (string, error) {
	switch {
	case t.TokenFile != "":
		raw, err := os.ReadFile(t.TokenFile)
		return strings.TrimSpace(string(raw)), err
	case t.Token == "-":
		line, err := bufio.NewReader(io.LimitReader(s.in, 4096)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		return strings.TrimSpace(line), nil
	}
	return t.Token, nil
}

// jobFlags say which job is to have a token.
type jobFlags struct {
	Job      string        `required:"" help:"Id of the job, never used for another."`
	Project  string        `required:"" help:"Project the job runs in."`
	User     string        `required:"" help:"User who caused the job, whose rights the token has."`
	Pipeline int64         `help:"Pipeline, for reports."`
	Ref      string        `help:"Branch or tag, for reports."`
	For      time.Duration `placeholder:"DURATION" help:"How long the token lives at most; the PDP's default otherwise."`
	limitFlags
}

// request is the Issue of the job, with names looked up; the heartbeat and the receipt are the verb's own.
func (c *jobFlags) request(s *session) (*jobwardv1.IssueRequest, error) {
	req := &jobwardv1.IssueRequest{JobId: c.Job, PipelineId: c.Pipeline, Ref: c.Ref}
	var err error
	if req.ProjectId, err = s.projectID(c.Project); err != nil {
		return nil, err
	}
	if req.UserId, err = s.userID(c.User); err != nil {
		return nil, err
	}
	if req.Limits, err = c.limits(s); err != nil {
		return nil, err
	}
	if c.For != 0 {
		req.Timeout = durationpb.New(c.For)
	}
	return req, nil
}

type issueCmd struct {
	jobFlags
	Runner        string        `help:"Runner that sends heartbeats."`
	HeartbeatTerm time.Duration `placeholder:"DURATION" help:"How long the token lives without a heartbeat."`
	ValidateOnly  bool          `help:"Check everything and issue nothing."`
	Quiet         bool          `short:"q" help:"Print the token and nothing else, for TOKEN=$(pdpctl token issue -q …)."`
	waitFlag
}

// Run issues.
func (c *issueCmd) Run(s *session) error {
	req, err := c.request(s)
	if err != nil {
		return err
	}
	req.RunnerId, req.ValidateOnly, req.ReceiptWait = c.Runner, c.ValidateOnly, c.receiptWait()
	if c.HeartbeatTerm != 0 {
		req.HeartbeatTerm = durationpb.New(c.HeartbeatTerm)
	}
	tokens, err := s.tokens()
	if err != nil {
		return err
	}
	resp, err := call(s, tokens.Issue, req)
	if err != nil {
		return err
	}
	if c.Quiet {
		if _, err := fmt.Fprintln(s.out, resp.GetToken()); err != nil {
			return err
		}
		return c.notEffective(c.ValidateOnly, resp.GetReceipt())
	}
	err = s.print(resp, func(t *table) {
		if c.ValidateOnly {
			t.linef("job %s could be issued", c.Job)
			return
		}
		t.row("token", resp.GetToken())
		t.row("ends", clock(resp.GetExpireTime()))
		t.row("revision", resp.GetReceipt().GetRevision())
		if resp.GetReplaced() {
			t.row("replaced", "the job's earlier token, which is dead now")
			t.caches(resp.GetReceipt())
		}
	})
	return errors.Join(err, c.notEffective(c.ValidateOnly, resp.GetReceipt()))
}

// limitFlags are what a job limits itself to.
type limitFlags struct {
	Only        []string `placeholder:"PERMISSION" help:"Limit the job to these permissions."`
	OnlyProject []string `placeholder:"PROJECT" help:"Limit the job to these targets."`
	OnlyGroup   []string `placeholder:"GROUP" help:"Limit the job to targets below these groups."`
}

func (c *limitFlags) limits(s *session) (*jobwardv1.Limits, error) {
	if len(c.Only)+len(c.OnlyProject)+len(c.OnlyGroup) == 0 {
		return nil, nil
	}
	l := &jobwardv1.Limits{Permissions: c.Only}
	for _, p := range c.OnlyProject {
		id, err := s.projectID(p)
		if err != nil {
			return nil, err
		}
		l.Targets = append(l.Targets, &jobwardv1.Scope{ProjectId: id})
	}
	for _, g := range c.OnlyGroup {
		id, err := s.groupID(g)
		if err != nil {
			return nil, err
		}
		l.Targets = append(l.Targets, &jobwardv1.Scope{GroupId: id})
	}
	return l, nil
}

var outcomes = map[string]jobwardv1.Outcome{
	"success": jobwardv1.Outcome_OUTCOME_SUCCESS, "failed": jobwardv1.Outcome_OUTCOME_FAILED, "skipped": jobwardv1.Outcome_OUTCOME_SKIPPED,
	"canceled": jobwardv1.Outcome_OUTCOME_CANCELED, "erased": jobwardv1.Outcome_OUTCOME_ERASED,
}

type revokeCmd struct {
	tokenInput
	Job          []string `help:"Jobs to end, by id."`
	Outcome      string   `enum:"success,failed,skipped,canceled,erased" default:"canceled" help:"How the jobs ended: success, failed, skipped, canceled or erased."`
	ValidateOnly bool     `help:"Say what would happen and change nothing."`
	Progress     bool     `help:"Tell on standard error how the caches let go, one after the other. On a terminal that is done anyway."`
	waitFlag
}

// Run revokes.
func (c *revokeCmd) Run(s *session) error {
	req := &jobwardv1.RevokeRequest{JobIds: c.Job, Outcome: outcomes[c.Outcome], ValidateOnly: c.ValidateOnly, ReceiptWait: c.receiptWait()}
	steps := (c.Progress || isTerminal(s.err)) && !c.ValidateOnly && c.Wait != durable
	if steps {
		req.ReceiptWait = jobwardv1.ReceiptWait_RECEIPT_WAIT_DURABLE
	}
	if len(c.Job) == 0 || c.Token == "-" || c.TokenFile != "" {
		token, err := c.read(s)
		if err != nil {
			return err
		}
		if token != "" {
			req.Tokens = []string{token}
		}
	}
	if len(req.JobIds)+len(req.Tokens) == 0 {
		return errors.New("nothing to revoke: give --job or a token")
	}
	tokens, err := s.tokens()
	if err != nil {
		return err
	}
	resp, err := call(s, tokens.Revoke, req)
	if err != nil {
		return err
	}
	if steps {
		if resp.Receipt, err = s.awaitAll(resp); err != nil {
			return err
		}
	}
	err = s.print(resp, func(t *table) {
		t.row("JOB", "EFFECT", "REVISION")
		for _, r := range resp.GetResults() {
			t.row(or(r.GetJobId()), enum("REVOKE_EFFECT", r.GetEffect()), or(r.GetRevision()))
		}
		t.row()
		t.receipt(resp.GetReceipt())
	})
	return errors.Join(err, c.notEffective(c.ValidateOnly, resp.GetReceipt()))
}

type keepAliveCmd struct {
	Runner string `arg:"" help:"The runner."`
}

// Run sends a heartbeat.
func (c *keepAliveCmd) Run(s *session) error {
	tokens, err := s.tokens()
	if err != nil {
		return err
	}
	resp, err := call(s, tokens.KeepAlive, &jobwardv1.KeepAliveRequest{RunnerId: c.Runner})
	if err != nil {
		return err
	}
	return s.print(resp, func(t *table) {
		t.row("live jobs", resp.GetLiveJobs())
		t.row("next needed by", clock(resp.GetNextDeadline()))
		for _, id := range resp.GetLapsedJobIds() {
			t.row("lapsed, dead for good", id)
		}
	})
}

type introspectCmd struct{ tokenInput }

// Run introspects; a token that is dead or unknown counts as a denial.
func (c *introspectCmd) Run(s *session) error {
	token, err := c.read(s)
	if err != nil {
		return err
	}
	tokens, err := s.tokens()
	if err != nil {
		return err
	}
	resp, err := call(s, tokens.Introspect, &jobwardv1.IntrospectRequest{Token: token})
	if err != nil {
		return err
	}
	err = s.print(resp, func(t *table) {
		t.row("lives", resp.GetLive())
		t.row("because", reasonText(resp.GetReason()))
		if resp.GetJob() != nil {
			jobRows(t, resp.GetJob())
		}
	})
	if err == nil && !resp.GetLive() {
		return errDenied
	}
	return err
}

type jobGetCmd struct {
	Job string `arg:"" help:"Id of the job."`
}

// Run gets a job.
func (c *jobGetCmd) Run(s *session) error {
	tokens, err := s.tokens()
	if err != nil {
		return err
	}
	resp, err := call(s, tokens.GetJob, &jobwardv1.GetJobRequest{JobId: c.Job})
	if err != nil {
		return err
	}
	return s.print(resp, func(t *table) { jobRows(t, resp.GetJob()) })
}

func jobRows(t *table, j *jobwardv1.Job) {
	t.row("job", j.GetJobId())
	t.row("project", or(j.GetProjectId()))
	t.row("user", or(j.GetUserId()))
	t.row("pipeline", or(j.GetPipelineId()))
	t.row("ref", or(j.GetRef()))
	t.row("status", enum("JOB_STATUS", j.GetStatus()))
	t.row("issued", clock(j.GetIssueTime()))
	t.row("ends", clock(j.GetExpireTime()))
	t.row("runner", or(j.GetRunnerId()))
	t.row("ended at revision", or(j.GetEndRevision()))
}

type jobListCmd struct {
	Project string `help:"Jobs of this project."`
	User    string `help:"Jobs of this user."`
	Runner  string `help:"Jobs of this runner."`
	Live    bool   `help:"Only jobs whose token lives."`
	Limit   int32  `default:"100" help:"How many at most."`
}

// Run lists jobs.
func (c *jobListCmd) Run(s *session) error {
	req := &jobwardv1.ListJobsRequest{RunnerId: c.Runner, LiveOnly: c.Live, PageSize: min(c.Limit, 1000)}
	var err error
	if req.ProjectId, err = s.projectID(c.Project); err != nil {
		return err
	}
	if req.UserId, err = s.userID(c.User); err != nil {
		return err
	}
	tokens, err := s.tokens()
	if err != nil {
		return err
	}
	all := &jobwardv1.ListJobsResponse{}
	for int32(len(all.Jobs)) < c.Limit {
		resp, err := call(s, tokens.ListJobs, req)
		if err != nil {
			return err
		}
		all.Jobs, all.Revision = append(all.Jobs, resp.GetJobs()...), resp.GetRevision()
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	return s.print(all, func(t *table) {
		t.row("JOB", "PROJECT", "USER", "STATUS", "LIVE", "ISSUED", "REASON")
		for _, j := range all.Jobs {
			t.row(j.GetJobId(), or(j.GetProjectId()), or(j.GetUserId()), enum("JOB_STATUS", j.GetStatus()), j.GetLive(), clock(j.GetIssueTime()), enum("REASON", j.GetReason()))
		}
	})
}
