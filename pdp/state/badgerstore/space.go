package badgerstore

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/jobward/jobward/pdp/authz"
)

// ballastName is the file that only takes space.
const ballastName = "BALLAST"

// space watches the disk. Badger writes to memory maps, and a map that finds the disk full
// is a signal that kills the process, so writes have to be refused before that.
//
//   - Batches that are not urgent are refused when less is free than the reserve and what
//     Badger may need next: to fill its write-ahead file, to make a table of it, to compact.
//   - Urgent ones go on into the write-ahead file that there is, and are refused only when not
//     even that has room, or when it is full and there is no space for what follows. Before
//     that the ballast goes.
//
// It is used by the committer alone.
type space struct {
	dir      string
	reserve  int64
	ballast  int64
	memtable int64
	free     func() (int64, error)
	db       *badger.DB
	log      *slog.Logger

	asked    time.Time
	isFree   int64
	askedDB  time.Time
	compacts int64 // what compactions may write before they delete
	low      bool
}

// How old an answer of the system, and of Badger about its tables, may be.
const (
	spaceFresh  = 10 * time.Millisecond
	tablesFresh = time.Second
)

// walRoom is what has to be free for a transaction of small batches: its pages in the
// write-ahead file and what the file system needs to find them.
const walRoom = 4 << 20

func newSpace(opts *Options, db *badger.DB) space {
	s := space{
		dir: opts.Dir, reserve: opts.Reserve, ballast: opts.Ballast, memtable: db.Opts().MemTableSize,
		free: opts.Free, db: db, log: opts.Logger,
	}
	if s.free == nil {
		s.free = func() (int64, error) { return freeBytes(opts.Dir) }
	}
	return s
}

// freeBytes is what is free for us on the file system of dir.
func freeBytes(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

// look brings the figures up to date.
func (s *space) look(now time.Time) error {
	if now.Sub(s.asked) < spaceFresh {
		return nil
	}
	free, err := s.free()
	if err != nil {
		return fmt.Errorf("asking for free space: %w", err)
	}
	s.asked, s.isFree = now, free
	if now.Sub(s.askedDB) >= tablesFresh {
		s.askedDB, s.compacts = now, 0
		for _, level := range s.db.Levels() {
			// Compacting writes anew what it takes from a level, and what that overlaps with in the
			// next, before it deletes the old files.
			if level.Score >= 1 || level.Level == 0 {
				s.compacts += 2 * level.Size
			}
		}
	}
	return nil
}

// flush is what making a table of a full write-ahead file takes, and compacting after it.
func (s *space) flush() int64 { return s.memtable*5/4 + s.compacts }

// needed is what Badger may write next by itself: the rest of its write-ahead file, and
// what follows when that is full.
func (s *space) needed() int64 { return s.memtable + s.flush() }

// admit says whether a batch of so many bytes may be stored; nil if so. wal is the
// write-ahead file that it goes to.
func (s *space) admit(urgent bool, size int64, wal string, now time.Time) error {
	if err := s.look(now); err != nil {
		return err
	}
	if s.isFree >= s.needed()+s.reserve {
		if s.low {
			s.low = false
			s.log.Info("the disk of the store has room again", "free", s.isFree)
			return s.makeBallast()
		}
		return nil
	}
	if !s.low {
		s.low = true
		s.log.Warn("the disk of the store is nearly full; only changes that take rights away are stored", "free", s.isFree, "needed", s.needed()+s.reserve)
	}
	if !urgent {
		return errDiskLow(s.isFree, s.needed()+s.reserve)
	}
	need := 2*size + walRoom
	if filled(wal)+need > s.memtable {
		need += s.flush()
	}
	if s.isFree >= need {
		return nil
	}
	if dropped, err := s.dropBallast(); err != nil {
		return err
	} else if dropped {
		s.log.Warn("the ballast of the store was deleted to make room for revocations", "free", s.isFree)
		s.asked = time.Time{}
		return s.admit(urgent, size, wal, now)
	}
	return errDiskLow(s.isFree, need)
}

// filled is how much of a write-ahead file is used. The file is as long as it can become
// from the start, and the system has given it only the pages written to.
func filled(path string) int64 {
	var st syscall.Stat_t
	if syscall.Stat(path, &st) != nil {
		return 0
	}
	return st.Blocks * 512
}

// roomToOpen refuses to open a store when making tables of its write-ahead files, which
// Badger does at once, would find the disk full. The ballast goes for it.
func roomToOpen(opts *Options, logs int64) error {
	s := space{dir: opts.Dir, free: opts.Free}
	if s.free == nil {
		s.free = func() (int64, error) { return freeBytes(opts.Dir) }
	}
	need := logs*5/4 + walRoom
	free, err := s.free()
	if err != nil || free >= need {
		return err
	}
	if info, err := os.Stat(filepath.Join(opts.Dir, ballastName)); err == nil && free+info.Size() >= need {
		_, err := s.dropBallast()
		return err
	}
	return fmt.Errorf("the disk has %d MiB left and opening needs %d MiB: make room and start again; nothing is lost", free>>20, need>>20)
}

func errDiskLow(free, need int64) error {
	return authz.Errorf(authz.KindExhausted, "DISK_LOW",
		"the disk of the store has %d MiB left and %d MiB are needed; make room. Until then only changes that take rights away are stored", free>>20, need>>20)
}

// makeBallast makes the ballast when there is space for it and the rest.
func (s *space) makeBallast() error {
	if s.ballast == 0 {
		return nil
	}
	path := filepath.Join(s.dir, ballastName)
	if info, err := os.Stat(path); err == nil && info.Size() == s.ballast {
		return nil
	}
	if free, err := s.free(); err != nil || free < s.needed()+s.reserve+s.ballast {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(allocate(f, s.ballast), f.Close())
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, errors.ErrUnsupported) {
		return os.Remove(path)
	}
	return err
}

func (s *space) dropBallast() (dropped bool, err error) {
	err = os.Remove(filepath.Join(s.dir, ballastName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
