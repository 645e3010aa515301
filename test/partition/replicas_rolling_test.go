package partition

import "testing"

// TestRolling restarts all PDPs one after the other, again and again, and wants every question at every sidecar decided.
func TestRolling(t *testing.T) {
	rnd := newRand(t)
	r := newReplicas(t)
	h := r.hammer(rnd)
	r.recovers(h)
	h.start(6)
	var all []episode
	for range 2 * *rounds {
		for _, x := range r.trials(rnd) {
			if x.served {
				all = append(all, r.play(h, x))
			}
		}
	}
	h.good()
	out, wrong, unserved := h.figures(all)
	for i := range all {
		t.Log(out[i])
	}
	for _, w := range append(wrong, unserved...) {
		t.Error(w)
	}
	if t.Failed() {
		for _, s := range r.sides {
			t.Log(s.name, s.log.Tail())
		}
	}
}
