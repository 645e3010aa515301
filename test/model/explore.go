package model

// Result is what came of an exploration.
type Result struct {
	// States are different ones that were seen, Steps how often one was reached.
	States, Steps int
	// Depth is how many steps the longest way had that was taken.
	Depth int
	// Complete: there are no others.
	Complete bool
	// Wrong says what did not hold, empty when everything did, and Story how it came to it.
	Wrong string
	Story []string
}

// Explore looks at every state of a world, up to so many, by going on from the newest
// one found. It needs memory for the names of the states only.
func Explore(cfg *Config, most int) Result {
	d, n := &drawn{}, newNamer()
	type place struct {
		w     *world
		steps []step
	}
	seen := map[uint64]struct{}{}
	first := begin(cfg, d)
	seen[n.name(first)] = struct{}{}
	way := []place{{first, first.steps(nil)}}
	r := Result{States: 1, Complete: true}
	for len(way) > 0 {
		top := &way[len(way)-1]
		if len(top.steps) == 0 {
			way = way[:len(way)-1]
			continue
		}
		s := top.steps[len(top.steps)-1]
		top.steps = top.steps[:len(top.steps)-1]
		next := top.w.take(d, s)
		if next == nil {
			continue
		}
		r.Steps++
		name := n.name(next)
		if _, ok := seen[name]; ok {
			continue
		}
		if r.States == most {
			r.Complete = false
			return r
		}
		seen[name] = struct{}{}
		r.States++
		if next.wrong != "" {
			var taken []step
			for _, p := range way {
				taken = append(taken, p.steps[:len(p.steps)+1][len(p.steps)])
			}
			r.Wrong, r.Story, r.Complete = next.wrong, tell(cfg, taken), false
			return r
		}
		way = append(way, place{next, next.steps(nil)})
		r.Depth = max(r.Depth, len(way)-1)
	}
	return r
}

// Shortest looks for the shortest way to something that does not hold, through up to so
// many states.
func Shortest(cfg *Config, most int) Result {
	d, n := &drawn{}, newNamer()
	type place struct {
		w      *world
		before *place
		by     step
		depth  int
	}
	first := begin(cfg, d)
	seen := map[uint64]struct{}{n.name(first): {}}
	queue := []*place{{w: first}}
	r := Result{States: 1, Complete: true}
	var steps []step
	for ; len(queue) > 0; queue = queue[1:] {
		p := queue[0]
		r.Depth = p.depth
		steps = p.w.steps(steps[:0])
		for _, s := range steps {
			next := p.w.take(d, s)
			if next == nil {
				continue
			}
			r.Steps++
			if next.wrong != "" {
				var taken []step
				for q := (&place{before: p, by: s}); q.before != nil; q = q.before {
					taken = append([]step{q.by}, taken...)
				}
				r.Wrong, r.Story, r.Complete = next.wrong, tell(cfg, taken), false
				return r
			}
			name := n.name(next)
			if _, ok := seen[name]; ok {
				continue
			}
			if r.States == most {
				r.Complete = false
				return r
			}
			seen[name] = struct{}{}
			r.States++
			queue = append(queue, &place{next, p, s, p.depth + 1})
		}
		p.w = nil // only the way is needed from here on
	}
	return r
}
