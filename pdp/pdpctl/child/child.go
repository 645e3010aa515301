// Package child runs one command as pdpctl exec does: in a process group of its own, with masked output, on a terminal of its own where ours
// is one, with our signals, and dead when we are.
//
// Output that goes to a terminal comes through a pseudo-terminal, other output through pipes; standard output and standard error are
// masked each by itself and each keeps its order. A command that would read a terminal reads the pseudo-terminal, so no key gets to it that
// it could not see, and Ctrl-C and Ctrl-Z are its own business, as with ssh. It works on Linux only.
package child

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/jobward/jobward/internal/mask"
)

// The exit codes beside the command's own, as env and timeout have them. A command that a signal n ended gives 128+n.
const (
	ExitCannotRun = 126 // the command is there and cannot be run
	ExitNotFound  = 127 // there is no such command
)

// Config is what to run, and where.
type Config struct {
	Path string   // the program, as Find gives it
	Args []string // with the command's name first
	Env  []string

	In       io.Reader // a file is handed on as it is, unless it is a terminal; nil reads nothing
	Out, Err io.Writer // masked before; terminals are found out
	Mask     *mask.Set

	// Grace is how long the command may go on after the first SIGTERM or SIGHUP. Zero lets it.
	Grace time.Duration
	// Tell gets a word for people, without the line's end.
	Tell func(string)
}

// Find gives the program that a command's name stands for, or the exit code that says why there is none.
func Find(name string) (path string, code int, err error) {
	path, err = exec.LookPath(name)
	switch {
	case err == nil:
		return path, 0, nil
	case errors.Is(err, os.ErrPermission):
		return "", ExitCannotRun, err
	default:
		return "", ExitNotFound, err
	}
}

const (
	// silence is how long the output of processes that the command left behind is waited for.
	silence = time.Second
	// leftOver is how much is read after the command's end, at most: more than a pipe or a terminal holds.
	leftOver = 2 << 20
)

// stream is output on its way from the command.
type stream struct {
	from *os.File
	to   *mask.Writer
	done chan struct{}
	// cut says that it was still held open when we stopped listening.
	cut bool
}

func newStream(from *os.File, to *mask.Writer) *stream {
	s := &stream{from: from, to: to, done: make(chan struct{})}
	go s.pump()
	return s
}

// pump passes on what comes until the end. If nobody takes it any more, the command must not find somebody who listens.
func (s *stream) pump() {
	defer close(s.done)
	defer s.to.Close() // an error is that of a Write before, or tells nobody anything
	defer s.from.Close()
	buf := make([]byte, 64<<10)
	ended, after := false, 0
	for after < leftOver {
		if ended {
			if s.from.SetReadDeadline(time.Now().Add(silence)) != nil {
				return
			}
		}
		n, err := s.from.Read(buf)
		if n > 0 {
			if _, err := s.to.Write(buf[:n]); err != nil {
				return
			}
		}
		if ended {
			after += n
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && !ended:
			ended = true
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.cut = true
			return
		default: // the end, which a terminal calls an input error
			return
		}
	}
	s.cut = true
}

// end waits until all is passed on that was written before the command's end, and reports whether somebody else may write more.
func (s *stream) end() (cut bool) {
	s.from.SetReadDeadline(time.Now()) // closed already: nothing to interrupt
	<-s.done
	return s.cut
}
