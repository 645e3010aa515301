package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/sidecar/pep"
)

// plan is what one run is like. It is drawn from the seed, so that some runs are calm and
// others have much of one trouble.
type plan struct {
	peps, services int
	term, length   time.Duration
	outage         time.Duration // of the PDP, at most
	sync           time.Duration // how long a commit takes to be durable

	maxInterest, maxQueue, maxRecent, maxEntries int
	window                                       int // messages under way to a sidecar

	slow, verySlow float64       // of messages
	preempt        float64       // of judgements that may be kept
	behind         float64       // answers of a replica that is behind
	pace, acts     time.Duration // between questions, and between acts of others
	callTimeout    time.Duration
	keepsMark      bool
	newRules       bool // each PDP process judges by other rules, by name
	drift          float64

	// How often each trouble is made, relatively; and how long it is calm in between.
	calm    time.Duration
	trouble [numTroubles]int
}

// The troubles.
const (
	troubleBreak = iota
	troubleHalfOpen
	troubleWatchShut
	troubleCallsShut
	troubleAllShut
	troublePause
	troubleShortPause
	troubleSidecarDies
	troubleSidecarLeaves
	troublePDPDies
	troublePDPDark
	troublePDPStops
	troubleSlowReader
	troubleMute
	troubleRollback
	numTroubles
)

func newPlan(seed uint64) plan {
	r := rand.New(rand.NewPCG(seed, 1))
	p := plan{
		peps: 3 + r.IntN(3), services: 2 + r.IntN(2),
		term:   oneOf(r, time.Second, 2*time.Second, 2*time.Second, 3*time.Second),
		length: between(r, 6*time.Second, 10*time.Second),
		sync:   oneOf(r, 2*time.Millisecond, 8*time.Millisecond, 30*time.Millisecond),

		maxInterest: oneOf(r, 0, 0, 0, 6, 14), maxQueue: oneOf(r, 0, 0, 0, 3, 8), maxRecent: oneOf(r, 0, 0, 0, 5, 25),
		maxEntries: oneOf(r, 0, 0, 3, 8), window: oneOf(r, 1, 4, 16),
		slow: oneOf(r, 0.02, 0.1, 0.3), verySlow: oneOf(r, 0, 0, 0.02, 0.08),
		pace: oneOf(r, 60*time.Millisecond, 120*time.Millisecond), acts: oneOf(r, 150*time.Millisecond, 400*time.Millisecond, time.Second),
		preempt: oneOf(r, 0, 0.1, 0.4), behind: oneOf(r, 0, 0, 0.01),
		callTimeout: oneOf(r, 600*time.Millisecond, 2*time.Second) + 13*time.Microsecond,
		keepsMark:   r.IntN(5) == 0, newRules: r.IntN(4) == 0, drift: oneOf(r, 0, 0.01, 0.01),
		calm: oneOf(r, 150*time.Millisecond, 500*time.Millisecond, 1500*time.Millisecond),
	}
	p.outage = oneOf(r, p.term, p.term, 5*time.Second)
	for i, most := range [numTroubles]int{
		troubleBreak: 6, troubleHalfOpen: 3, troubleWatchShut: 4, troubleCallsShut: 3, troubleAllShut: 2, troublePause: 2, troubleShortPause: 3,
		troubleSidecarDies: 2, troubleSidecarLeaves: 1, troublePDPDies: 2, troublePDPDark: 1, troublePDPStops: 1, troubleSlowReader: 3, troubleMute: 1,
		troubleRollback: 0,
	} {
		if r.IntN(2) == 0 {
			p.trouble[i] = r.IntN(most + 1)
		}
	}
	return p
}

func (p *plan) rules(process int) uint64 {
	if p.newRules {
		return uint64(process)
	}
	return 1
}

// rate is how much faster than true a clock runs: at most R11's bound.
func (s *sim) rate(r *rand.Rand) float64 { return (2*r.Float64() - 1) * s.plan.drift }

// bug is what is planted in a run.
type bug struct {
	name            string
	grantor, holder lease.Fault
	pep             pep.Fault
	loseKeys        authz.KeyKind
	kind            bugKind
}

// bugKind is a bug outside of the code under test: the simulation plays the part of what
// is around it wrongly.
type bugKind uint8

const (
	_ bugKind = iota
	// bugTellsEarly: a change is seen before it is durable (R10).
	bugTellsEarly
	// bugForgetsRetry: a repeated revocation waits for nothing (R6).
	bugForgetsRetry
	// bugNoDeaths: what keeps old tokens dead is not stored (R7).
	bugNoDeaths
	// bugNoTombstones: a revocation that comes before its Issue leaves nothing (R7).
	bugNoTombstones
	// bugTicker: the clock is a ticker's (R11).
	bugTicker
	// bugClockBack: the PDP's time follows the wall clock back (R12).
	bugClockBack
	// bugNoRestartBeats: deadlines do not start anew after an outage (R12).
	bugNoRestartBeats
	// bugForgetsMark: the mark is lost with each restart of a sidecar (R13).
	bugForgetsMark
	// bugServesOn: a PDP does not look at the marks that it is shown (R13): sidecars have to.
	bugServesOn
	// bugUnknown: overload is answered as unknown (R16).
	bugUnknown
)

func (b *bug) pepFault() pep.Fault {
	f := b.pep
	if b.holder != 0 {
		f.Lease = b.holder
	}
	return f
}

// puts is what of a batch's records is stored.
func (b *bug) puts(batch state.Batch) []state.Record {
	switch b.kind {
	case bugNoDeaths, bugNoTombstones, bugNoRestartBeats:
	default:
		return batch.Puts
	}
	var out []state.Record
	for _, rec := range batch.Puts {
		_, death := rec.(*state.Death)
		_, beat := rec.(*state.Runner)
		job, tomb := rec.(*state.Job)
		switch {
		case b.kind == bugNoDeaths && death:
		case b.kind == bugNoTombstones && tomb && job.Digest.IsZero():
		case b.kind == bugNoRestartBeats && beat && batch.Verb == "restart_heartbeats":
		default:
			out = append(out, rec)
		}
	}
	return out
}

// String gives its name.
func (b *bug) String() string { return fmt.Sprintf("planted: %s", b.name) }
