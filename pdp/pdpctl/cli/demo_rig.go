package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// demoRig is a directory and the processes in it.
type demoRig struct {
	dir                        string
	pdpProgram, sidecarProgram string
	etcdProgram                string // only with replicas

	processes []*demoProcess
	conns     []*grpc.ClientConn
	pdp       *demoProcess
	sidecars  []*demoProcess
	// Of a demonstration with replicas, in which pdp is the first of pdps.
	etcd, pdps []*demoProcess
}

// find makes the directory and sees that the programs are there.
func (g *demoRig) find(ctx context.Context, c *demoCmd, tell io.Writer) (err error) {
	in := ""
	if len(os.TempDir()) > 60 {
		in = "/tmp" // the name of a Unix socket has at most about a hundred characters
	}
	if g.dir, err = os.MkdirTemp(in, "jobward-demo-"); err != nil {
		return err
	}
	if g.pdpProgram, err = named(c.PDP); err != nil {
		return err
	}
	if g.sidecarProgram, err = named(c.Sidecar); err != nil {
		return err
	}
	beside := ""
	if self, err := os.Executable(); err == nil {
		beside = filepath.Dir(self)
	}
	missing := map[string]*string{}
	programs := map[string]*string{"pdp": &g.pdpProgram, "sidecar": &g.sidecarProgram}
	if c.Replicas > 0 {
		if g.etcdProgram, err = named(c.Etcd); err != nil {
			return err
		}
		programs[etcdMember] = &g.etcdProgram
	}
	for name, program := range programs {
		if file := filepath.Join(beside, name); *program == "" && isProgram(file) {
			*program = file
		}
		if *program == "" {
			missing[name] = program
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if root := checkout(); root != "" {
		return g.build(ctx, root, missing, tell)
	}
	for name, program := range missing {
		if *program, err = exec.LookPath(name); err != nil {
			return fmt.Errorf("the program %s is neither beside pdpctl nor in PATH, and this is no checkout of Jobward to build it from: name it with --%s FILE", name, strings.TrimSuffix(name, "-member"))
		}
	}
	return nil
}

// named is a program that a flag names: a file, seen from here and not from the directory it will run in, or a name in PATH.
func named(flag string) (string, error) {
	if flag == "" || filepath.Base(flag) == flag {
		return flag, nil
	}
	return filepath.Abs(flag)
}

func isProgram(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// checkout gives the root of the checkout that the current directory is in, if there is one and a Go to build it with.
func checkout() string {
	dir, err := os.Getwd()
	if _, noGo := exec.LookPath("go"); err != nil || noGo != nil {
		return ""
	}
	for {
		raw, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && regexp.MustCompile(`(?m)^module github\.com/jobward/jobward$`).Match(raw) {
			return dir
		}
		if filepath.Dir(dir) == dir {
			return ""
		}
		dir = filepath.Dir(dir)
	}
}

// build makes the programs that are missing.
func (g *demoRig) build(ctx context.Context, root string, missing map[string]*string, tell io.Writer) error {
	var packages []string
	for name, program := range missing {
		*program = filepath.Join(g.dir, "bin", name)
		if name != etcdMember {
			packages = append(packages, "./"+name)
		}
	}
	slices.Sort(packages)
	if program := missing[etcdMember]; program != nil {
		// It is a module of its own, since etcd's server is not among our dependencies.
		if err := goBuild(ctx, filepath.Join(root, "test", "etcd", "member"), tell, "-o", *program, "."); err != nil {
			return err
		}
	}
	if len(packages) == 0 {
		return nil
	}
	return goBuild(ctx, root, tell, append([]string{"-o", filepath.Join(g.dir, "bin") + "/"}, packages...)...)
}

// goBuild builds in a directory, and says what.
func goBuild(ctx context.Context, dir string, tell io.Writer, args ...string) error {
	what := strings.Join(args[2:], " ")
	if what == "." {
		what = "a member of etcd (test/etcd/member)"
	}
	fmt.Fprintf(tell, "go build %s\n", what)
	cmd := exec.CommandContext(ctx, "go", append([]string{"build"}, args...)...)
	cmd.Dir, cmd.WaitDelay = dir, time.Second // its compilers may outlive it when it is interrupted
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, said)
	}
	return nil
}

// start starts the PDP and the sidecars, and waits until each of them serves.
func (g *demoRig) start(ctx context.Context) (err error) {
	g.pdp, err = g.run("pdp", "the PDP", g.pdpProgram, "--data-dir="+g.file("data"), "--grpc-addr="+g.socket("pdp"), "--admin-addr=off",
		"--min-free-disk=16MiB", "--ballast=16MiB")
	if err != nil {
		return err
	}
	if err := g.pdp.serves(ctx); err != nil {
		return err
	}
	for _, name := range []string{"A", "B"} {
		p, err := g.run(name, "sidecar "+name, g.sidecarProgram, "--state-dir="+g.file(name), "--pdp-addr="+g.socket("pdp"), "--listen="+g.socket(name),
			"--health-addr=off", "--name=sidecar-"+name)
		if err != nil {
			return err
		}
		g.sidecars = append(g.sidecars, p)
	}
	for _, p := range g.sidecars {
		if err := p.serves(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (g *demoRig) file(name string) string   { return filepath.Join(g.dir, name) }
func (g *demoRig) socket(name string) string { return "unix:" + g.file(name+".sock") }

// run starts a process that serves on its socket, and makes connections to it.
func (g *demoRig) run(name, title, program string, args ...string) (*demoProcess, error) {
	p := &demoProcess{name: name, title: title, log: g.file(name + ".log"), program: program, args: append(args, "--log-format=text")}
	for range demoClients {
		c, err := grpc.NewClient(g.socket(name), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.2, MaxDelay: 100 * time.Millisecond}, MinConnectTimeout: demoLimit,
		}))
		if err != nil {
			return nil, err
		}
		g.conns, p.conns = append(g.conns, c), append(p.conns, c)
	}
	return p, g.launch(p)
}

// launch starts a process, for the first time or again.
func (g *demoRig) launch(p *demoProcess) error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd, ended := exec.Command(p.program, p.args...), make(chan struct{})
	cmd.Dir, cmd.Stdout, cmd.Stderr = g.dir, log, log
	// What is set for other programs of this machine is not meant for these.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "JOBWARD_") || strings.HasPrefix(v, "OTEL_") })
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	if p.cmd == nil {
		g.processes = append(g.processes, p)
	}
	p.cmd, p.ended = cmd, ended
	go func() {
		cmd.Wait() // how it ended is in ProcessState
		close(ended)
	}()
	return nil
}

// clear kills what runs and removes what was written. A second time it does nothing.
func (g *demoRig) clear() error {
	for _, c := range g.conns {
		c.Close()
	}
	for _, p := range g.processes {
		p.cmd.Process.Kill() // if it has ended there is nothing to kill
	}
	for _, p := range g.processes {
		<-p.ended
	}
	g.conns, g.processes = nil, nil
	if g.dir == "" {
		return nil
	}
	return os.RemoveAll(g.dir)
}

// lastWords are the ends of the logs of processes that have ended by themselves.
func (g *demoRig) lastWords() (text string) {
	for _, p := range g.processes {
		if !p.hasEnded() {
			continue
		}
		raw, err := os.ReadFile(p.log)
		if err != nil {
			continue
		}
		text += fmt.Sprintf("\n%s ended with %v", p.title, p.cmd.ProcessState)
		if lines := strings.Split(strings.TrimSpace(string(raw)), "\n"); lines[0] != "" {
			text += ", and had said:\n  " + strings.Join(lines[max(0, len(lines)-5):], "\n  ")
		}
	}
	return text
}

// demoProcess is one of the processes.
type demoProcess struct {
	name  string
	title string // its name in a sentence
	log   string // the file

	program string
	args    []string
	cmd     *exec.Cmd
	ended   chan struct{}      // closed when it has
	conns   []*grpc.ClientConn // one for each client
}

func (p *demoProcess) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// serves waits until the process is there and ready, on all connections, so that no check has to make one.
func (p *demoProcess) serves(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.ended:
			cancel(errors.New("it ended"))
		case <-ctx.Done():
		}
	}()
	for _, c := range p.conns {
		for {
			resp, err := healthpb.NewHealthClient(c).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.WaitForReady(true))
			if err == nil && resp.GetStatus() == healthpb.HealthCheckResponse_SERVING {
				break
			}
			if pause(ctx, 10*time.Millisecond) != nil {
				return fmt.Errorf("%s does not serve: %w", p.title, context.Cause(ctx))
			}
		}
	}
	return nil
}

// freeze stops the process where it stands, and waits until it gives no answer.
func (p *demoProcess) freeze(ctx context.Context) error {
	if freezeSignal == nil {
		return fmt.Errorf("%s has no signal that freezes a process: use --quick", runtime.GOOS)
	}
	if err := p.cmd.Process.Signal(freezeSignal); err != nil {
		return err
	}
	for ctx.Err() == nil {
		soon, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		_, err := healthpb.NewHealthClient(p.conns[0]).Check(soon, &healthpb.HealthCheckRequest{})
		cancel()
		if err != nil {
			break
		}
	}
	return ctx.Err()
}

// goOn lets a frozen process go on.
func (p *demoProcess) goOn() error { return p.cmd.Process.Signal(goOnSignal) }
