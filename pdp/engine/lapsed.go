package engine

import (
	"slices"
	"sync"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// lapsedJobs remembers which jobs of a runner have lapsed, so that every KeepAlive can
// tell until the job's token would have ended by itself. It is a reading aid: what
// makes a job dead is its record, from which New fills this. After that every applied
// change does, so that each of several PDPs can tell (R12).
type lapsedJobs struct {
	mu  sync.Mutex
	all map[string]map[authz.JobID]authz.Stamp // runner, job, end of the token
}

func (l *lapsedJobs) add(j *state.Job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[string]map[authz.JobID]authz.Stamp{}
	}
	if l.all[j.Runner] == nil {
		l.all[j.Runner] = map[authz.JobID]authz.Stamp{}
	}
	l.all[j.Runner][j.ID] = j.Expires
}

// of gives the runner's lapsed jobs by id, and forgets those whose time is over.
func (l *lapsedJobs) of(runner string, now authz.Stamp) []authz.JobID {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids []authz.JobID
	for id, end := range l.all[runner] {
		if end <= now {
			delete(l.all[runner], id)
			continue
		}
		ids = append(ids, id)
	}
	if len(l.all[runner]) == 0 {
		delete(l.all, runner)
	}
	slices.Sort(ids)
	return ids
}

// forget drops everything whose time is over; runners that never call again would
// keep theirs otherwise.
func (l *lapsedJobs) forget(now authz.Stamp) {
	l.mu.Lock()
	runners := make([]string, 0, len(l.all))
	for r := range l.all {
		runners = append(runners, r)
	}
	l.mu.Unlock()
	for _, r := range runners {
		l.of(r, now)
	}
}

// rememberLapsed reads what has lapsed from the records.
func (e *Engine) rememberLapsed() {
	for _, j := range e.view.Lapsed(e.clock.Now()) {
		e.lapsed.add(j)
	}
}
