package pep

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

const (
	markFile = "mark.json"
	lockFile = "lock"
)

// marks keeps the highest mark on disk (R13). What was seen a moment before a crash may
// be missing there, so it is written soon and not at once: a mark that is a little old
// is still one that a history set back by more does not reach.
type marks struct {
	dir  string
	lock *os.File
	seen lease.Mark // as it was at the start

	mu      sync.Mutex
	newest  lease.Mark
	written lease.Mark
	noted   chan struct{} // newest is not written; holds one
}

// stored is the file. Its field names are read by later versions.
type stored struct {
	Epoch    uint64 `json:"epoch"`
	EpochID  string `json:"epoch_id"`
	Revision uint64 `json:"revision"`
	Chain    string `json:"chain"`
	Seal     string `json:"seal"`
}

// open reads the mark. An empty dir keeps it in memory.
func (m *marks) open(dir string) error {
	m.dir, m.noted = dir, make(chan struct{}, 1)
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return fmt.Errorf("state directory %s is used by another process: give each its own (%w)", dir, err)
	}
	m.lock = lock
	m.seen, err = readMark(filepath.Join(dir, markFile))
	if err != nil {
		m.close()
		return err
	}
	m.newest, m.written = m.seen, m.seen
	return nil
}

func readMark(path string) (lease.Mark, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return lease.Mark{}, nil
	}
	var s stored
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	m := lease.Mark{Epoch: s.Epoch, Revision: authz.Revision(s.Revision)}
	id, err1 := hex.DecodeString(s.EpochID)
	chain, err2 := hex.DecodeString(s.Chain)
	seal, err3 := hex.DecodeString(s.Seal)
	if err = errors.Join(err, err1, err2, err3); err == nil && (s.Epoch == 0 || len(id) != len(m.ID) || len(chain) != len(m.Chain)) {
		err = errors.New("it is not complete")
	}
	if err != nil {
		return m, fmt.Errorf("%s cannot be read; without it a PDP that was set back to an older state would be believed: restore it, "+
			"or remove it if you are sure that none was: %w", path, err)
	}
	copy(m.ID[:], id)
	copy(m.Chain[:], chain)
	m.Seal = seal
	return m, nil
}

// note takes the highest mark seen.
func (m *marks) note(seen lease.Mark) {
	if m.dir == "" {
		return
	}
	m.mu.Lock()
	m.newest = seen
	m.mu.Unlock()
	select {
	case m.noted <- struct{}{}:
	default:
	}
}

// run writes marks, once in a second at most.
func (m *marks) run(ctx context.Context, log *slog.Logger) {
	const apart = time.Second
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.noted:
		}
		if err := m.write(); err != nil {
			log.Error("the mark of what was seen of the PDP's history cannot be kept", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(apart):
		}
	}
}

// write replaces the file: written beside it, synced, renamed, and the directory synced.
func (m *marks) write() error {
	m.mu.Lock()
	mark := m.newest
	m.mu.Unlock()
	if mark.Epoch == 0 || mark.Revision == m.written.Revision && mark.SameHistory(m.written) {
		return nil
	}
	data, err := json.Marshal(stored{
		mark.Epoch, hex.EncodeToString(mark.ID[:]), uint64(mark.Revision), hex.EncodeToString(mark.Chain[:]), hex.EncodeToString(mark.Seal),
	})
	if err != nil {
		return err
	}
	path := filepath.Join(m.dir, markFile)
	if err := writeSynced(path+".new", append(data, '\n')); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	dir, err := os.Open(m.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return err
	}
	m.written = mark
	return nil
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// close writes what was not written, and lets go of the directory. run must have ended.
func (m *marks) close() error {
	if m.lock == nil {
		return nil
	}
	err := m.write()
	err = errors.Join(err, m.lock.Close())
	m.lock = nil
	return err
}
