package partition

import (
	"testing"
	"time"
)

// enough is after which time no more faults come by default.
const enough = 45 * time.Second

// TestReplicas runs three PDPs on an etcd of three, and does to them what happens to machines and networks, while jobs are issued at one PDP and revoked at
// another. No check that begins after an effective receipt is allowed, at no sidecar and no PDP; no PDP and no sidecar calls a token unknown that was
// issued somewhere; nothing that was acknowledged is lost; receipts come inside their bounds while etcd is well; histories have an order that the
// model allows (P1, P2, P6, R8).
//
// Some kinds of faults come always, the others in an order drawn by lot while there is time. With -rounds N each comes, and then as many more as make N
// times all kinds, at random.
func TestReplicas(t *testing.T) {
	rnd := newRand(t)
	r := newReplicas(t)
	h, rec := r.hammer(rnd), r.recorder()
	r.recovers(h)
	began := time.Now()
	h.start(6)
	rec.start(rnd.Uint64(), 2, 8)
	var all []episode
	h.run(time.Second)
	var later []int
	kinds := r.trials(rnd)
	for i, x := range kinds {
		if x.always {
			all = append(all, r.play(h, r.trials(rnd)[i]))
		} else {
			later = append(later, i)
		}
	}
	rnd.Shuffle(len(later), func(i, j int) { later[i], later[j] = later[j], later[i] })
	for _, i := range later {
		if *rounds > 1 || time.Since(began) < enough {
			all = append(all, r.play(h, r.trials(rnd)[i]))
		}
	}
	for range (*rounds - 1) * len(kinds) {
		all = append(all, r.play(h, r.trials(rnd)[rnd.IntN(len(kinds))]))
	}
	took := time.Since(began)
	h.good()
	out, wrong, unserved := h.figures(all)
	for i, e := range all {
		t.Logf("%s (%v)\n\t%v\n\tthe job that all held: %s", e.name, time.Duration(e.ended-e.began).Round(100*time.Millisecond), out[i], e.probe)
	}
	for _, u := range unserved {
		t.Log(u) // TestRolling wants that there are none, where nothing else has happened just before
	}
	rec.good()
	jobs, lost := r.lost(h)
	for _, w := range append(wrong, lost...) {
		t.Error(w)
	}
	t.Logf("%d episodes in %v; %d receipts; %d jobs asked about at every PDP in the end, %d of them not as they were left; no bound or promise broken: %t",
		len(all), took.Round(time.Second), len(h.receipts), jobs, len(lost), len(wrong) == 0)
}
