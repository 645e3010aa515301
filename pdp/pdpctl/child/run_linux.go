package child

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Signals begins to collect the signals that are the command's. From then on none of them ends this process, also not a pipe that
// nobody reads.
func Signals() (signals <-chan os.Signal, stop func()) {
	ch := make(chan os.Signal, 64)
	signal.Notify(ch, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTSTP, unix.SIGCONT, unix.SIGWINCH, unix.SIGPIPE)
	return ch, func() { signal.Stop(ch) }
}

// running is a command that runs.
type running struct {
	Config
	cmd     *exec.Cmd
	pty     *pty // nil without a terminal
	streams []*stream
	grace   <-chan time.Time
	asked   bool // to end
}

// Run runs the command to its end and gives its exit code. Closing lost asks it to end, as SIGTERM does. An error says that it did not
// run, and comes with the code that says so.
func Run(c Config, signals <-chan os.Signal, lost <-chan struct{}) (code int, err error) {
	// The kernel kills the command when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := &running{Config: c}
	if err := r.start(); err != nil {
		return ExitCannotRun, err
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		r.cmd.Wait() // the exit code is in ProcessState
	}()
	for {
		select {
		case <-exited:
			r.end()
			return exitCode(r.cmd.ProcessState), nil
		case s := <-signals:
			r.handle(s.(syscall.Signal))
		case <-lost:
			lost = nil
			r.handle(unix.SIGTERM)
		case <-r.grace:
			r.Tell(fmt.Sprintf("the command did not end within %v and is killed", r.Grace))
			r.send(unix.SIGKILL)
		}
	}
}

func exitCode(s *os.ProcessState) int {
	if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return s.ExitCode()
}

// start starts the command with its ends. Ours of them are closed when it fails.
func (r *running) start() (err error) {
	r.cmd = &exec.Cmd{Path: r.Path, Args: r.Args, Env: r.Env, SysProcAttr: &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}, WaitDelay: silence}
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			r.end()
		}
	}()
	in, out, errs := asTerminal(r.In), asTerminal(r.Out), asTerminal(r.Err)
	r.cmd.Stdin = r.In
	if in != nil || out != nil {
		if r.pty, err = openPTY(in, out, errs); err != nil {
			return err
		}
		theirs = append(theirs, r.pty.slave)
		r.cmd.SysProcAttr.Setsid, r.cmd.SysProcAttr.Setctty = true, true
		if in != nil {
			r.cmd.Stdin = r.pty.slave
		} else {
			r.cmd.SysProcAttr.Ctty = 1
		}
	} else {
		r.cmd.SysProcAttr.Setpgid = true
	}
	// end gives the command's end of an output.
	end := func(terminal *os.File, dest io.Writer) (*os.File, error) {
		if terminal != nil && r.pty != nil {
			return r.pty.slave, nil
		}
		from, to, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		theirs = append(theirs, to)
		r.streams = append(r.streams, newStream(from, r.Mask.Writer(dest)))
		return to, nil
	}
	if r.cmd.Stdout, err = end(out, r.Out); err != nil {
		return err
	}
	if r.cmd.Stderr, err = end(errs, r.Err); err != nil {
		return err
	}
	if err := r.cmd.Start(); err != nil {
		return err
	}
	if r.pty != nil {
		r.streams = append(r.streams, newStream(r.pty.master, r.Mask.Writer(r.pty.screen)))
		r.pty.attach()
	}
	return nil
}

// handle does with a signal what is to be done.
func (r *running) handle(s syscall.Signal) {
	switch s {
	case unix.SIGPIPE: // whoever read our output is gone; the command learns it by its own next write
	case unix.SIGWINCH:
		if r.pty != nil {
			r.pty.resize()
		}
	case unix.SIGTSTP:
		r.suspend()
	case unix.SIGCONT:
		if r.pty != nil {
			r.pty.attach()
		}
		r.send(s)
	case unix.SIGTERM, unix.SIGHUP:
		if s == unix.SIGTERM && r.asked {
			r.send(unix.SIGKILL)
			return
		}
		r.send(s)
		r.asked = r.asked || s == unix.SIGTERM
		if r.Grace > 0 && r.grace == nil {
			r.grace = time.After(r.Grace)
		}
	default:
		r.send(s)
	}
}

// send sends a signal to the command and to what it started, unless they took a group of their own.
func (r *running) send(s syscall.Signal) { unix.Kill(-r.cmd.Process.Pid, s) } // gone already: nothing to be done

// suspend stops the command and then this process, until SIGCONT. Nobody sends heartbeats meanwhile.
func (r *running) suspend() {
	stop := unix.SIGTSTP
	if r.pty != nil {
		stop = unix.SIGSTOP // the kernel lets nothing else stop a group that no shell would wake
		r.pty.restore()
	}
	r.send(stop)
	unix.Kill(os.Getpid(), unix.SIGSTOP) // this thread may get further before it stops
}

// end passes on the rest of the output and gives our terminal back.
func (r *running) end() {
	cut := false
	for _, s := range r.streams {
		cut = s.end() || cut
	}
	if r.pty != nil {
		r.pty.restore()
		r.pty.master.Close()
	}
	if cut {
		r.Tell("processes that the command left behind still hold its output; what they write is lost")
	}
}
