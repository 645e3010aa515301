package bench

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childEnv says which server this test binary is to be; see TestMain.
const childEnv = "JOBWARD_BENCH_SERVER"

// server is a server in a process of its own.
type server struct {
	name    string
	unix    string // target for grpc.NewClient
	tcp     string
	in      *os.File
	out     *bufio.Reader
	process *exec.Cmd
}

// startServer starts this binary as the server named, on one core, with a Unix socket
// and a loopback port, and stops it with the benchmark.
func startServer(tb testing.TB, name string, args ...string) *server {
	tb.Helper()
	dir, err := os.MkdirTemp("", "jobward-bench-")
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+name, "JOBWARD_BENCH_DIR="+dir, "JOBWARD_BENCH_ARGS="+strings.Join(args, " "), "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	s := &server{name: name, unix: "unix:" + socketIn(dir), in: in.(*os.File), out: bufio.NewReader(out), process: cmd}
	tb.Cleanup(func() {
		in.Close() // the child ends when its input does
		if err := cmd.Wait(); err != nil {
			tb.Errorf("server %s: %v", name, err)
		}
		os.RemoveAll(dir)
	})
	s.tcp = s.line(tb)
	return s
}

func socketIn(dir string) string { return filepath.Join(dir, "s.sock") }

func (s *server) line(tb testing.TB) string {
	tb.Helper()
	line, err := s.out.ReadString('\n')
	if err != nil {
		tb.Fatalf("server %s: %v", s.name, err)
	}
	return strings.TrimSpace(line)
}

// cpu asks the server how much CPU time it has used, user and system.
func (s *server) cpu(tb testing.TB) time.Duration {
	tb.Helper()
	if _, err := fmt.Fprintln(s.in, "cpu"); err != nil {
		tb.Fatal(err)
	}
	var us int64
	if _, err := fmt.Sscan(s.line(tb), &us); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(us) * time.Microsecond
}

// tell sends a command to the server and gives its answer.
func (s *server) tell(tb testing.TB, command string) string {
	tb.Helper()
	if _, err := fmt.Fprintln(s.in, command); err != nil {
		tb.Fatal(err)
	}
	return s.line(tb)
}

// serveChild is the main of a child: it listens, hands the listeners to serve, and
// answers commands until its input ends. Commands it does not know go to other.
func serveChild(serve func(net.Listener), other func(command string) string) error {
	sock, err := net.Listen("unix", socketIn(os.Getenv("JOBWARD_BENCH_DIR")))
	if err != nil {
		return err
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go serve(sock)
	go serve(tcp)
	fmt.Println(tcp.Addr())
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if in.Text() != "cpu" {
			fmt.Println(other(in.Text()))
			continue
		}
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			return err
		}
		fmt.Println((u.Utime.Nano() + u.Stime.Nano()) / 1000)
	}
	return nil
}
