package partition

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"
)

// trial is one kind of episode.
type trial struct {
	name string
	// at is the PDP that is asked to revoke while the fault is there.
	at int
	// do begins the fault, and heal ends what the mesh's own healing does not.
	do, heal func()
	// lasts is how long the fault stays at least.
	lasts  time.Duration
	unwell []int // these three as in episode
	slow   bool
	served bool
	// always: it is played whenever the test runs. The others come in turn.
	always bool
}

// everyPDP is unwell where etcd has no quorum.
var everyPDP = []int{0, 1, 2}

// trials are all kinds, each with whom it meets drawn anew.
func (r *replicas) trials(rnd *rand.Rand) []trial {
	t, m := r.t, r.mesh
	i := rnd.IntN(of) // the PDP, member or sidecar that suffers
	j := (i + 1 + rnd.IntN(of-1)) % of
	k := of - i - j
	var leader int
	lead := func() { leader = max(r.etcd.Leader(t), 0) }
	d := r.pdps[i]
	return []trial{
		{name: "a PDP and a member of etcd on one side, the rest of both on the other", always: true, slow: true, at: j, unwell: []int{i}, lasts: 3 * time.Second, do: func() {
			m.part([]int{i, pdpAt(i)}, append(except(members, i), except(allPDPs, pdpAt(i))...))
		}},
		{name: "the leader of etcd parted from the other members, and not from PDPs", slow: true, at: i, lasts: 2 * time.Second, do: func() {
			lead()
			m.part([]int{leader}, except(members, leader))
		}},
		{name: "all members of etcd parted from each other", at: i, unwell: everyPDP, lasts: 2 * time.Second, do: func() {
			m.part([]int{0}, []int{1, 2})
			m.part([]int{1}, []int{2})
		}},
		{name: "a PDP parted from etcd, and not from sidecars and PDPs", always: true, at: j, unwell: []int{i}, lasts: 3 * time.Second, do: func() {
			m.part([]int{pdpAt(i)}, members)
		}},
		{name: "two PDPs parted from each other, and not from etcd", at: i, lasts: 2 * time.Second, do: func() {
			m.part([]int{pdpAt(i)}, []int{pdpAt(j)})
		}},
		{name: "the sidecars parted from a PDP", at: i, lasts: 2 * time.Second, do: func() {
			m.part([]int{pdpAt(i)}, allSides)
		}},
		{name: "a PDP that nobody of etcd hears", at: k, unwell: []int{i}, lasts: 2 * time.Second, do: func() {
			for _, e := range members {
				m.deaf(e, pdpAt(i))
			}
		}},
		{name: "a PDP that hears no sidecar, and not one of the other PDPs", at: j, lasts: 2 * time.Second, do: func() {
			m.deaf(pdpAt(i), append([]int{pdpAt(j)}, allSides...)...)
		}},
		{name: "a fifth of a PDP's packets lost", at: i, unwell: []int{i}, lasts: 2 * time.Second, do: func() { m.lossy(pdpAt(i), 20) }},
		{name: "half of a PDP's and of a sidecar's packets lost", at: j, unwell: []int{i}, lasts: 2 * time.Second, do: func() {
			m.lossy(pdpAt(i), 50)
			m.lossy(sideAt(j), 50)
		}},
		{name: "the leader of etcd killed", always: true, slow: true, at: i, lasts: time.Second,
			do:   func() { lead(); r.etcd.Kill(leader) },
			heal: func() { r.etcd.Restart(t, leader) }},
		{name: "a member of etcd lost with its data, and replaced", always: true, slow: true, at: j, lasts: 500 * time.Millisecond,
			do:   func() { r.etcd.Lose(t, i) },
			heal: func() { r.etcd.Replace(t, i) }},
		{name: "a PDP killed", always: true, at: j, unwell: []int{i}, lasts: time.Second,
			do:   func() { d.end(t, syscall.SIGKILL) },
			heal: d.start},
		{name: "a PDP stopped for longer than its registration and its leases", always: true, at: j, unwell: []int{i}, lasts: 3500 * time.Millisecond,
			do:   func() { d.freeze(t) },
			heal: func() { d.thaw() }}, // of the process that runs then
		{name: "all PDPs restarted, one after the other", at: i, served: true, do: func() {
			for _, d := range r.pdps {
				d.end(t, syscall.SIGTERM)
				d.start()
			}
		}},
		{name: "all PDPs killed at once", at: i, unwell: everyPDP, do: func() {
			for _, d := range r.pdps {
				d.signal(syscall.SIGKILL)
			}
			for _, d := range r.pdps {
				d.end(t, syscall.SIGKILL)
				d.begin()
			}
			for _, d := range r.pdps {
				d.answers()
			}
		}},
	}
}

// play has every sidecar hold a job, brings on the fault, revokes the job meanwhile, and looks what the receipt is worth; then it heals, and waits until every
// sidecar answers from its cache again.
func (r *replicas) play(h *hammer, x trial) episode {
	r.t.Helper()
	j := h.issue()
	if j == nil {
		r.t.Fatalf("%s: no PDP makes a job", x.name)
	}
	for _, s := range r.sides {
		s.holds(j.token)
	}
	e := episode{name: x.name, began: h.now(), unwell: x.unwell, slow: x.slow, served: x.served}
	r.t.Logf("at %v: %s", time.Duration(e.began).Round(time.Millisecond), x.name)
	x.do()
	e.over = h.now()
	until := time.Now().Add(x.lasts)
	effective := h.revokeAt(x.at, j, 5*time.Second)
	all := r.verdicts(j.token)
	e.probe = fmt.Sprintf("effective: %t after %v; then they say %v", effective, time.Duration(h.now()-e.over).Round(time.Millisecond), all)
	if effective && slices.Contains(all[:], allowed) {
		r.t.Errorf("%s: %s", x.name, e.probe)
	}
	h.run(time.Until(until))
	if x.served {
		e.ended = h.now() // what is promised is about the restarts themselves
	}
	r.mesh.heal()
	if x.heal != nil {
		x.heal()
	}
	e.over = h.now()
	for end := time.Now().Add(patience); !effective && time.Now().Before(end); {
		effective = h.revoke(j, 5*time.Second)
	}
	if !effective {
		r.t.Errorf("%s: no effective receipt after it was healed", x.name)
	}
	r.recovers(h)
	if e.ended == 0 {
		e.ended = h.now()
	}
	return e
}
