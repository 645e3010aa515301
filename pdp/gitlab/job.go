package gitlab

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
)

// job has the fields of GitLab's job, in its order, null where nothing is known.
type job struct {
	ID             id       `json:"id"`
	Status         string   `json:"status"`
	Stage          unknown  `json:"stage"`
	Name           unknown  `json:"name"`
	Ref            *string  `json:"ref"`
	Tag            unknown  `json:"tag"`
	Coverage       unknown  `json:"coverage"`
	AllowFailure   unknown  `json:"allow_failure"`
	CreatedAt      unknown  `json:"created_at"`
	StartedAt      string   `json:"started_at"`
	FinishedAt     unknown  `json:"finished_at"`
	ErasedAt       unknown  `json:"erased_at"`
	Duration       unknown  `json:"duration"`
	QueuedDuration unknown  `json:"queued_duration"`
	User           user     `json:"user"`
	Commit         unknown  `json:"commit"`
	Pipeline       *pipe    `json:"pipeline"`
	WebURL         unknown  `json:"web_url"`
	Project        jobProj  `json:"project"`
	Artifacts      []string `json:"artifacts"`
	Runner         *runner  `json:"runner"`
	ExpireAt       unknown  `json:"artifacts_expire_at"`
	TagList        []string `json:"tag_list"`
}

// id is a number wherever it can be one, as in GitLab. The CI system chooses the ids of jobs and runners, and they
// need not be numbers here.
type id string

// MarshalJSON implements json.Marshaler.
func (i id) MarshalJSON() ([]byte, error) {
	if _, ok := readNumber(string(i)); ok {
		return []byte(i), nil
	}
	return json.Marshal(string(i))
}

type pipe struct {
	ID        int64           `json:"id"`
	ProjectID authz.ProjectID `json:"project_id"`
	SHA       unknown         `json:"sha"`
	Ref       *string         `json:"ref"`
	Status    unknown         `json:"status"`
	WebURL    unknown         `json:"web_url"`
}

// jobProj has the project's id, which GitLab leaves out.
type jobProj struct {
	ID         authz.ProjectID `json:"id"`
	OutboundOn bool            `json:"ci_job_token_scope_enabled"`
}

type runner struct {
	ID id `json:"id"`
}

// getJob is GET /job: the job that the token belongs to. A dead token is 401, as everywhere.
func (c *call) getJob() error {
	text, err := c.jobToken()
	if err != nil {
		return err
	}
	digest, ok := c.opt.Tokens.DigestOfString(text)
	if !ok {
		return unauthorized("%s", authz.TokenMalformed.Text())
	}
	info, err := c.engine.Introspect(c.r.Context(), digest)
	var unknown *authz.Error
	if errors.As(err, &unknown) && unknown.Code == engine.CodeTokenUnknown {
		if err := c.Handler.unknown.Take(remote(c.r), time.Now()); err != nil {
			return err
		}
		return unauthorized("%s", authz.TokenUnknown.Text())
	}
	switch {
	case err != nil:
		return err
	case info.Live:
		return c.showJob(info)
	case info.Reason >= authz.UserMissing && info.Reason <= authz.UserPendingApproval: // SEMANTICS §15
		return forbidden("%s", info.Reason.Text())
	}
	return unauthorized("%s", info.Reason.Text())
}

// jobToken finds the token (SEMANTICS §4.2). Two that differ are refused; blank counts as absent.
func (c *call) jobToken() (string, error) {
	header, err := one(c.r.Header, "Job-Token")
	if err != nil {
		return "", err
	}
	var bearer string
	if kind, text, ok := strings.Cut(c.r.Header.Get("Authorization"), " "); ok && strings.EqualFold(kind, "Bearer") {
		if _, err := one(c.r.Header, "Authorization"); err != nil {
			return "", err
		}
		bearer = strings.TrimSpace(text)
	}
	query, _ := c.params["job_token"].(string)
	found := ""
	for _, text := range []string{bearer, strings.TrimSpace(query), header} {
		switch {
		case text == "" || text == found:
		case found != "":
			return "", unauthorized("the request shows two different tokens: send one")
		default:
			found = text
		}
	}
	if found == "" {
		return "", unauthorized("show a job token: in the header JOB-TOKEN, as \"Authorization: Bearer TOKEN\", or in the parameter job_token")
	}
	return found, nil
}

func (c *call) showJob(info engine.JobInfo) error {
	j := info.Job
	list, _ := c.engine.View().Allowlist(j.Project)
	u, err := c.basicUser(j.User)
	if err != nil {
		return err
	}
	out := job{
		ID: id(j.ID), Status: j.Status.String(), StartedAt: j.IssuedAt.Time().Format(time.RFC3339Nano), Project: jobProj{j.Project, list.OutboundOn},
		User: u, Artifacts: []string{}, TagList: []string{},
	}
	if j.Ref != "" {
		out.Ref = &j.Ref
	}
	if j.Pipeline != 0 {
		out.Pipeline = &pipe{ID: j.Pipeline, ProjectID: j.Project, Ref: out.Ref}
	}
	if j.Runner != "" {
		out.Runner = &runner{id(j.Runner)}
	}
	return c.answer(200, out)
}

// remote is whom unknown tokens are counted for.
func remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "a Unix socket"
	}
	return host
}
