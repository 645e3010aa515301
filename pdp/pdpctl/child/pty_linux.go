package child

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// pty is a pseudo-terminal between the command and our terminal.
type pty struct {
	master, slave *os.File
	// keyboard is our terminal if the command reads from it, and screen the one that it writes to; one of them may be missing.
	keyboard *os.File
	screen   *os.File
	before   *unix.Termios // how the keyboard was set
	reading  bool
}

// asTerminal gives the terminal that a reader or writer is, or nil.
func asTerminal(rw any) *os.File {
	f, ok := rw.(*os.File)
	if !ok || f == nil {
		return nil
	}
	if _, err := control(f, unix.TCGETS, unix.IoctlGetTermios); err != nil {
		return nil
	}
	return f
}

// IsTerminal reports whether output to w would come from a pseudo-terminal.
func IsTerminal(w io.Writer) bool { return asTerminal(w) != nil }

// control makes one ioctl without taking the file out of the runtime's hands.
func control[T any](f *os.File, req uint, do func(int, uint) (T, error)) (got T, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return got, err
	}
	outer := raw.Control(func(fd uintptr) { got, err = do(int(fd), req) })
	if outer != nil {
		err = outer
	}
	return got, err
}

// set is control for requests that give nothing back.
func set[T any](f *os.File, req uint, value *T, do func(int, uint, *T) error) error {
	_, err := control(f, req, func(fd int, req uint) (struct{}, error) { return struct{}{}, do(fd, req, value) })
	return err
}

// openPTY makes one that is set and sized as our terminal is.
func openPTY(in, out, errs *os.File) (p *pty, err error) {
	p = &pty{keyboard: in, screen: out}
	for _, f := range []*os.File{errs, in} {
		if p.screen == nil {
			p.screen = f
		}
	}
	if p.master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("no pseudo-terminal: %w", err)
	}
	defer func() {
		if err != nil {
			p.master.Close()
		}
	}()
	locked := 0
	if _, err := control(p.master, unix.TIOCSPTLCK, func(fd int, req uint) (int, error) { return 0, unix.IoctlSetPointerInt(fd, req, locked) }); err != nil {
		return nil, fmt.Errorf("the pseudo-terminal cannot be unlocked: %w", err)
	}
	n, err := control(p.master, unix.TIOCGPTN, unix.IoctlGetInt)
	if err != nil {
		return nil, fmt.Errorf("the pseudo-terminal has no number: %w", err)
	}
	if p.slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0); err != nil {
		return nil, err
	}
	if settings, err := control(p.screen, unix.TCGETS, unix.IoctlGetTermios); err == nil {
		if in == nil {
			settings.Oflag &^= unix.OPOST // our terminal keeps its settings, and does to line ends what is to be done
		}
		if err := set(p.slave, unix.TCSETS, settings, unix.IoctlSetTermios); err != nil {
			p.slave.Close()
			return nil, err
		}
	}
	p.resize()
	return p, nil
}

// resize gives the size of our terminal to the command's. One without a size is left alone.
func (p *pty) resize() {
	if size, err := control(p.screen, unix.TIOCGWINSZ, unix.IoctlGetWinsize); err == nil {
		set(p.master, unix.TIOCSWINSZ, size, unix.IoctlSetWinsize)
	}
}

// attach takes our keyboard: every key goes to the command's terminal, which makes of it what it is set to.
func (p *pty) attach() {
	p.resize()
	if p.keyboard == nil || p.before != nil {
		return
	}
	settings, err := control(p.keyboard, unix.TCGETS, unix.IoctlGetTermios)
	if err != nil {
		return // it hung up: SIGHUP says so
	}
	raw := *settings
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if set(p.keyboard, unix.TCSETS, &raw, unix.IoctlSetTermios) == nil {
		p.before = settings
	}
	if !p.reading {
		p.reading = true
		go io.Copy(p.master, p.keyboard) // ends with the process, or when either is closed
	}
}

// restore gives our keyboard back as it was.
func (p *pty) restore() {
	if p.before != nil {
		set(p.keyboard, unix.TCSETS, p.before, unix.IoctlSetTermios)
		p.before = nil
	}
}
