package partition

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jobward/jobward/test/capture"
)

// patience is for what must come at some time on a busy machine; nothing is measured by it.
const patience = 60 * time.Second

// tries is how often a machine may be so busy that what a test is about did not come to pass.
const tries = 3

// process is a child. It dies with the test, and with this process however that ends.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
}

// launch starts a child, in a network namespace unless that is "".
func launch(t *testing.T, kind, namespace string, p plant, log *capture.Output, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	words := append([]string{self}, args...)
	if namespace != "" {
		words = append([]string{"nsenter", "--net=" + namespace}, words...) // which executes in its own place: the process id is the child's
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	c := &process{cmd: exec.Command(words[0], words[1:]...), exited: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), childVar+"="+kind, plantVar+"="+string(text), "GOMAXPROCS=2")
	c.cmd.Stderr = log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		c.cmd.Wait() // how it ended is in its log
		close(c.exited)
	}()
	return c
}

func (c *process) signal(s syscall.Signal) { c.cmd.Process.Signal(s) }

// freeze stops the process. A stop is begun by the first thread that gets to run, and the others go on until then: it waits for all.
func (c *process) freeze(t *testing.T) {
	t.Helper()
	c.signal(syscall.SIGSTOP)
	eventually(t, "a stopped process", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", c.cmd.Process.Pid))
		for _, thread := range threads {
			// "PID (NAME) STATE ..."
			stat, err := os.ReadFile(thread)
			if _, state, ok := strings.Cut(string(stat), ") "); err == nil && (!ok || state[0] != 'T') {
				return false
			}
		}
		return err == nil && len(threads) > 0
	})
}

func (c *process) thaw() { c.signal(syscall.SIGCONT) }

// end sends a signal and waits until the process is gone.
func (c *process) end(t *testing.T, s syscall.Signal) {
	t.Helper()
	c.signal(s)
	select {
	case <-c.exited:
	case <-time.After(patience):
		c.signal(syscall.SIGKILL)
		<-c.exited
		t.Errorf("a process did not end at %v", s)
	}
}

func (c *process) gone() bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

func eventually(t *testing.T, what string, ok func() bool, otherwise ...func() string) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			text := ""
			for _, f := range otherwise {
				text += "\n" + f()
			}
			t.Fatalf("it does not come: %s%s", what, text)
		}
	}
}
