package model

import "math/rand/v2"

// Walk goes one way through a world that is too large to explore, at random, for so many
// steps.
func Walk(cfg *Config, r *rand.Rand, length int) Result {
	d := &drawn{}
	w := begin(cfg, d)
	out := Result{States: 1}
	var taken, steps []step
	for out.Steps < length {
		steps = w.steps(steps[:0])
		s := steps[r.IntN(len(steps))]
		if r.IntN(seldom(s.verb)) > 0 {
			continue
		}
		next := w.take(d, s)
		out.Steps++
		if next == nil {
			continue
		}
		taken = append(taken, s)
		if w = next; w.wrong != "" {
			out.Wrong, out.Story = w.wrong, w.tell(taken)
			return out
		}
	}
	return out
}

// seldom is how much rarer than others a step should be, or what takes several steps to
// go wrong would always be cut short.
func seldom(v verb) int {
	switch v {
	case vTick, vHello, vEvict, vCommit:
		return 10
	case vBreak, vLeave, vRestart:
		return 40
	}
	return 1
}
