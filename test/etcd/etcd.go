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
	// Hosts are the addresses of the members, with the ports that etcd has by itself; nil is loopback with ports that are free.
	Hosts []string
	// Wrap gives the words that run a command where member i is, such as in a namespace, and execute it in their own place;
	// nil is no words.
	Wrap func(i int) []string
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
	var free []int
	if opts.Hosts == nil {
		free = ports(t, 2*opts.Members)
	}
	for i := range opts.Members {
		host, client, peer := "127.0.0.1", 2379, 2380
		if opts.Hosts == nil {
			client, peer = free[2*i], free[2*i+1]
		} else {
			host = opts.Hosts[i]
		}
		c.Endpoints = append(c.Endpoints, fmt.Sprintf("%s://%s:%d", scheme, host, client))
		c.peers = append(c.peers, fmt.Sprintf("http://%s:%d", host, peer))
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

// command is the program with these arguments, where member i is.
func (c *Cluster) command(i int, args ...string) *exec.Cmd {
	words := append([]string{c.program}, args...)
	if c.opts.Wrap != nil {
		words = append(c.opts.Wrap(i), words...)
	}
	return exec.Command(words[0], words[1:]...)
}

func (c *Cluster) launch(t testing.TB, i int, more ...string) {
	t.Helper()
	var all []string
	for j, peer := range c.peers {
		all = append(all, fmt.Sprintf("m%d=%s", j, peer))
	}
	args := append([]string{
		"-name", fmt.Sprintf("m%d", i), "-dir", filepath.Join(c.dir, fmt.Sprintf("m%d", i)), "-token", filepath.Base(c.dir),
		"-client", c.Endpoints[i], "-peer", c.peers[i], "-cluster", strings.Join(all, ","),
	}, c.opts.Args...)
	m := &member{cmd: c.command(i, append(args, more...)...), said: make(chan struct{}), done: make(chan struct{})}
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

// Lose kills a member and removes what it had on its disk.
func (c *Cluster) Lose(t testing.TB, i int) {
	t.Helper()
	c.Kill(i)
	if err := os.RemoveAll(filepath.Join(c.dir, fmt.Sprintf("m%d", i))); err != nil {
		t.Fatal(err)
	}
}

// Replace puts a new and empty member in the place of one that was lost, as an operator does: the others take the old one off their list and the new one on it.
// It waits until the new one has caught up.
func (c *Cluster) Replace(t testing.TB, i int) {
	t.Helper()
	c.launch(t, i, "-join", c.Endpoints[(i+1)%len(c.Endpoints)])
	c.ready(t, i)
}

// Leader gives the member that leads, by its own account, or -1 if none that runs says so.
func (c *Cluster) Leader(t testing.TB) int {
	t.Helper()
	for i, m := range c.members {
		if m == nil {
			continue
		}
		if out, err := c.command(i, "-leads", "-client", c.Endpoints[i]).Output(); err == nil && strings.TrimSpace(string(out)) == "true" {
			return i
		}
	}
	return -1
}
