package identity

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"time"
)

const maxFile = 1 << 20 // bytes

// source is a value parsed from files that belong together, and parsed again when one of them changes.
type source[T any] struct {
	files []file
	parse func(contents [][]byte) (T, error)

	current atomic.Pointer[T] // the last good one; never nil after open

	// The rest belongs to whoever calls look: first open, then the one goroutine of run.
	seen    []fs.FileInfo // what the files were when they were read last
	failure string        // what was wrong with them then, "" if nothing
}

// file is one input of a source.
type file struct {
	what string // for messages, such as "callers file"
	path string
	// guarded files may not be readable or writable by everybody, nor writable by the group.
	guarded bool
}

func open[T any](parse func([][]byte) (T, error), files ...file) (*source[T], error) {
	s := &source[T]{files: files, parse: parse}
	if _, err := s.look(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *source[T]) get() T { return *s.current.Load() }

// look reads the files again if one of them changed since the last look, or if that one failed: the cure of a failure may be
// nothing that shows in size or time, a chmod for example. It reports whether current was replaced.
func (s *source[T]) look() (changed bool, err error) {
	now := make([]fs.FileInfo, len(s.files))
	same := s.failure == "" && s.seen != nil
	for i, f := range s.files {
		// Before reading, so that what is written while we read is seen as a change by the next look.
		if now[i], err = f.stat(); err != nil {
			return false, err
		}
		same = same && os.SameFile(now[i], s.seen[i]) && now[i].ModTime().Equal(s.seen[i].ModTime()) && now[i].Size() == s.seen[i].Size()
	}
	if same {
		return false, nil
	}
	contents := make([][]byte, len(s.files))
	for i, f := range s.files {
		if contents[i], err = f.read(); err != nil {
			return false, err
		}
	}
	value, err := s.parse(contents)
	if err != nil {
		return false, err
	}
	s.seen = now
	s.current.Store(&value)
	return true, nil
}

// run looks every so often until ctx ends. It calls report with nil for a change that was taken over, and with the error for one
// that was not; a failure that lasts is reported once.
func (s *source[T]) run(ctx context.Context, every time.Duration, report func(error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.lookAndReport(report)
		}
	}
}

func (s *source[T]) lookAndReport(report func(error)) {
	changed, err := s.look()
	failure := ""
	if err != nil {
		failure = err.Error()
	}
	if changed || failure != "" && failure != s.failure {
		report(err)
	}
	s.failure = failure
}

// stat refuses what cannot be read as a whole and read again: opening a pipe would wait for a writer.
func (f file) stat() (fs.FileInfo, error) {
	info, err := os.Stat(f.path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", f.what, err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s %s: is not a regular file", f.what, f.path)
	case f.guarded && info.Mode().Perm()&0o026 != 0:
		return nil, fmt.Errorf("%s %s: has mode %04o, so others can read or change it; run chmod 600 (or 640) on it",
			f.what, f.path, info.Mode().Perm())
	case info.Size() > maxFile:
		return nil, f.tooLarge()
	}
	return info, nil
}

func (f file) read() ([]byte, error) {
	r, err := os.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.what, err)
	}
	defer r.Close()
	content, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", f.what, err)
	case len(content) > maxFile:
		return nil, f.tooLarge()
	case len(content) == 0:
		return nil, fmt.Errorf("%s %s: is empty", f.what, f.path)
	}
	return content, nil
}

func (f file) tooLarge() error {
	return fmt.Errorf("%s %s: is larger than %d bytes", f.what, f.path, maxFile)
}

// named puts the name of the file before an error about what is in it.
func (f file) named(err error) error {
	return fmt.Errorf("%s %s: %w", f.what, f.path, err)
}
