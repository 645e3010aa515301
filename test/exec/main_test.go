//go:build linux

package exec

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/test/programs"
)

func TestMain(m *testing.M) {
	programs.Be()
	os.Exit(m.Run())
}

// rig is a PDP with the sample world, and a place for commands.
type rig struct {
	t    *testing.T
	dir  string
	pdp  *programs.PDP
	jobs int
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: programs.Dir(t, "pdpctl")}
	r.pdp = programs.StartPDP(t, r.dir, "--shutdown-delay=0s")
	return r
}

// tokens calls the PDP's newest process.
func (r *rig) tokens() jobwardv1.TokenServiceClient {
	return jobwardv1.NewTokenServiceClient(r.pdp.Conn)
}

// newJob gives an id that no job has had.
func (r *rig) newJob() string {
	r.jobs++
	return "job-" + strconv.Itoa(r.jobs)
}

// args are those of pdpctl for a command as a job.
func (r *rig) args(job string, more ...string) []string {
	return append([]string{"--address", r.pdp.Address, "exec", "--project", "acme/web/shop", "--user", "dana", "--job", job}, more...)
}

// launch starts a shell script as a job; flags are those of exec.
func (r *rig) launch(job, script string, flags ...string) *programs.Process {
	r.t.Helper()
	args := append(r.args(job, flags...), "--", "sh", "-c", script)
	return programs.Launch(r.t, r.dir, []string{"JOBWARD_TIMEOUT=20s", "JOBWARD_KEY_FILE="}, filepath.Join(r.dir, "pdpctl"), args...)
}

// job is what the PDP knows of one.
func (r *rig) job(id string) *jobwardv1.Job {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), programs.Patience)
	defer cancel()
	resp, err := r.tokens().GetJob(ctx, &jobwardv1.GetJobRequest{JobId: id}, grpc.WaitForReady(true))
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.GetJob()
}

// kept reads a file that a command writes, when it is there and whole: it ends with a line's end.
func (r *rig) kept(name string) string {
	r.t.Helper()
	var raw []byte
	programs.Eventually(r.t, name, func() bool {
		raw, _ = os.ReadFile(filepath.Join(r.dir, name))
		return bytes.HasSuffix(raw, []byte("\n"))
	})
	return strings.TrimSpace(string(raw))
}

// gone waits until a process is no more.
func (r *rig) gone(pid string) {
	r.t.Helper()
	programs.Eventually(r.t, "the end of process "+pid, func() bool {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		return err != nil || bytes.Contains(stat, []byte(") Z "))
	})
}

// unstarted is launch for tests that have ends of their own.
func (r *rig) unstarted(job, script string, flags ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(r.dir, "pdpctl"), append(r.args(job, flags...), "--", "sh", "-c", script)...)
	cmd.Dir, cmd.Env = r.dir, programs.Environ()
	return cmd
}

// killTree kills a process and its children, the youngest last.
func (r *rig) killTree(pid int) {
	r.t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		r.t.Fatal(err)
	}
	syscall.Kill(pid, syscall.SIGKILL)
	for _, child := range strings.Fields(string(raw)) {
		if n, err := strconv.Atoi(child); err == nil {
			syscall.Kill(n, syscall.SIGKILL)
		}
	}
}
