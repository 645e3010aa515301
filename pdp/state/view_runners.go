package state

import (
	"slices"

	"github.com/jobward/jobward/pdp/authz"
)

func (v *View) findRunner(id string) uint32 {
	p := v.runnerIDs.probe(v.hashText(id))
	for {
		row := p.next()
		if row == 0 || v.text.get(v.runners.at(row).id) == id {
			return row
		}
	}
}

// needRunner finds or makes the row of an id.
func (v *View) needRunner(id string) uint32 {
	row := v.findRunner(id)
	if row == 0 {
		row = v.runners.add()
		v.text.set(owner{textRunner, row}, id)
		v.runnerIDs.insert(v.hashText(id), row)
	}
	return row
}

// tidyRunner releases a row that nothing needs.
func (v *View) tidyRunner(row uint32) {
	if r := v.runners.at(row); r.mod == 0 && r.refs == 0 {
		v.runnerIDs.remove(v.hashText(v.text.get(r.id)), row)
		v.text.set(owner{textRunner, row}, "")
		v.runners.release(row)
	}
}

func (v *View) runnerID(row uint32) string {
	if row == 0 {
		return ""
	}
	return v.text.get(v.runners.at(row).id)
}

func (v *View) putRunner(r *Runner, mod authz.Revision) {
	row := v.needRunner(r.ID)
	n := v.runners.at(row)
	if n.mod == 0 {
		v.counts[KindRunner]++
	}
	n.mod, n.beat = mod, r.Beat
}

func (v *View) deleteRunner(id string) {
	row := v.findRunner(id)
	if row == 0 || v.runners.at(row).mod == 0 {
		return
	}
	v.counts[KindRunner]--
	n := v.runners.at(row)
	n.mod, n.beat = 0, 0
	v.tidyRunner(row)
}

// startBeating and stopBeating keep a runner's set of jobs that live by its heartbeat,
// and the least term among them: as long as that is not over, none can have lapsed.
func (v *View) startBeating(row uint32, j *jobRow) {
	v.beating.insert(pair{uint64(j.runner), uint64(row)})
	n := v.runners.at(j.runner)
	n.beating++
	switch {
	case n.beating == 1 || j.term < n.minTerm:
		n.minTerm, n.atMin = j.term, 1
	case j.term == n.minTerm:
		n.atMin++
	}
}

func (v *View) stopBeating(row uint32, j *jobRow) {
	v.beating.remove(pair{uint64(j.runner), uint64(row)})
	n := v.runners.at(j.runner)
	n.beating--
	if j.term != n.minTerm {
		return
	}
	if n.atMin--; n.atMin > 0 || n.beating == 0 {
		return
	}
	v.beatingJobs(j.runner, func(o *jobRow, _ uint32) bool {
		switch {
		case n.atMin == 0 || o.term < n.minTerm:
			n.minTerm, n.atMin = o.term, 1
		case o.term == n.minTerm:
			n.atMin++
		}
		return true
	})
}

// beatingJobs calls fn for the jobs that live by a runner's heartbeat, until it gives
// false.
func (v *View) beatingJobs(runner uint32, fn func(j *jobRow, row uint32) bool) {
	v.beating.scan(pair{uint64(runner), 0}, func(p pair) bool {
		return p.hi == uint64(runner) && fn(v.jobs.at(uint32(p.lo)), uint32(p.lo))
	})
}

// deadline is the end of a job's heartbeat term, zero without one.
func (v *View) deadline(j *jobRow) authz.Stamp {
	if j.term <= 0 {
		return 0
	}
	return max(j.started, v.runners.at(j.runner).beat) + authz.Stamp(j.term)
}

// Runner gives the heartbeat of a runner and the revision that last changed it.
func (v *View) Runner(id string) (*Runner, authz.Revision, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	row := v.findRunner(id)
	if row == 0 || v.runners.at(row).mod == 0 {
		return nil, 0, false
	}
	n := v.runners.at(row)
	return &Runner{ID: id, Beat: n.beat}, n.mod, true
}

// RunnerJobs gives the live jobs that hang on a runner's heartbeat.
func (v *View) RunnerJobs(id string) []*Job {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var jobs []*Job
	if runner := v.findRunner(id); runner != 0 {
		v.beatingJobs(runner, func(_ *jobRow, row uint32) bool {
			jobs = append(jobs, v.job(row))
			return true
		})
	}
	return jobs
}

// HeartbeatRunners gives, sorted, the runners that live jobs hang on.
func (v *View) HeartbeatRunners() []string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var ids []string
	for row := uint32(1); row < v.runners.next; row++ {
		if v.runners.at(row).beating > 0 {
			ids = append(ids, v.runnerID(row))
		}
	}
	slices.Sort(ids)
	return ids
}

// LapsedJobs gives up to limit live jobs whose heartbeat term is over at now. It looks
// only at the jobs of runners that have been silent for the least of their terms.
func (v *View) LapsedJobs(now authz.Stamp, limit int) []authz.JobID {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var ids []authz.JobID
	for row := uint32(1); row < v.runners.next && len(ids) < limit; row++ {
		n := v.runners.at(row)
		if n.beating == 0 || n.beat+authz.Stamp(n.minTerm) > now {
			continue
		}
		v.beatingJobs(row, func(j *jobRow, _ uint32) bool {
			if v.deadline(j) <= now {
				ids = append(ids, authz.JobID(v.text.get(j.id)))
			}
			return len(ids) < limit
		})
	}
	return ids
}
