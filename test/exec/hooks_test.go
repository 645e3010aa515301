//go:build linux

package exec

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/test/files"
	"github.com/jobward/jobward/test/programs"
)

// installed copies deploy/hooks as an administrator does, and edits the two files that are to be edited.
func (r *rig) installed() (dir string) {
	r.t.Helper()
	dir = filepath.Join(r.dir, "jobward")
	if err := os.CopyFS(dir, os.DirFS("../../deploy/hooks")); err != nil {
		r.t.Fatal(err)
	}
	files.Write(r.t, filepath.Join(dir, "jobward.env"), "JOBWARD_ADDRESS="+r.pdp.Address+"\nPDPCTL="+filepath.Join(r.dir, "pdpctl")+"\nEXEC_FLAGS='--heartbeat 5s'\n", 0o644)
	return dir
}

// hook runs one of the files, which are told the rest by their environment.
func (r *rig) hook(env []string, program string, args ...string) *programs.Process {
	r.t.Helper()
	p := programs.Launch(r.t, r.dir, env, program, args...)
	return p
}

const showToken = `echo "$CI_JOB_TOKEN" >token; echo "token $CI_JOB_TOKEN of $CI_JOB_ID"; env | grep -c '^JOBWARD_' || true`

// ran wants that a command ran as a job, and that the job has ended as it should.
func (r *rig) ran(p *programs.Process, code int, job string, status jobwardv1.JobStatus) {
	r.t.Helper()
	if got := p.End(); got != code {
		r.t.Fatalf("code %d, want %d: %s%s", got, code, &p.Out, &p.Log)
	}
	if !p.Out.Has("token [MASKED] of "+job+"\n0\n") || p.Out.Has(r.kept("token")) {
		r.t.Errorf("it said %s", strings.ReplaceAll(p.Out.String(), r.kept("token"), "TOKEN"))
	}
	if j := r.job(job); j.GetLive() || j.GetStatus() != status || j.GetProjectId() != 11 {
		r.t.Errorf("job %s: %v, live %v, project %d", job, j.GetStatus(), j.GetLive(), j.GetProjectId())
	}
}

func TestHooks(t *testing.T) {
	r := newRig(t)
	dir := r.installed()
	const success, failed = jobwardv1.JobStatus_JOB_STATUS_SUCCESS, jobwardv1.JobStatus_JOB_STATUS_FAILED
	bash := programs.Find(t, "bash")
	// A pipeline's author would lead pdpctl to another PDP, and to another program.
	hostile := []string{"JOBWARD_ADDRESS=unix:/nowhere", "JOBWARD_KEY_FILE=/nowhere"}

	t.Run("buildkite", func(t *testing.T) {
		env := append(hostile, "BUILDKITE_JOB_ID=0190-a", "BUILDKITE_PIPELINE_SLUG=shop-deploy", "BUILDKITE_COMMAND="+showToken)
		hook := `. "$1/environment"; "$1/command"; code=$?; "$1/pre-exit"; exit $code`
		r.ran(r.hook(env, bash, "-c", hook, "agent", filepath.Join(dir, "buildkite")), 0, "buildkite-0190-a", success)
		env[2], env[4] = "BUILDKITE_JOB_ID=0190-b", "BUILDKITE_COMMAND="+showToken+"; exit 7"
		r.ran(r.hook(env, bash, "-c", hook, "agent", filepath.Join(dir, "buildkite")), 7, "buildkite-0190-b", failed)
	})
	t.Run("buildkite, command killed", func(t *testing.T) {
		env := append(hostile, "BUILDKITE_JOB_ID=0190-c", "BUILDKITE_PIPELINE_SLUG=shop-deploy", "BUILDKITE_COMMAND=echo ready; sleep 600")
		p := r.hook(env, filepath.Join(dir, "buildkite", "command"))
		p.Says("ready")
		// The hook is a shell that waits for pdpctl: the agent kills it with its children.
		r.killTree(p.Cmd.Process.Pid)
		p.End()
		if q := r.hook(env, filepath.Join(dir, "buildkite", "pre-exit")); q.End() != 0 || q.Log.String() != "" {
			t.Errorf("%s", &q.Log)
		}
		if j := r.job("buildkite-0190-c"); j.GetLive() || j.GetStatus() != jobwardv1.JobStatus_JOB_STATUS_CANCELED {
			t.Errorf("%v", j)
		}
	})
	t.Run("unknown pipeline", func(t *testing.T) {
		env := append(hostile, "BUILDKITE_JOB_ID=0190-d", "BUILDKITE_PIPELINE_SLUG=other", "BUILDKITE_COMMAND=echo ran")
		if p := r.hook(env, filepath.Join(dir, "buildkite", "command")); p.End() != 125 || p.Out.Has("ran") || !p.Log.Has("no line") {
			t.Errorf("%s%s", &p.Out, &p.Log)
		}
	})
	projects := "# comment\nacme/shop acme/web/shop dana\nfolder/my%20job acme/web/shop dana\nshop-deploy acme/web/shop dana\n"
	files.Write(t, filepath.Join(dir, "projects"), projects, 0o644)
	t.Run("woodpecker", func(t *testing.T) {
		env := append(hostile, "CI_REPO=acme/shop", "CI_PIPELINE_NUMBER=3", "CI_WORKFLOW_NUMBER=1", "CI_STEP_NUMBER=2",
			"CI_SCRIPT="+base64.StdEncoding.EncodeToString([]byte(showToken+"\nfalse\necho not reached\n")))
		p := r.hook(env, filepath.Join(dir, "woodpecker", "step"))
		r.ran(p, 1, "woodpecker-acme/shop-3-1-2", failed)
		if p.Out.Has("not reached") {
			t.Error("it went on after a failure")
		}
	})
	t.Run("jenkins", func(t *testing.T) {
		env := append(hostile, "JOB_NAME=folder/my job", "BUILD_NUMBER=9")
		r.ran(r.hook(env, filepath.Join(dir, "jenkins", "jobward-sh"), "deploy", "sh", "-c", showToken), 0, "jenkins-folder/my%20job-9-deploy", success)
	})
	t.Run("shell", func(t *testing.T) {
		script := files.Write(t, filepath.Join(r.dir, "script"), showToken+"\nexit 4\n", 0o644)
		after := files.Write(t, filepath.Join(r.dir, "after"), "echo afterwards $CI_JOB_STATUS ${#CI_JOB_TOKEN}\n", 0o644)
		p := r.hook(hostile, filepath.Join(dir, "shell", "run-job"), "shell-1", "shop-deploy", script, after)
		r.ran(p, 4, "shell-1", failed)
		if !p.Out.Has("afterwards 4 39\n") {
			t.Errorf("%s", &p.Out)
		}
	})
}
