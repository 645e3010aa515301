package badgerstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// markName is the file beside Badger's folder that remembers how far the store had
// come, so that a store that lost its end is not taken for a whole one (P6).
const markName = "MARK"

// mark is what the file says. It is written after every transaction, which survives a
// kill of the process, and synced behind it (at most syncBehind), so after a power cut
// it can be older than the store but not newer: the transaction is synced first.
type mark struct {
	state.Mark
	// txn numbers Badger's transactions: its version of everything that one wrote. Zero
	// says that the store was being made and nothing was committed yet.
	txn uint64
}

// The file has two slots, a sector apart, used in turn: a torn write damages one, and
// the other is the mark before it.
const (
	markKind   = "jobward mark "
	markMagic  = markKind + "1\n\x00"
	markSlot   = 512
	markLength = len(markMagic) + 8 + 16 + 8 + 16 + 8 + 4
)

func (m *mark) encode() []byte {
	b := append(make([]byte, 0, markLength), markMagic...)
	b = binary.BigEndian.AppendUint64(b, m.Epoch.Counter)
	b = append(b, m.Epoch.ID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(m.Revision))
	b = append(b, m.Chain[:]...)
	b = binary.BigEndian.AppendUint64(b, m.txn)
	return binary.LittleEndian.AppendUint32(b, sumOf(nil, b))
}

func decodeMark(b []byte) (m mark, ok bool) {
	if len(b) < markLength || string(b[:len(markMagic)]) != markMagic ||
		binary.LittleEndian.Uint32(b[markLength-4:]) != sumOf(nil, b[:markLength-4]) {
		return m, false
	}
	b = b[len(markMagic):]
	m.Epoch.Counter = binary.BigEndian.Uint64(b)
	copy(m.Epoch.ID[:], b[8:])
	m.Revision = authz.Revision(binary.BigEndian.Uint64(b[24:]))
	copy(m.Chain[:], b[32:])
	m.txn = binary.BigEndian.Uint64(b[48:])
	return m, true
}

// errNoMark says that there is no mark file.
var errNoMark = errors.New("there is no " + markName + " file")

// readMark reads the newer of the two slots.
func readMark(dir string) (m mark, err error) {
	b, err := os.ReadFile(filepath.Join(dir, markName))
	if errors.Is(err, fs.ErrNotExist) {
		return m, errNoMark
	}
	if err != nil {
		return m, err
	}
	found := false
	for at := 0; at <= markSlot && at < len(b); at += markSlot {
		if slot, ok := decodeMark(b[at:]); ok && (!found || slot.txn > m.txn) {
			m, found = slot, true
		}
	}
	if !found {
		if len(b) > len(markMagic) && string(b[:len(markKind)]) == markKind && string(b[:len(markMagic)]) != markMagic {
			return m, fmt.Errorf("the %s file has another version than this program knows: it is damaged, or was written by a newer one", markName)
		}
		return m, fmt.Errorf("the %s file is damaged", markName)
	}
	return m, nil
}

// createMark makes the file of a new store, in one step: before it nothing is there.
func createMark(dir string, m mark) error {
	tmp := filepath.Join(dir, markName+".new")
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(m.encode(), make([]byte, 2*markSlot-markLength)...))
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, markName)); err != nil {
		return err
	}
	return syncDir(dir)
}

// markFile is the open file. It is used by one goroutine at a time.
type markFile struct {
	f *os.File
}

func openMark(dir string) (markFile, error) {
	f, err := os.OpenFile(filepath.Join(dir, markName), os.O_WRONLY, 0)
	return markFile{f}, err
}

// write stores m in the slot whose turn it is; a kill of the process cannot take it away.
func (mf markFile) write(m mark) error {
	_, err := mf.f.WriteAt(m.encode(), int64(m.txn%2)*markSlot)
	return err
}

func (s *Store) writeMark(at snapshot) error {
	err := s.mark.write(mark{at.head.mark, at.txn})
	select {
	case s.marked <- struct{}{}:
	default: // A sync is due already.
	}
	return err
}

// syncBehind is how far the synced mark may be behind the store.
const syncBehind = 100 * time.Millisecond

// startMarkSync syncs the mark file behind the transactions until stop is called, which
// waits for the last one.
func (s *Store) startMarkSync() (stop func()) {
	end, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-s.marked:
			case <-end:
				return
			}
			select {
			case <-time.After(syncBehind):
			case <-end:
			}
			if err := s.opts.Fault.do(StepSyncMark, func() error { return syncData(s.mark.f) }); err != nil {
				s.fail(fmt.Errorf("syncing %s: %w", markName, err))
				return
			}
		}
	}()
	return func() { close(end); <-done }
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
