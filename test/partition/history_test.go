package partition

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/jobward/jobward/internal/lease"
)

// judgement is what porcupine says about a history.
type judgement struct {
	histories, operations int // one history for each token and target
	allowed, dead, no     int
	wrong                 []string
	info                  porcupine.LinearizationInfo // of the last wrong one
}

// judge ends the recording and searches each history for an order that the model allows. No answer in time counts as none.
func (r *recorder) judge() (j judgement) {
	close(r.stop)
	r.wg.Wait()
	j.wrong = r.wrong
	for _, k := range r.tokens {
		for i, g := range r.targets {
			if len(k.checks[i]) == 0 {
				continue
			}
			h := slices.Concat(k.life, g.edits, k.checks[i])
			j.histories++
			j.operations += len(k.life) + len(k.checks[i])
			for _, op := range k.checks[i] {
				switch op.Input.(action).what {
				case allowed:
					j.allowed++
				case dead:
					j.dead++
				default:
					j.no++
				}
			}
			switch verdict, info := porcupine.CheckOperationsVerbose(model(true, len(r.pdps) > 1), h, time.Minute); verdict {
			case porcupine.Ok:
			case porcupine.Illegal:
				j.wrong = append(j.wrong, fmt.Sprintf("%s at %d: no order of this history is allowed:\n%s", k.job, g.id, tell(h)))
				j.info = info
			default:
				j.wrong = append(j.wrong, fmt.Sprintf("%s at %d: no answer about a history of %d operations", k.job, g.id, len(h)))
			}
		}
	}
	for _, g := range r.targets {
		j.operations += len(g.edits)
	}
	return j
}

// tell writes a history down in the order of its calls.
func tell(h []porcupine.Operation) string {
	h = slices.Clone(h)
	slices.SortFunc(h, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	text := ""
	for _, op := range h {
		text += fmt.Sprintf("%12v to %12v  %s\n", time.Duration(op.Call), time.Duration(op.Return), model(true, false).DescribeOperation(op.Input, nil))
	}
	return text
}

// draw leaves a picture of the longest order that there is.
func draw(info porcupine.LinearizationInfo) string {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("jobward-history-%x.html", rand.Uint64()))
	if err := porcupine.VisualizePath(model(true, false), info, path); err != nil {
		return err.Error()
	}
	return "a picture of it is in " + path
}

func (r *recorder) good() {
	r.t.Helper()
	j := r.judge()
	r.t.Logf("%d calls, %d without an answer, %d receipts not effective at first; checked: %d operations in %d histories (%d allowed, %d dead, %d not listed)",
		r.ops, r.vague, r.pending, j.operations, j.histories, j.allowed, j.dead, j.no)
	for _, w := range j.wrong[:min(len(j.wrong), 3)] {
		r.t.Error(w)
	}
	if len(j.wrong) > 0 {
		r.t.Errorf("%d in all; %s", len(j.wrong), draw(j.info))
	}
	if j.allowed == 0 || j.dead == 0 || j.no == 0 {
		r.t.Error("so little happened that nothing is proved")
	}
}

// TestHistories records clients of a PDP and two sidecars behind relays, while processes are stopped and killed and connections suffer, and wants each history
// to have an order that the model allows.
func TestHistories(t *testing.T) {
	t.Parallel()
	rnd := newRand(t)
	d, sides, relays, _ := relayed(t, rnd, 2, plant{})
	r := newRecorder(t, d, sides...)
	r.start(rnd.Uint64(), 4, 32)
	seen := map[string]int{}
	for range 8 * *rounds {
		time.Sleep(time.Duration(rnd.IntN(400)) * time.Millisecond)
		s, name := sides[rnd.IntN(len(sides))], ""
		switch rnd.IntN(7) {
		case 0:
			name = "the PDP killed"
			d.end(t, syscall.SIGKILL)
			time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond)
			d.start()
		case 1:
			name = "the PDP stopped"
			d.freeze(t)
			time.Sleep(time.Duration(rnd.IntN(1500)) * time.Millisecond)
			d.thaw()
		case 2:
			name = "a sidecar killed"
			s.end(t, syscall.SIGKILL)
			s.start()
		case 3:
			name = "a sidecar stopped"
			s.freeze(t)
			time.Sleep(time.Duration(rnd.IntN(1500)) * time.Millisecond)
			s.thaw()
		default:
			relay := relays[rnd.IntN(len(relays))]
			name = trouble(relay, rnd)
			time.Sleep(time.Duration(rnd.IntN(1000)) * time.Millisecond)
			relay.heal()
		}
		seen[name]++
	}
	for _, relay := range relays {
		relay.heal()
	}
	time.Sleep(time.Second)
	r.good()
	t.Log(seen)
}

// TestHistoriesCatches: the PDP takes a broken stream for the end of a lease.
func TestHistoriesCatches(t *testing.T) {
	t.Parallel()
	rnd := newRand(t)
	for range tries {
		d, sides, relays, _ := relayed(t, rnd, 2, plant{Grantor: lease.FaultBrokenForgets}, "--lease-term=3s")
		r := newRecorder(t, d, sides...)
		r.start(rnd.Uint64(), 4, 32)
		for range 3 {
			time.Sleep(500 * time.Millisecond)
			relays[0].cutPDP()
			time.Sleep(time.Second)
			relays[0].heal()
		}
		j := r.judge()
		t.Logf("%d of %d histories are wrong", len(j.wrong), j.histories)
		if len(j.wrong) > 0 {
			return
		}
	}
	t.Error("a PDP that takes a broken stream for the end of a lease was not found out")
}
