//go:build linux

package exec

import (
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/jobward/jobward/test/capture"
	"github.com/jobward/jobward/test/programs"
)

// terminal is what a person sits at.
type terminal struct {
	t             *testing.T
	master, slave *os.File
	screen        capture.Output
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		programs.Missing(t, "/dev/ptmx")
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	m := &terminal{t: t, master: master, slave: slave}
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(&m.screen, master) // ends with an error when nobody has the terminal any more
	}()
	t.Cleanup(func() {
		slave.Close()
		<-done
		master.Close()
	})
	m.size(40, 100)
	return m
}

func (m *terminal) size(rows, cols uint16) {
	m.t.Helper()
	if err := unix.IoctlSetWinsize(int(m.slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
		m.t.Fatal(err)
	}
}

func (m *terminal) settings() unix.Termios {
	m.t.Helper()
	s, err := unix.IoctlGetTermios(int(m.slave.Fd()), unix.TCGETS)
	if err != nil {
		m.t.Fatal(err)
	}
	return *s
}

func (m *terminal) types(text string) {
	m.t.Helper()
	if _, err := m.master.WriteString(text); err != nil {
		m.t.Fatal(err)
	}
}

func (m *terminal) shows(text string) {
	m.t.Helper()
	programs.Eventually(m.t, text, func() bool { return m.screen.Has(text) })
}

// TestTerminal: the command has a terminal of our size, of which the size changes with ours; it is masked; what is typed gets there once; Ctrl-C is
// the command's; afterwards our terminal is as it was.
func TestTerminal(t *testing.T) {
	r := newRig(t)
	m := newTerminal(t)
	before := m.settings()
	cmd := r.unstarted("terminal", `echo "$CI_JOB_TOKEN" >token
test -t 0 && test -t 1 && test -t 2 && echo on a terminal of $(stty size)
echo "out $CI_JOB_TOKEN"; echo "err $CI_JOB_TOKEN" >&2; printf 'name: '
read x; echo "hello $x and $CI_JOB_TOKEN"
trap 'echo now $(stty size)' WINCH; trap 'echo interrupted; exit 6' INT
printf 'wait: '; while :; do sleep 0.05; done`)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = m.slave, m.slave, m.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	m.shows("on a terminal of 40 100")
	m.shows("name: ") // a prompt without a line's end
	if m.settings() == before {
		t.Error("our terminal is not raw: keys would be shown twice")
	}
	m.types("world\r")
	m.shows("hello world and [MASKED]")
	m.shows("wait: ")
	m.size(30, 90)
	m.shows("now 30 90")
	m.types("\x03")
	m.shows("interrupted")
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 6 {
		t.Errorf("code %d", code)
	}
	m.shows("job terminal revoked")
	if m.settings() != before {
		t.Error("our terminal was not given back as it was")
	}
	screen := m.screen.String()
	if token := r.kept("token"); strings.Contains(screen, token) || !strings.Contains(screen, "out [MASKED]\r\n") || !strings.Contains(screen, "err [MASKED]\r\n") {
		t.Errorf("%q", strings.ReplaceAll(screen, token, "TOKEN"))
	}
	if n := strings.Count(screen, "world"); n != 2 {
		t.Errorf("what was typed shows %d times: %q", n, screen)
	}
	if r.job("terminal").GetLive() {
		t.Error("the job lives")
	}
}

// TestHalfTerminal: only what is a terminal becomes one.
func TestHalfTerminal(t *testing.T) {
	r := newRig(t)
	m := newTerminal(t)
	cmd := r.unstarted("half", `cat; test -t 0 || echo in no; test -t 1 && echo out yes; test -t 2 || echo err no; echo "$CI_JOB_TOKEN" >&2`)
	var errs capture.Output
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader("given\n"), m.slave, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Run(); err != nil {
		t.Fatal(err, errs.String())
	}
	m.shows("given\r\nin no\r\nout yes\r\nerr no\r\n")
	if !errs.Has("[MASKED]\n") || !errs.Has("revoked at revision") {
		t.Errorf("%s", &errs)
	}
}

// TestHangUp: our terminal goes away; the command gets SIGHUP, and the job is ended.
func TestHangUp(t *testing.T) {
	r := newRig(t)
	m := newTerminal(t)
	cmd := r.unstarted("hangup", "trap 'exit 4' HUP; echo ready; while :; do sleep 0.05; done", "--grace", "1s")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = m.slave, m.slave, m.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.shows("ready")
	cmd.Process.Signal(syscall.SIGHUP)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 4 {
		t.Errorf("code %d: %s", code, &m.screen)
	}
	if r.job("hangup").GetLive() {
		t.Error("the job lives")
	}
}
