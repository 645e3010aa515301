package badgerstore_test

import (
	"context"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/badgerstore"
)

// TestLoadedTablesLeaveMemory: what was read of the tables to load them is not memory of the
// process afterwards, and can still be read.
func TestLoadedTablesLeaveMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells what a process has of a file in memory")
	}
	dir := t.TempDir()
	fill := func(s state.Store, from int64) {
		var b state.Batch
		for n := range int64(5000) {
			b.Puts = append(b.Puts, issue(from+n).Puts...)
		}
		if _, err := s.Commit(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, badgerstore.Options{Dir: dir})
	if err := s.Attach(context.Background(), new(discard)); err != nil {
		t.Fatal(err)
	}
	fill(s, 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, badgerstore.Options{Dir: dir})
	sink := new(discard)
	if err := s.Attach(context.Background(), sink); err != nil || sink.loaded != 5000 {
		t.Fatal(sink.loaded, err)
	}
	tables, size, resident := tablesInMemory(t, dir)
	t.Logf("%d tables of %d KiB, %d KiB in memory", tables, size, resident)
	if tables == 0 || resident > size/4 {
		t.Errorf("%d KiB of %d in %d tables are in memory", resident, size, tables)
	}
	changes := 0
	err := s.History(context.Background(), 0, func(c state.Change) error { changes += len(c.Keys); return nil })
	if err != nil || changes != 5000 {
		t.Errorf("history has %d records after that: %v", changes, err)
	}
	fill(s, 5000)
}

// tablesInMemory gives how many tables are mapped, and in KiB how much of them there is and how
// much of that is in memory.
func tablesInMemory(t *testing.T, dir string) (tables, size, resident int) {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	ours := false
	for line := range strings.Lines(string(smaps)) {
		fields := strings.Fields(line)
		kib := func() (n int) {
			for _, c := range fields[1] {
				n = n*10 + int(c-'0')
			}
			return n
		}
		switch {
		case !strings.HasSuffix(fields[0], ":"):
			if ours = strings.Contains(line, dir) && strings.HasSuffix(fields[len(fields)-1], ".sst"); ours {
				tables++
			}
		case ours && fields[0] == "Size:":
			size += kib()
		case ours && fields[0] == "Rss:":
			resident += kib()
		}
	}
	return tables, size, resident
}
