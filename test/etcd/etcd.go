// Package etcd runs real etcd clusters for tests: each member is a process of its own on
// loopback, so that it can be killed, stopped and started again. The program is built from its
// own module in member/, which keeps etcd's server out of our dependencies.
package etcd

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Options say what kind of cluster it is.
type Options struct {
	// Members is how many there are; zero is 3.
	Members int
	// Args are more arguments for each member.
	Args []string
	// TLS makes the URLs for clients begin with https.
	TLS bool
}

// Cluster is a cluster that runs.
type Cluster struct {
	// Endpoints are the URLs for clients, one for each member.
	Endpoints []string

	dir, program string
	peers        []string
	opts         Options
	members      []*member
}

type member struct {
	cmd  *exec.Cmd
	log  bytes.Buffer
	said chan struct{} // closed when it said something, which is that it is ready
	done chan struct{}
}

var (
	mu    sync.Mutex
	built string // the program; empty when it is not there
)

// build builds the program, unless it is there.
func build() (string, error) {
	mu.Lock()
	defer mu.Unlock()
	if built != "" {
		return built, nil
	}
	_, self, _, _ := runtime.Caller(0)
	dir, err := os.MkdirTemp("", "etcd")
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "member")
	cmd := exec.Command("go", "build", "-o", program, ".")
	cmd.Dir = filepath.Join(filepath.Dir(self), "member")
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return "", fmt.Errorf("building etcd: %w\n%s", err, out)
	}
	built = program
	return built, nil
}

// Clean removes what was built. A TestMain calls it after its tests.
func Clean() {
	mu.Lock()
	defer mu.Unlock()
	if built != "" {
		os.RemoveAll(filepath.Dir(built))
		built = ""
	}
}

// patience is how long a member may take.
const patience = time.Minute

// Start starts a cluster, which is killed when the test ends. Where etcd cannot be built the
// test is skipped, and fails in CI.
func Start(t testing.TB, opts Options) *Cluster {
	t.Helper()
	program, err := build()
	if err != nil {
		if os.Getenv("JOBWARD_CI") == "1" {
			t.Fatal(err)
		}
		t.Skipf("there is no etcd to test with: %v", err)
	}
	if opts.Members == 0 {
		opts.Members = 3
	}
	scheme := "http"
	if opts.TLS {
		scheme = "https"
	}
	dir, err := os.MkdirTemp("", "etcd")
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{dir: dir, program: program, opts: opts}
	t.Cleanup(func() {
		for i := range c.members {
			c.Kill(i)
		}
		os.RemoveAll(c.dir)
	})
	free := ports(t, 2*opts.Members)
	for i := range opts.Members {
		c.Endpoints = append(c.Endpoints, fmt.Sprintf("%s://127.0.0.1:%d", scheme, free[2*i]))
		c.peers = append(c.peers, fmt.Sprintf("http://127.0.0.1:%d", free[2*i+1]))
	}
	c.members = make([]*member, opts.Members)
	for i := range c.members {
		c.launch(t, i)
	}
	for i := range c.members {
		c.ready(t, i)
	}
	return c
}

// ports finds free ports. They are below those that systems give to clients: a client that dials a
// member which was killed could get the member's own port, and connect to itself.
func ports(t testing.TB, n int) (free []int) {
	t.Helper()
	for tries := 0; len(free) < n; tries++ {
		if tries > 1000 {
			t.Fatal("there are no free ports")
		}
		port := 12000 + rand.IntN(20000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		defer l.Close()
		free = append(free, port)
	}
	return free
}

func (c *Cluster) launch(t testing.TB, i int) {
	t.Helper()
	var all []string
	for j, peer := range c.peers {
		all = append(all, fmt.Sprintf("m%d=%s", j, peer))
	}
	args := append([]string{
		"-name", fmt.Sprintf("m%d", i), "-dir", filepath.Join(c.dir, fmt.Sprintf("m%d", i)), "-token", filepath.Base(c.dir),
		"-client", c.Endpoints[i], "-peer", c.peers[i], "-cluster", strings.Join(all, ","),
	}, c.opts.Args...)
	m := &member{cmd: exec.Command(c.program, args...), said: make(chan struct{}), done: make(chan struct{})}
	m.cmd.Stderr = &m.log
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// With the test's process gone the member goes too.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		if n, _ := out.Read(make([]byte, 64)); n > 0 {
			close(m.said)
		}
		m.cmd.Wait()
		close(m.done)
	}()
	c.members[i] = m
}

// ready waits until the member says that it is.
func (c *Cluster) ready(t testing.TB, i int) {
	t.Helper()
	m := c.members[i]
	select {
	case <-m.said:
	case <-m.done:
	case <-time.After(patience):
		t.Fatalf("etcd member %d is not ready after %v", i, patience)
	}
	select {
	case <-m.done:
		t.Fatalf("etcd member %d ended: %v\n%s", i, m.cmd.ProcessState, m.log.String())
	default:
	}
}

// Kill kills a member, as a power cut would for the process.
func (c *Cluster) Kill(i int) {
	if m := c.members[i]; m != nil {
		m.cmd.Process.Kill()
		<-m.done
		c.members[i] = nil
	}
}

// Restart starts a member that was killed and waits until it is ready.
func (c *Cluster) Restart(t testing.TB, i int) {
	t.Helper()
	c.launch(t, i)
	c.ready(t, i)
}

// Pause stops the process of a member until Resume.
func (c *Cluster) Pause(i int) { c.members[i].cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets it go on.
func (c *Cluster) Resume(i int) { c.members[i].cmd.Process.Signal(syscall.SIGCONT) }
