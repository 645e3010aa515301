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

// state is one of a kind of worlds.
type state[W any] interface {
	comparable
	steps(out []step) []step    // what may happen next
	take(d *drawn, s step) W    // the state after a step, the zero W when it is the same
	name(n *namer) uint64       // see namer
	failed() string             // what does not hold, or nothing
	tell(steps []step) []string // from this state on
}

// Explore looks at every state of a world, up to so many, by going on from the newest
// one found. It needs memory for the names of the states only. progress, where not nil,
// is told from time to time how far it is.
func Explore(cfg *Config, most int, progress func(Result)) Result {
	d := &drawn{}
	return explore(begin(cfg, d), d, most, progress)
}

func explore[W state[W]](first W, d *drawn, most int, progress func(Result)) Result {
	type place struct {
		w     W
		steps []step
	}
	var same W
	seen, n := &set{}, newNamer()
	seen.add(first.name(n))
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
		if next == same {
			continue
		}
		r.Steps++
		if !seen.add(next.name(n)) {
			continue
		}
		if r.States == most {
			r.Complete = false
			return r
		}
		r.States++
		if progress != nil && r.States%1_000_000 == 0 {
			progress(r)
		}
		if next.failed() != "" {
			var taken []step
			for _, p := range way {
				taken = append(taken, p.steps[:len(p.steps)+1][len(p.steps)])
			}
			r.Wrong, r.Story, r.Complete = next.failed(), first.tell(taken), false
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
	d := &drawn{}
	return shortest(begin(cfg, d), d, most)
}

func shortest[W state[W]](first W, d *drawn, most int) Result {
	type place struct {
		w      W
		before *place
		by     step
		depth  int
	}
	var same W
	seen, n := &set{}, newNamer()
	seen.add(first.name(n))
	queue := []*place{{w: first}}
	r := Result{States: 1, Complete: true}
	var steps []step
	for ; len(queue) > 0; queue = queue[1:] {
		p := queue[0]
		r.Depth = p.depth
		steps = p.w.steps(steps[:0])
		for _, s := range steps {
			next := p.w.take(d, s)
			if next == same {
				continue
			}
			r.Steps++
			if next.failed() != "" {
				var taken []step
				for q := (&place{before: p, by: s}); q.before != nil; q = q.before {
					taken = append([]step{q.by}, taken...)
				}
				r.Wrong, r.Story, r.Complete = next.failed(), first.tell(taken), false
				return r
			}
			if !seen.add(next.name(n)) {
				continue
			}
			if r.States == most {
				r.Complete = false
				return r
			}
			r.States++
			queue = append(queue, &place{next, p, s, p.depth + 1})
		}
		p.w = same // only the way is needed from here on
	}
	return r
}

// set is a set of names, in 12 bytes each on average: tens of millions have to fit.
type set struct {
	slots []uint64 // zero is empty
	n     int
}

// add reports whether the name is new.
func (s *set) add(name uint64) bool {
	if name == 0 {
		name = 1
	}
	if s.n*4 >= len(s.slots)*3 {
		old := s.slots
		s.slots, s.n = make([]uint64, max(1024, 2*len(old))), 0
		for _, o := range old {
			if o != 0 {
				s.add(o)
			}
		}
	}
	i := name & uint64(len(s.slots)-1)
	for ; s.slots[i] != 0; i = (i + 1) & uint64(len(s.slots)-1) {
		if s.slots[i] == name {
			return false
		}
	}
	s.slots[i] = name
	s.n++
	return true
}
