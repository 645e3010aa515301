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
	if r := v.runners.at(row); r.mod == 0 && r.pulse == 0 {
		v.runnerIDs.remove(v.hashText(v.text.get(r.id)), row)
		v.text.set(owner{textRunner, row}, "")
		v.runners.release(row)
	}
}

// needPulse finds or makes the pulse of a runner for a term. A runner's jobs have few
// different terms, if not one.
func (v *View) needPulse(runner uint32, term int64) uint32 {
	n := v.runners.at(runner)
	for row := n.pulse; row != 0; row = v.pulses.at(row).next {
		if v.pulses.at(row).term == term {
			return row
		}
	}
	row := v.pulses.add()
	*v.pulses.at(row) = pulseRow{term: term, runner: runner, next: n.pulse}
	n.pulse = row
	return row
}

// tidyPulse releases a row that nothing needs.
func (v *View) tidyPulse(row uint32) {
	p := v.pulses.at(row)
	if p.refs > 0 {
		return
	}
	runner := p.runner
	at := &v.runners.at(runner).pulse
	for *at != row {
		at = &v.pulses.at(*at).next
	}
	*at = p.next
	v.pulses.release(row)
	v.tidyRunner(runner)
}

// runnerOf gives the row of a job's runner, and term its heartbeat term; zero for none.
func (v *View) runnerOf(j *jobRow) uint32 {
	if j.pulse == 0 {
		return 0
	}
	return v.pulses.at(j.pulse).runner
}

func (v *View) term(j *jobRow) int64 {
	if j.pulse == 0 {
		return 0
	}
	return v.pulses.at(j.pulse).term
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

// beats reports whether a job's life hangs on its runner's heartbeat.
func (v *View) beats(j *jobRow) bool { return v.term(j) > 0 && j.alive() }

// startBeating and stopBeating keep a pulse's list of jobs that live by it.
func (v *View) startBeating(row uint32, j *jobRow) {
	p := v.pulses.at(j.pulse)
	j.next, j.prev = p.first, 0
	if p.first != 0 {
		v.jobs.at(p.first).prev = row
	}
	p.first = row
}

func (v *View) stopBeating(j *jobRow) {
	if j.prev != 0 {
		v.jobs.at(j.prev).next = j.next
	} else {
		v.pulses.at(j.pulse).first = j.next
	}
	if j.next != 0 {
		v.jobs.at(j.next).prev = j.prev
	}
}

// deadline is the end of a job's heartbeat term, zero without one.
func (v *View) deadline(j *jobRow) authz.Stamp {
	if j.pulse == 0 {
		return 0
	}
	p := v.pulses.at(j.pulse)
	if p.term <= 0 {
		return 0
	}
	return max(j.started, v.runners.at(p.runner).beat) + authz.Stamp(p.term)
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
	runner := v.findRunner(id)
	if runner == 0 {
		return nil
	}
	var jobs []*Job
	for row := v.runners.at(runner).pulse; row != 0; row = v.pulses.at(row).next {
		for j := v.pulses.at(row).first; j != 0; j = v.jobs.at(j).next {
			jobs = append(jobs, v.job(j))
		}
	}
	return jobs
}

// HeartbeatRunners gives, sorted, the runners that live jobs hang on.
func (v *View) HeartbeatRunners() []string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var ids []string
	for row := uint32(1); row < v.pulses.next; row++ {
		if p := v.pulses.at(row); p.first != 0 {
			ids = append(ids, v.runnerID(p.runner))
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// LapsedJobs gives up to limit live jobs whose heartbeat term is over at now. It looks
// only at the jobs of runners that have been silent for a term.
func (v *View) LapsedJobs(now authz.Stamp, limit int) []authz.JobID {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var ids []authz.JobID
	for row := uint32(1); row < v.pulses.next; row++ {
		p := v.pulses.at(row)
		if p.first == 0 || v.runners.at(p.runner).beat+authz.Stamp(p.term) > now {
			continue
		}
		for job := p.first; job != 0; {
			j := v.jobs.at(job)
			if v.deadline(j) <= now {
				if len(ids) >= limit {
					return ids
				}
				ids = append(ids, authz.JobID(v.text.get(j.id)))
			}
			job = j.next
		}
	}
	return ids
}

// Lapsed gives the jobs whose heartbeat has run out for good, and whose token would not
// have ended by itself at now. It looks at every job, and is for when a PDP starts.
func (v *View) Lapsed(now authz.Stamp) []*Job {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var jobs []*Job
	for row := uint32(1); row < v.jobs.next; row++ {
		if j := v.jobs.at(row); j.flags&jobLapsed != 0 && j.expires > now {
			jobs = append(jobs, v.job(row))
		}
	}
	return jobs
}
