package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/badgerstore"
	"github.com/jobward/jobward/pdp/state/statetest"
)

const mib = 1 << 20

// smallDisk mounts a file system of its own, or skips the test.
func smallDisk(t *testing.T, size int64) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("jobward-crash", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("a small file system can't be mounted here (%v): run as root to see what a full disk does", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
	return dir
}

func freeOn(t *testing.T, dir string) int64 {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}

// fill takes what is free on the disk of dir but for leave bytes, and gives a function that
// gives it back.
func fill(t *testing.T, dir string, leave int64) (empty func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for {
		n := min(freeOn(t, dir)-leave, int64(len(block)))
		if n <= 0 {
			break
		}
		if _, err := f.Write(block[:n]); err != nil {
			break
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// TestFullDisk fills the disk under a store. Ordinary batches are refused with words, those
// that take rights away go through, and everything is well again when there is room.
func TestFullDisk(t *testing.T) {
	disk := smallDisk(t, 160*mib)
	opts := badgerstore.Options{Dir: filepath.Join(disk, "store"), Memtable: 4 * mib, Reserve: 16 * mib, Ballast: 24 * mib}
	s, err := badgerstore.Open(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.Close() }()
	r := new(statetest.Recorder)
	if err := s.Attach(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	next := authz.JobID("")
	n := 0
	commit := func(urgent bool) error {
		n++
		next = authz.JobID(fmt.Sprint("job-", n))
		_, err := s.Commit(context.Background(), state.Batch{Puts: []state.Record{&state.Job{ID: next, Ended: state.ThisRevision}}, Urgent: urgent})
		return err
	}
	if err := commit(false); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(opts.Dir, "BALLAST")
	if info, err := os.Stat(ballast); err != nil || info.Size() != opts.Ballast {
		t.Fatalf("no ballast: %v", err)
	}
	empty := fill(t, disk, 0)
	eventually(t, "an ordinary batch is refused", func() bool { return commit(false) != nil })
	err = commit(false)
	if authz.KindOf(err) != authz.KindExhausted || !strings.Contains(err.Error(), "make room") {
		t.Errorf("on a full disk: %v", err)
	}
	for i := range 3000 {
		if err := commit(true); err != nil {
			t.Fatalf("urgent batch %d on a full disk: %v", i, err)
		}
	}
	if _, err := os.Stat(ballast); err == nil {
		t.Error("the ballast is still there")
	}
	if authz.KindOf(commit(false)) != authz.KindExhausted {
		t.Error("the room that the ballast left was given to an ordinary batch")
	}
	empty()
	eventually(t, "an ordinary batch is stored again", func() bool { return commit(false) == nil })
	eventually(t, "the ballast is back", func() bool { _, err := os.Stat(ballast); return err == nil })
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	reopened(t, opts, r)
}

// eventually tries until ok: the store looks at the disk every few milliseconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 100_000 {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// reopened checks that a store holds what a sink was given, and gives it closed.
func reopened(t *testing.T, opts badgerstore.Options, want *statetest.Recorder) {
	t.Helper()
	if report, err := badgerstore.Check(context.Background(), opts.Dir); err != nil || len(report.Problems) > 0 {
		t.Errorf("fsck: %v\n%v", err, report)
	}
	s, err := badgerstore.Open(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := new(statetest.Recorder)
	if err := s.Attach(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	for _, line := range statetest.Diff(r.Records(), want.Records()) {
		t.Error(line)
	}
}

// TestOpenOnFullDisk opens a store that was killed while the disk is full: refused with words,
// and whole when there is room.
func TestOpenOnFullDisk(t *testing.T) {
	disk := smallDisk(t, 96*mib)
	opts := badgerstore.Options{Dir: filepath.Join(disk, "store"), Memtable: 4 * mib, Reserve: -1, Ballast: -1}
	w := makeWhole(t, true)
	copyDir(t, w.dir, opts.Dir)
	empty := fill(t, disk, 0)
	before := fingerprint(t, opts.Dir)
	_, err := badgerstore.Open(context.Background(), opts)
	if err == nil || !strings.Contains(err.Error(), "make room and start again") {
		t.Errorf("opening on a full disk: %v", err)
	}
	if fingerprint(t, opts.Dir) != before {
		t.Error("a refused start changed the store")
	}
	empty()
	if !w.try(t, "with room again", opts.Dir) {
		t.Error("not opened")
	}
}

// fillDisk is a child that believes in an endless disk: it commits until the system kills it.
func fillDisk(dir string) {
	opts := badgerstore.Options{
		Dir: dir, Memtable: mib, Ballast: -1, Reserve: -1, Free: func() (int64, error) { return 1 << 50, nil },
	}
	s, err := badgerstore.Open(context.Background(), opts)
	if err == nil {
		err = s.Attach(context.Background(), new(statetest.Recorder))
	}
	if err != nil {
		fmt.Println("open", err)
		os.Exit(1)
	}
	for n := int64(1); ; n++ {
		_, err := s.Commit(context.Background(), counting(0, authz.Stamp(n)))
		if err == nil {
			_, err = s.Commit(context.Background(), state.Batch{Puts: []state.Record{&state.User{ID: authz.UserID(n), Name: strings.Repeat("x", 4000)}}})
		}
		if err != nil {
			fmt.Println("failed", err)
			os.Exit(3)
		}
		fmt.Println("ack 0", n, 2*n)
	}
}

// TestDiskFullUnderfoot lets the disk run full although nobody watched: the process dies or
// stops, and nothing acknowledged is lost.
func TestDiskFullUnderfoot(t *testing.T) {
	disk := smallDisk(t, 24*mib)
	dir := filepath.Join(disk, "store")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, dir)
	cmd.Env = append(os.Environ(), childVar+"=fill")
	var said, died strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &died
	err = cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("the child ended with %v", err)
	}
	h := new(heard)
	for line := range strings.Lines(said.String()) {
		h.line(t, strings.TrimSpace(line))
	}
	words, _, _ := strings.Cut(died.String(), "\n")
	t.Logf("%d batches acknowledged, then: %v, %s", h.acks, err, words)
	if h.acks == 0 {
		t.Fatal(said.String())
	}
	if _, err := badgerstore.Open(context.Background(), badgerstore.Options{Dir: dir, Memtable: mib, Ballast: -1}); err == nil || !strings.Contains(err.Error(), "make room") {
		t.Errorf("opening while the disk is full: %v", err)
	}
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", 200*mib)); err != nil {
		t.Fatal(err)
	}
	h.verify(t, dir)
}
