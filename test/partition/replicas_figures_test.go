package partition

import (
	"fmt"
	"slices"
	"time"
)

// episode is a while of the hammer's life in which one thing was wrong, with what may be said of it.
type episode struct {
	name string
	// began is when the fault did, over when it had been healed, and ended when all was well again.
	began, over, ended int64
	// unwell are PDPs that cannot be expected to keep their bounds: etcd has no quorum, or they do not reach it, or they do not run.
	unwell []int
	// slow says that etcd has its quorum, but may take its time for a write, which is not in the bound.
	slow bool
	// served: every question at a sidecar has an answer.
	served bool
	// probe is what became of the job that all sidecars held.
	probe string
}

// touches reports whether a call was under way while the fault was there, or while things came back.
func (e episode) touches(from, to int64) bool { return from < e.ended && to > e.began }

// slack is what a receipt may take beyond its bound: the call with its write to etcd, on a machine that is busy.
const slack = time.Second

// told is what an episode came to.
type told struct {
	checks, undecided       int // at sidecars
	atPDPs, undecidedAtPDPs int
	receipts, ineffective   int
	slowest, bound          time.Duration
	earliest                shot // that was not decided, at a sidecar
}

func (t told) String() string {
	return fmt.Sprintf("%d checks at sidecars (%d undecided), %d at PDPs (%d); %d receipts, slowest %v, largest bound %v, %d not effective", t.checks, t.undecided,
		t.atPDPs, t.undecidedAtPDPs, t.receipts, t.slowest.Round(time.Millisecond), t.bound.Round(time.Millisecond), t.ineffective)
}

// figures counts per episode, once the hammer has stopped, and says what must not be, and which questions had no answer where all should have.
func (h *hammer) figures(all []episode) (out []told, wrong, unserved []string) {
	out = make([]told, len(all))
	for i, e := range all {
		t := &out[i]
		for _, list := range h.shots {
			for _, x := range list {
				if !e.touches(x.start, x.end) {
					continue
				}
				n, not := &t.checks, &t.undecided
				if h.asked[x.door].pdp {
					n, not = &t.atPDPs, &t.undecidedAtPDPs
				}
				*n++
				if x.what != undecided {
					continue
				}
				if *not++; not == &t.undecided && (t.undecided == 1 || x.start < t.earliest.start) {
					t.earliest = x
				}
			}
		}
		if e.served && t.undecided > 0 {
			x := t.earliest
			unserved = append(unserved, fmt.Sprintf("%s, at %v to %v: %d checks at sidecars were not decided, the first at %s from %v to %v: %v", e.name,
				time.Duration(e.began), time.Duration(e.ended), t.undecided, h.asked[x.door].name, time.Duration(x.start), time.Duration(x.end), x.why))
		}
	}
	for _, r := range h.receipts {
		bound, took := r.receipt.GetBound().AsDuration(), time.Duration(r.returned-r.called)
		exempt, slow, where := false, false, "between episodes"
		for i, e := range all {
			if !e.touches(r.called, r.returned) {
				continue
			}
			t := &out[i]
			t.receipts++
			t.slowest, t.bound = max(t.slowest, took), max(t.bound, bound)
			if !r.receipt.Effective {
				t.ineffective++
			}
			exempt, slow, where = exempt || slices.Contains(e.unwell, r.pdp), slow || e.slow, e.name
		}
		if exempt {
			continue
		}
		if slow {
			took = r.receipt.GetElapsed().AsDuration()
		}
		if bound == 0 || took > bound+slack || !r.receipt.Effective {
			wrong = append(wrong, fmt.Sprintf("%s: a receipt of PDP %d, called at %v, took %v: %v", where, r.pdp, time.Duration(r.called), took, r.receipt))
		}
	}
	return out, wrong, unserved
}
