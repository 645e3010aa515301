package daemon

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jobward/jobward/pdp/state"
)

// seenName is the file in the data directory of a replica: the highest mark that it has seen (PROTOCOL R13). A cluster that was replaced, or
// restored from an old copy, is told by it at the next start.
const seenName = "SEEN"

// seenEvery is how far the file may be behind. What was committed in the last moment before a kill is not in it.
const seenEvery = 3 * time.Second

const seenMagic = "jobward seen 1"

// seen is the data directory of a replica. Nobody else has it.
type seen struct {
	dir  string
	lock *os.File // on the folder itself, so that it ends with the process and leaves no file
	last state.Mark
}

// openSeen makes the directory if it is not there, takes it for this process, and reads the mark; the zero one if there is none.
func openSeen(dir string) (*seen, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for _, name := range []string{"badger", "MARK"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return nil, fmt.Errorf("%s holds an embedded store, which a PDP on etcd does not use: name another directory, or move the store over with pdp migrate", dir)
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s is in use by another process: each replica needs a directory of its own", dir)
		}
		return nil, err
	}
	s := &seen{dir: dir, lock: f}
	text, err := os.ReadFile(filepath.Join(dir, seenName))
	if err == nil {
		s.last, err = parseSeen(text)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.Close()
		return nil, fmt.Errorf("the highest mark that this replica has seen cannot be read, so an older history would go unnoticed: %s: %w; "+
			"if the cluster is known to be whole, remove the file", filepath.Join(dir, seenName), err)
	}
	return s, nil
}

// formatSeen writes a mark as one line, with a checksum.
func formatSeen(m state.Mark) []byte {
	line := fmt.Appendf(nil, "%s %d %x %d %x", seenMagic, m.Epoch.Counter, m.Epoch.ID, m.Revision, m.Chain)
	return fmt.Appendf(line, " %08x\n", crc32.ChecksumIEEE(line))
}

func parseSeen(text []byte) (m state.Mark, err error) {
	if !bytes.HasPrefix(text, []byte(seenMagic+" ")) {
		return m, errors.New("it is damaged, or was written by a newer version")
	}
	var id, chain []byte
	var sum uint32
	_, err = fmt.Sscanf(string(text), seenMagic+" %d %x %d %x %x\n", &m.Epoch.Counter, &id, &m.Revision, &chain, &sum)
	if err != nil || len(id) != len(m.Epoch.ID) || len(chain) != len(m.Chain) {
		return state.Mark{}, errors.New("it is damaged")
	}
	copy(m.Epoch.ID[:], id)
	copy(m.Chain[:], chain)
	if !bytes.Equal(text, formatSeen(m)) {
		return state.Mark{}, fmt.Errorf("it is damaged (%s)", hex.EncodeToString(m.Chain[:4]))
	}
	return m, nil
}

// keep writes a mark, so that after a power cut there is this one or the one before. It goes forward only.
func (s *seen) keep(m state.Mark) error {
	if m == s.last || m.Epoch == s.last.Epoch && m.Revision < s.last.Revision {
		return nil
	}
	path := filepath.Join(s.dir, seenName)
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(formatSeen(m))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	if err := s.lock.Sync(); err != nil { // the name, too
		return err
	}
	s.last = m
	return nil
}

// follow keeps what head gives until ctx ends, and once more then. It reports an error once, until there is none any more: a PDP that cannot write the
// file answers all the same, and the next start knows less.
func (s *seen) follow(ctx context.Context, head func() state.Mark, report func(error)) {
	tick := time.NewTicker(seenEvery)
	defer tick.Stop()
	failed := false
	for {
		err := s.keep(head())
		if err != nil && !failed {
			report(err)
		}
		failed = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			if err := s.keep(head()); err != nil {
				report(err)
			}
			return
		}
	}
}

func (s *seen) close() error { return s.lock.Close() }

// noSeen refuses a data directory of a replica for an embedded store: whoever forgets the setting store would get an empty world.
func noSeen(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, seenName)); err == nil {
		return fmt.Errorf("%s belongs to a replica whose history is in etcd: set store, or name another directory", dir)
	}
	return nil
}
