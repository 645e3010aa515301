package sim

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/pep"
)

var flagPlanted = flag.Int("planted", 0, "how many seeds TestPlanted tries at most; zero takes each bug's own bound")

// planted is a bug, and how to find it.
type planted struct {
	bug
	// rule is the line of PROTOCOL.md's last table, or the words of issue 3.
	rule   string
	bound  int
	change func(*plan)                       // makes the situation that it needs likelier
	script func(ctx context.Context, s *sim) // makes the situation that it needs
}

// troubles makes some troubles likely and all others not.
func troubles(kinds ...int) func(*plan) {
	return func(p *plan) {
		p.trouble = [numTroubles]int{}
		for _, k := range kinds {
			p.trouble[k]++
		}
		p.calm = 200 * time.Millisecond
	}
}

// busy is for all planted bugs: much is asked and much is changed.
func busy(p *plan) {
	p.acts, p.pace = 150*time.Millisecond, 40*time.Millisecond
}

func both(fs ...func(*plan)) func(*plan) {
	return func(p *plan) {
		for _, f := range fs {
			f(p)
		}
	}
}

func plantedBugs() []planted {
	slow := func(p *plan) { p.slow, p.verySlow, p.callTimeout = 0.3, 0.15, 2*time.Second+13*time.Microsecond }
	grantor := func(f lease.Fault, name string) bug { return bug{name: name, grantor: f} }
	holder := func(f lease.Fault, name string) bug { return bug{name: name, holder: f} }
	list := []planted{
		{bug: grantor(lease.FaultNoQuiet, "FaultNoQuiet"), rule: "R1", change: troubles(troublePDPDies, troublePDPDark, troublePDPDies)},
		{bug: bug{name: "FaultLateRenewal and FaultLateGrant", grantor: lease.FaultLateRenewal, holder: lease.FaultLateGrant}, rule: "R2 late renewal", script: lateRenewal, change: calm},
		{bug: grantor(lease.FaultBrokenForgets, "FaultBrokenForgets"), rule: "R2 closed stream", change: troubles(troubleBreak)},
		{bug: grantor(lease.FaultWaitGrows, "FaultWaitGrows"), rule: "R2 receipt's wait", change: troubles(troubleMute)},
		{bug: holder(lease.FaultOldGeneration, "FaultOldGeneration"), rule: "R3", change: both(troubles(troubleBreak), slow)},
		{bug: holder(lease.FaultJoinAny, "FaultJoinAny"), rule: "R4", change: slow},
		{bug: grantor(lease.FaultInterestLate, "FaultInterestLate"), rule: "R5 order", change: func(p *plan) { p.preempt = 0.4 }},
		{bug: grantor(lease.FaultAckErases, "FaultAckErases"), rule: "R5 ack", script: ackOfOlder, change: calm},
		{bug: bug{name: "a repeat waits for nothing", kind: bugForgetsRetry}, rule: "R6", change: troubles(troubleWatchShut)},
		{bug: bug{name: "deaths are not stored", kind: bugNoDeaths}, rule: "R7"},
		{bug: bug{name: "tombstones are not stored", kind: bugNoTombstones}, rule: "R7"},
		{bug: bug{name: "told before it is durable", kind: bugTellsEarly}, rule: "R10", change: troubles(troublePDPDies)},
		{bug: bug{name: "a ticker's clock", kind: bugTicker}, rule: "R11", change: troubles(troublePause)},
		{bug: bug{name: "the PDP's clock goes back", kind: bugClockBack}, rule: "R12", change: troubles(troublePDPDies)},
		{bug: bug{name: "no new term after an outage", kind: bugNoRestartBeats}, rule: "R12", change: both(troubles(troublePDPDies), func(p *plan) { p.outage = 6 * time.Second })},
		{bug: bug{name: "NoValidUntil", pep: pep.Fault{NoValidUntil: true}}, rule: "R12", script: tokenEnds, change: calm},
		{bug: bug{name: "FaultNoMark", holder: lease.FaultNoMark, kind: bugServesOn}, rule: "R13", script: setBack, change: calm},
		{bug: bug{name: "the mark is lost at a restart", kind: bugForgetsMark}, rule: "R13", change: both(troubles(troubleRollback, troubleSidecarDies), func(p *plan) { p.keepsMark = true })},
		{bug: holder(lease.FaultNoApplied, "FaultNoApplied"), rule: "R14", change: func(p *plan) { p.behind = 0.05 }},
		{bug: bug{name: "overload is unknown", kind: bugUnknown}, rule: "R16"},
		{bug: holder(lease.FaultNoLease, "FaultNoLease"), rule: "P2: lease not checked", change: troubles(troubleAllShut, troublePause)},
		{bug: holder(lease.FaultAckEarly, "FaultAckEarly"), rule: "ack before removal"},
		{bug: holder(lease.FaultOpenFill, "FaultOpenFill"), rule: "fill not fenced", change: slow},
		{bug: grantor(lease.FaultResumeLate, "FaultResumeLate"), rule: "off by one on resume", change: troubles(troubleBreak)},
		{bug: grantor(lease.FaultQueueSkips, "FaultQueueSkips"), rule: "queue overflow skipped",
			change: both(troubles(troubleSlowReader), func(p *plan) { p.maxQueue, p.window = 3, 1 })},
		{bug: holder(lease.FaultFromReceipt, "FaultFromReceipt"), rule: "renewal counted from receipt", change: troubles(troubleSlowReader, troubleWatchShut)},
		{bug: holder(lease.FaultKeepAll, "FaultKeepAll"), rule: "R3 vouching", change: both(troubles(troubleBreak), func(p *plan) { p.maxRecent = 5 })},
		{bug: holder(lease.FaultForgetFree, "FaultForgetFree"), rule: "R5 eviction", script: evictedUnderWay, change: func(p *plan) { calm(p); p.maxEntries = 3 }},
		{bug: holder(lease.FaultReleaseEarly, "FaultReleaseEarly"), rule: "R2 release",
			script: betweenWelcomeAndGrant, change: func(p *plan) { calm(p); p.window, p.maxInterest = 1, 3 }},
		{bug: bug{name: "KeyWithoutSurface", pep: pep.Fault{KeyWithoutSurface: true}}, rule: "a cache-key field left out"},
	}
	for i, kind := range []string{"instance", "job", "project", "group", "user", "path"} {
		kind, of := authz.KeyKind(i+1), kind
		for _, b := range []bug{{name: "LoseKeys " + of, loseKeys: kind}, {name: "NoKeys " + of, pep: pep.Fault{NoKeys: kind}}} {
			p := planted{bug: b, rule: "R15: a dependency key missing", bound: 200}
			if kind == authz.KeyInstance {
				p.script, p.change = enforced, calm
			}
			list = append(list, p)
		}
	}
	return list
}

// options gives the run of a seed, with the bug or without.
func (b *planted) options(seed int, with bool) options {
	o := options{seed: uint64(seed), change: busy, script: b.script}
	if b.change != nil {
		o.change = both(busy, b.change)
	}
	switch {
	case with:
		o.bug = b.bug
	case b.kind == bugServesOn: // and a sidecar that looks itself
		o.bug.kind = bugServesOn
	}
	return o
}

// TestNothingPlanted runs the same situations without the bugs.
func TestNothingPlanted(t *testing.T) {
	for _, b := range plantedBugs() {
		t.Run(strings.ReplaceAll(b.name, " ", "-"), func(t *testing.T) {
			for i := range cmp.Or(*flagPlanted, 2) {
				b.clean(t, i+1)
			}
		})
	}
}

// clean wants a seed to show nothing without the bug.
func (b *planted) clean(t *testing.T, seed int) {
	t.Helper()
	r := simulate(t, b.options(seed, false))
	if len(r.violations) == 0 {
		return
	}
	o := b.options(seed, false)
	o.tracing = true
	if again := simulate(t, o); len(again.violations) > 0 {
		r = again
	}
	v := r.violations[0]
	t.Fatalf("seed %d, nothing planted: %s: %s\n%s", seed, v.rule, v.text, r.story(v, 50))
}

// TestPlanted plants each bug and wants it found, by a seed that shows nothing without it.
func TestPlanted(t *testing.T) {
	var table strings.Builder
	for _, b := range plantedBugs() {
		t.Run(strings.ReplaceAll(b.name, " ", "-"), func(t *testing.T) {
			bound := cmp.Or(*flagPlanted, b.bound, 60)
			if b.script != nil {
				bound = 1
			}
			for seed := 1; seed <= bound; seed++ {
				if r := simulate(t, b.options(seed, true)); len(r.violations) > 0 {
					fmt.Fprintf(&table, "%-38s %-40s %4d  %s\n", b.rule, b.name, seed, r.violations[0].rule)
					b.clean(t, seed)
					return
				}
			}
			fmt.Fprintf(&table, "%-38s %-40s    -  not in %d\n", b.rule, b.name, bound)
			t.Errorf("%s was not found in %d seeds", b.name, bound)
		})
	}
	t.Logf("bugs, and how many seeds each took:\n%s", table.String())
}
