package cli

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/mask"
	"github.com/jobward/jobward/pdp/pdpctl/child"
)

// exitNoJob is the exit code when no token could be issued, or when a command that succeeded could not be revoked.
const exitNoJob exitCode = 125

type execCmd struct {
	jobFlags
	secretFlags
	Heartbeat         time.Duration `default:"30s" help:"How long the token outlives this program when it is killed. 0 for no heartbeat: then until its end."`
	OnLost            string        `enum:"warn,kill" default:"warn" help:"What to do when the job is dead before the command ends: warn or kill."`
	Grace             time.Duration `default:"10s" help:"How long the command may go on after SIGTERM or SIGHUP before it is killed. 0 for ever."`
	ReceiptWait       time.Duration `default:"30s" help:"How long to wait at the end for the receipt, and for a PDP that is away. 0 does not wait for the receipt."`
	RepositoryURLBase string        `placeholder:"URL" help:"Where repositories are: sets CI_REPOSITORY_URL to the project's below it."`
	Quiet             bool          `short:"q" help:"Print no receipt."`
	Command           []string      `arg:"" passthrough:"" help:"The command, after --."`
}

// Help says more.
func (*execCmd) Help() string {
	return `The command finds in its environment: CI_JOB_TOKEN, CI_JOB_ID, CI_REGISTRY_USER, CI_REGISTRY_PASSWORD, CI_DEPENDENCY_PROXY_USER,
CI_DEPENDENCY_PROXY_PASSWORD, CI_PROJECT_ID or CI_PROJECT_PATH as --project names it, CI_PIPELINE_ID and CI_COMMIT_REF_NAME when given, and
CI_REPOSITORY_URL with --repository-url-base; and no JOBWARD_ variables, which are this program's. Its standard output and standard error are masked as by
"pdpctl mask". If the output is a terminal, it runs on one.

Signals are passed on; the second SIGTERM kills the command and its process group. When this program is killed with SIGKILL, the kernel
kills the command, and the token dies for want of heartbeats.

Exit codes: the command's, or 128 and the number of the signal that ended it; 126 it cannot be run; 127 it is not found; 125 no token was issued, or
the command succeeded and its token could not be revoked; 2 wrong usage.

  pdpctl exec --job 4711 --project acme/web/shop --user dana -- make deploy`
}

// execution is a job that runs.
type execution struct {
	*execCmd
	s      *session
	tokens jobwardv1.TokenServiceClient
	runner string

	mu  sync.Mutex // of standard error
	raw bool       // lines end as on a terminal that does nothing by itself
}

// tell says one line on standard error.
func (e *execution) tell(format string, args ...any) {
	end := "\n"
	if e.raw {
		end = "\r\n"
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	fmt.Fprintf(e.s.err, "pdpctl: "+format+end, args...)
}

// Run runs the command as a job.
func (c *execCmd) Run(s *session) error {
	if len(c.Command) > 0 && c.Command[0] == "--" {
		c.Command = c.Command[1:]
	}
	if len(c.Command) == 0 {
		return fmt.Errorf("no command: give it after --")
	}
	e := &execution{execCmd: c, s: s, runner: newRunner(), raw: child.IsTerminal(s.err)}
	path, code, err := child.Find(c.Command[0])
	if err != nil {
		e.tell("%v", err)
		return exitCode(code)
	}
	secrets, err := c.set() // whatever is wrong with them is said before there is a token
	if err != nil {
		return err
	}
	warn(s, secrets)
	signals, stop := child.Signals()
	defer stop()
	issued, sent, err := e.issue()
	if err != nil {
		e.tell("no token for job %s: %v", c.Job, s.words(err))
		return exitNoJob
	}
	s.ctx = context.WithoutCancel(s.ctx) // from here on a signal is the command's, and the job is ended whatever happens
	if secrets, err = c.set(issued.GetToken()); err != nil {
		e.revoke(jobwardv1.Outcome_OUTCOME_FAILED)
		return err
	}
	exit := e.run(path, issued, sent, secrets, signals)
	outcome := jobwardv1.Outcome_OUTCOME_SUCCESS
	if exit != 0 {
		outcome = jobwardv1.Outcome_OUTCOME_FAILED
	}
	if err := e.revoke(outcome); err != nil {
		e.tell("job %s is NOT revoked: %v; %s", c.Job, s.words(err), e.fallback())
		if exit == 0 {
			return exitNoJob
		}
	}
	if exit == 0 {
		return nil
	}
	return exit
}

// run runs the command with heartbeats, and survives its own mistakes: the job has still to be revoked.
func (e *execution) run(path string, issued *jobwardv1.IssueResponse, sent time.Time, secrets *mask.Set, signals <-chan os.Signal) (exit exitCode) {
	defer func() {
		if p := recover(); p != nil {
			e.tell("pdpctl has a bug; the job is ended: %v\n%s", p, debug.Stack())
			exit = exitNoJob
		}
	}()
	if issued.GetReplaced() {
		e.tell("job %s had a token already, which is dead now", e.Job)
	}
	beating, stopBeating := context.WithCancel(e.s.ctx)
	defer stopBeating()
	lost := make(chan struct{})
	beats := make(chan struct{})
	go func() {
		defer close(beats)
		if e.Heartbeat > 0 && e.beat(beating, sent) && e.OnLost == "kill" {
			close(lost)
		}
	}()
	code, err := child.Run(child.Config{
		Path: path, Args: e.Command, Env: e.environ(os.Environ(), issued.GetToken()), In: e.s.in, Out: e.s.out, Err: e.standardError(), Mask: secrets,
		Grace: e.Grace, Tell: func(text string) { e.tell("%s", text) },
	}, signals, lost)
	stopBeating()
	<-beats
	if err != nil {
		e.tell("%v", err)
	}
	return exitCode(code)
}

// standardError is ours, one line at a time with our own words where it is no terminal.
func (e *execution) standardError() interface{ Write([]byte) (int, error) } {
	if e.raw {
		return e.s.err // which the command's terminal writes to
	}
	return errWriter{e}
}

// errWriter is our standard error.
type errWriter struct{ e *execution }

// Write implements io.Writer.
func (w errWriter) Write(p []byte) (int, error) {
	w.e.mu.Lock()
	defer w.e.mu.Unlock()
	return w.e.s.err.Write(p)
}

// issue gets the token, and says when it was asked for: the heartbeat's term counts from no earlier.
func (e *execution) issue() (*jobwardv1.IssueResponse, time.Time, error) {
	req, err := e.request(e.s)
	if err != nil {
		return nil, time.Time{}, err
	}
	req.ReceiptWait = jobwardv1.ReceiptWait_RECEIPT_WAIT_EFFECTIVE
	if e.Heartbeat > 0 {
		req.RunnerId, req.HeartbeatTerm = e.runner, durationpb.New(e.Heartbeat)
	}
	if _, err = e.repositoryURL(""); err != nil {
		return nil, time.Time{}, err
	}
	if e.tokens, err = e.s.tokens(); err != nil {
		return nil, time.Time{}, err
	}
	sent := time.Now()
	resp, err := call(e.s, e.tokens.Issue, req)
	return resp, sent, err
}

// environ is the command's environment.
func (e *execution) environ(ours []string, token string) (env []string) {
	for _, v := range ours {
		if !strings.HasPrefix(v, "JOBWARD_") && !strings.HasPrefix(v, "CI_JOB_TOKEN=") {
			env = append(env, v)
		}
	}
	env = append(env, "CI_JOB_TOKEN="+token, "CI_JOB_ID="+e.Job,
		"CI_REGISTRY_USER=gitlab-ci-token", "CI_REGISTRY_PASSWORD="+token,
		"CI_DEPENDENCY_PROXY_USER=gitlab-ci-token", "CI_DEPENDENCY_PROXY_PASSWORD="+token)
	if number(e.Project) != 0 {
		env = append(env, "CI_PROJECT_ID="+e.Project)
	} else {
		env = append(env, "CI_PROJECT_PATH="+e.Project)
	}
	if e.Pipeline != 0 {
		env = append(env, "CI_PIPELINE_ID="+strconv.FormatInt(e.Pipeline, 10))
	}
	if e.Ref != "" {
		env = append(env, "CI_COMMIT_REF_NAME="+e.Ref)
	}
	if u, err := e.repositoryURL(token); err == nil && u != "" {
		env = append(env, "CI_REPOSITORY_URL="+u)
	}
	return env
}

// repositoryURL is where the project can be cloned from with the token; empty when nobody said where repositories are.
func (e *execution) repositoryURL(token string) (string, error) {
	if e.RepositoryURLBase == "" {
		return "", nil
	}
	u, err := url.Parse(e.RepositoryURLBase)
	switch {
	case err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http"):
		return "", fmt.Errorf("--repository-url-base: give an http or https URL without a user, such as https://git.example.com")
	case number(e.Project) != 0:
		return "", fmt.Errorf("--repository-url-base needs --project as a path")
	}
	u = u.JoinPath(e.Project + ".git")
	u.User = url.UserPassword("gitlab-ci-token", token)
	return u.String(), nil
}
