package badgerstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/jobward/jobward/pdp/authz"
)

// badgerName is the folder inside Dir that belongs to Badger.
const badgerName = "badger"

// found is what a look at the folder found before anything was opened or changed.
type found struct {
	// mark is nil in a folder that has no store yet.
	mark *mark
	// hasHead is false when nothing was ever committed.
	hasHead bool
	head    head
	spans   []span
	last    uint64 // version of the newest transaction
	arena   int64
	logs    int64    // bytes in write-ahead files
	empty   []string // files to be removed before Badger opens the folder
}

// look reads the store in dir and refuses it when it is not whole: damaged files, missing
// ones, an end before the mark, a history that does not hang together. It changes nothing.
func look(dir string) (*found, error) {
	if err := unfinished(dir); err != nil {
		return nil, err
	}
	f := new(found)
	m, err := readMark(dir)
	switch {
	case err == nil:
		f.mark = &m
	case !errors.Is(err, errNoMark):
		return nil, damaged(dir, err)
	}
	im, err := openImage(filepath.Join(dir, badgerName))
	if err != nil {
		return nil, damaged(dir, err)
	}
	defer im.close()
	if f.mark == nil {
		if im != nil {
			return nil, damaged(dir, fmt.Errorf("%w, so nothing says how far it had come", errNoMark))
		}
		return f, nil
	}
	if err := f.read(im); err != nil {
		return nil, damaged(dir, err)
	}
	return f, nil
}

// read checks a store that has a mark.
func (f *found) read(im *image) error {
	if im == nil {
		if f.mark.txn > 0 {
			return fmt.Errorf("all files of Badger's are gone, and %s says that it had come to %v", markName, f.mark)
		}
		return nil
	}
	if im.last < f.mark.txn {
		return fmt.Errorf("it ends at transaction %d, and %s says that it had come to %d (%v)", im.last, markName, f.mark.txn, f.mark)
	}
	var err error
	f.last, f.arena, f.logs, f.empty = im.last, im.arena, im.logs, im.empty
	if f.head, f.hasHead, err = im.head(); err != nil {
		return err
	}
	if !f.hasHead {
		if im.last > 0 {
			return errors.New("the head record is missing")
		}
		return nil
	}
	if f.head.mark.Epoch != f.mark.Epoch {
		return fmt.Errorf("%s belongs to another history: it says %v, and the store is at %v", markName, f.mark, f.head.mark)
	}
	if f.head.mark.Revision < f.mark.Revision || f.head.mark.Revision == f.mark.Revision && f.head.mark != f.mark.Mark {
		return fmt.Errorf("it is at %v, and %s says that it had come to %v", f.head.mark, markName, f.mark)
	}
	cc := &chainChecker{head: f.head, mark: f.mark.Mark}
	if err := im.checkHistory(cc); err != nil {
		return err
	}
	f.spans = cc.spans
	return nil
}

// damaged says that the store is not whole and was not touched.
func damaged(dir string, err error) error {
	return &authz.Error{
		Kind: authz.KindPrecondition, Code: "STORE_DAMAGED",
		Message: fmt.Sprintf("the store in %s is damaged, and was left exactly as it is; put a copy of the folder from before in its place, or see what is left with `pdp fsck`", dir),
		Cause:   err,
	}
}

// damagedInside says that files which were all whole hold what they should not.
func damagedInside(dir string, err error) error {
	return &authz.Error{
		Kind: authz.KindPrecondition, Code: "STORE_DAMAGED",
		Message: fmt.Sprintf("the store in %s holds what it should not; nothing was deleted; put a copy of the folder from before in its place, or see what is left with `pdp fsck`", dir),
		Cause:   err,
	}
}

// unusable says that the system does not let us use the store.
func unusable(dir string, err error) error {
	var known *authz.Error
	if errors.As(err, &known) {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) {
		err = fmt.Errorf("the disk is full, make room and start again: %w", err)
	}
	return &authz.Error{
		Kind: authz.KindPrecondition, Code: "STORE_UNUSABLE",
		Message: fmt.Sprintf("the store in %s cannot be used", dir), Cause: err,
	}
}

// lockDir takes the folder for this process. The lock is on the folder itself, so that it
// leaves no file and ends with the process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, unusable(dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, authz.Errorf(authz.KindPrecondition, "STORE_IN_USE",
				"the store in %s is in use by another process; a store belongs to one PDP: stop the other, or give this one a folder of its own", dir)
		}
		return nil, unusable(dir, err)
	}
	return f, nil
}

// memFiles follows Badger's write-ahead files: the one that it writes to, and the one that it
// will begin next.
type memFiles struct {
	dir          string
	n            int
	newest, next string
	// full is what goes into a file before Badger begins the next, written what went into the
	// newest at most.
	full, written int64
}

// entryBound is more than what an entry takes in Badger's file or in its table in memory,
// beside key and value.
const entryBound = 128

// find looks for the newest file, which Badger has just begun.
func (m *memFiles) find(dir string, full int64) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), ".mem"); ok {
			n, err := strconv.Atoi(name)
			if err != nil {
				return err
			}
			m.n = max(m.n, n)
		}
	}
	m.dir, m.full, m.written = dir, full, 1<<10 // The head of a new store.
	m.set()
	return nil
}

func (m *memFiles) set() {
	m.newest = filepath.Join(m.dir, fmt.Sprintf("%05d.mem", m.n))
	m.next = filepath.Join(m.dir, fmt.Sprintf("%05d.mem", m.n+1))
}

// begun reports whether Badger has begun files since it was last asked, for a transaction of
// at most size bytes. It looks only when the file may be full: looking takes longer than all
// else that is done beside the write.
func (m *memFiles) begun(size int64) (begun bool) {
	if m.written += size; m.written < m.full {
		return false
	}
	var st syscall.Stat_t
	for syscall.Stat(m.next, &st) == nil {
		m.n++
		m.set()
		begun, m.written = true, size
	}
	return begun
}
