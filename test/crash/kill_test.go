package crash

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/badgerstore"
	"github.com/jobward/jobward/pdp/state/statetest"
)

// killTable is small, so that kills hit flushes and compactions too.
const killTable = 512 << 10

// The child has committers that each count up in two records of one batch. A third record of
// theirs is in batches only whose guard cannot hold.
const committers = 16

func counterOf(c int) string { return fmt.Sprint("counter-", c) }

// counting is the batch of committer c that brings it to n.
func counting(c int, n authz.Stamp, guards ...state.Guard) state.Batch {
	return state.Batch{
		Guards: guards, Stamp: n, Actor: "crash", Verb: "count", Urgent: n%2 == 0,
		Puts: []state.Record{
			&state.Runner{ID: counterOf(c), Beat: n},
			&state.Request{ID: counterOf(c), Fingerprint: uint64(n), Done: state.ThisRevision},
		},
		Events: []state.Event{{Stamp: n, Data: fmt.Append(nil, "event of ", c)}},
	}
}

// commitForEver is the child. It reports on its standard output, one write per line:
// "ack COMMITTER COUNT REVISION" after a Commit returned, "refused COMMITTER" after one was
// refused.
func commitForEver(dir string) {
	s, err := badgerstore.Open(context.Background(), badgerstore.Options{Dir: dir, Memtable: killTable, Ballast: -1})
	if err != nil {
		fmt.Println("open", err)
		os.Exit(1)
	}
	r := new(statetest.Recorder)
	if err := s.Attach(context.Background(), r); err != nil {
		fmt.Println("attach", err)
		os.Exit(1)
	}
	fmt.Println("ready")
	held := r.Records()
	for c := range committers {
		go func() {
			key := state.RunnerKey(counterOf(c))
			mod, n := held[key].Mod, authz.Stamp(0)
			if mod > 0 {
				n = held[key].Record.(*state.Runner).Beat
			}
			for i := 0; ; i++ {
				if i%7 == 3 {
					poison := counting(c, n+1, state.Guard{Key: key, Revision: mod + 1})
					poison.Puts = append(poison.Puts, &state.Group{ID: 666})
					if _, err := s.Commit(context.Background(), poison); authz.KindOf(err) != authz.KindConflict {
						fmt.Println("wrong", c, "a guard that cannot hold gave", err)
						os.Exit(1)
					}
					fmt.Println("refused", c)
				}
				rev, err := s.Commit(context.Background(), counting(c, n+1, state.Guard{Key: key, Revision: mod}))
				if err != nil {
					fmt.Println("wrong", c, err)
					os.Exit(1)
				}
				mod, n = rev, n+1
				fmt.Println("ack", c, int64(n), uint64(rev))
			}
		}()
	}
	select {}
}

// heard is what the child has said, over all its lives.
type heard struct {
	count   [committers]authz.Stamp
	rev     authz.Revision
	acks    int
	refused int
}

// TestKill attacks P4. It kills a committing process at random points, again and again on the same store.
func TestKill(t *testing.T) {
	rnd := newRand(t)
	dir := t.TempDir()
	h := new(heard)
	early := 0
	for i := range *kills {
		if n := h.live(t, dir, rnd); n == 0 {
			early++
		}
		h.verify(t, dir)
		if t.Failed() {
			t.Fatalf("kill %d was the first to show it", i+1)
		}
	}
	t.Logf("%d kills, %d of them before the first commit; %d batches acknowledged, %d refused, none wrong", *kills, early, h.acks, h.refused)
}

// live runs one child until it has said so much, or for so long, and kills it.
func (h *heard) live(t *testing.T, dir string, rnd *rand.Rand) (acks int) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, dir)
	cmd.Env = append(os.Environ(), childVar+"=commit")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// A third of the kills come at some time, most of them while it opens the store.
	after, lines := time.Duration(rnd.IntN(40))*time.Millisecond, 1<<30
	if rnd.IntN(3) > 0 {
		after, lines = time.Minute, rnd.IntN(3000)
	}
	timer := time.AfterFunc(after, func() { cmd.Process.Signal(syscall.SIGKILL) })
	defer timer.Stop()
	scan := bufio.NewScanner(out)
	for n := 0; scan.Scan(); n++ {
		acks += h.line(t, scan.Text())
		if n == lines {
			cmd.Process.Signal(syscall.SIGKILL)
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the child ended by itself: %v", err)
	}
	return acks
}

// line takes one line of the child's. A line that the kill cut short says nothing.
func (h *heard) line(t *testing.T, line string) (acks int) {
	var c int
	var n, rev int64
	if k, _ := fmt.Sscanf(line, "ack %d %d %d", &c, &n, &rev); k == 3 {
		h.count[c] = max(h.count[c], authz.Stamp(n))
		h.rev = max(h.rev, authz.Revision(rev))
		h.acks++
		return 1
	}
	if k, _ := fmt.Sscanf(line, "refused %d", &c); k == 1 {
		h.refused++
		return 0
	}
	if line != "ready" && len(line) > 4 && (line[:4] == "open" || line[:4] == "atta" || line[:4] == "wron") {
		t.Error(line)
	}
	return 0
}

// verify looks at the store as the kill left it, and then opens it.
func (h *heard) verify(t *testing.T, dir string) {
	if _, err := os.Stat(dir + "/MARK"); err != nil && h.acks == 0 {
		return // Killed before there was a store.
	}
	before := fingerprint(t, dir)
	report, err := badgerstore.Check(context.Background(), dir)
	if err != nil || len(report.Problems) > 0 {
		t.Errorf("fsck: %v\n%v", err, report)
	}
	if fingerprint(t, dir) != before {
		t.Error("fsck changed the store")
	}
	s, err := badgerstore.Open(context.Background(), badgerstore.Options{Dir: dir, Memtable: killTable, Ballast: -1})
	if err != nil {
		t.Error(err)
		return
	}
	defer s.Close()
	r := new(statetest.Recorder)
	if err := s.Attach(context.Background(), r); err != nil {
		t.Error(err)
		return
	}
	if mark, _ := s.Head(); mark.Revision < h.rev {
		t.Errorf("revision %d was acknowledged, and the store is at %v", h.rev, mark)
	}
	records := r.Records()
	var total authz.Stamp
	for c, acked := range h.count {
		first, second := records[state.RunnerKey(counterOf(c))], records[state.RequestKey(counterOf(c))]
		if first.Mod != second.Mod {
			t.Errorf("half of a batch: one record is as of %d, the other of %d", first.Mod, second.Mod)
		}
		if first.Mod == 0 {
			if acked > 0 {
				t.Errorf("committer %d was told %d, and nothing is there", c, acked)
			}
			continue
		}
		n, request := first.Record.(*state.Runner).Beat, second.Record.(*state.Request)
		if n < acked || n > acked+1 || authz.Stamp(request.Fingerprint) != n || request.Done != first.Mod {
			t.Errorf("committer %d was told %d, and the store has %d and %+v", c, acked, n, request)
		}
		// What was stored and not acknowledged counts from now on: the child goes on after it.
		h.count[c] = n
		total += n
	}
	if report.Events != uint64(total) {
		t.Errorf("%d events of %d batches", report.Events, total)
	}
	if _, poisoned := records[state.GroupKey(666)]; poisoned {
		t.Error("a refused batch was applied")
	}
}
