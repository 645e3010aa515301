package state

import (
	"math"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
)

func (v *View) findJob(id string) uint32 {
	p := v.jobIDs.probe(v.hashText(id))
	for {
		row := p.next()
		if row == 0 || v.text.get(v.jobs.at(row).id) == id {
			return row
		}
	}
}

func (v *View) findDigest(d *authz.Digest) uint32 {
	p := v.digests.probe(v.hashDigest(d))
	for {
		row := p.next()
		if row == 0 || v.jobs.at(row).digest == *d {
			return row
		}
	}
}

// jobHash orders jobs in lists: ids have no better order that costs as little.
func jobHash(id string) uint64 { return uint64(authz.JobKey(authz.JobID(id))) }

func (v *View) putJob(r *Job, mod authz.Revision) {
	id := string(r.ID)
	row := v.findJob(id)
	var was jobRow
	if row == 0 {
		row = v.jobs.add()
		v.text.set(owner{textJobID, row}, id)
		v.jobIDs.insert(v.hashText(id), row)
		v.jobOrder.insert(pair{jobHash(id), uint64(row)})
		v.counts[KindJob]++
	} else {
		was = *v.jobs.at(row)
		v.unlinkJob(row, &was)
	}
	j := v.jobs.at(row)
	j.digest, j.issued, j.status = r.Digest, r.Issued, r.Status
	j.expires, j.started, j.pipeline = r.Expires, r.IssuedAt, r.Pipeline
	j.mod, j.ended, j.endedAt = mod, r.Ended, r.EndedAt
	set(&j.flags, jobErased, r.Erased)
	set(&j.flags, jobLapsed, r.Lapsed)
	v.text.set(owner{textJobRef, row}, r.Ref)
	v.linkJob(row, j, r)
	v.letJobGo(&was)
}

// linkJob connects a job's row with what it refers to.
func (v *View) linkJob(row uint32, j *jobRow, r *Job) {
	if !r.Digest.IsZero() {
		v.digests.insert(v.hashDigest(&j.digest), row)
	}
	j.project, j.user, j.pulse = 0, 0, 0
	if r.Project != 0 {
		j.project = v.needProject(int64(r.Project))
		v.projects.at(j.project).refs++
	}
	if r.User != 0 {
		j.user = v.needUser(int64(r.User))
		v.users.at(j.user).refs++
	}
	if r.Runner != "" || r.Term != 0 {
		j.pulse = v.needPulse(v.needRunner(r.Runner), int64(r.Term))
		v.pulses.at(j.pulse).refs++
	}
	j.limits = v.limits.hold(limitsKey(nil, r.Limits), func() policy.Limits { return cloneLimits(r.Limits) })
	if v.beats(j) {
		v.startBeating(row, j)
	}
}

// unlinkJob takes a job's row out of the indexes of what it says.
func (v *View) unlinkJob(row uint32, j *jobRow) {
	if !j.digest.IsZero() {
		v.digests.remove(v.hashDigest(&j.digest), row)
	}
	if v.beats(j) {
		v.stopBeating(j)
	}
}

// letJobGo counts one less for what a job referred to: after the new record holds its
// own, so that what both need stays.
func (v *View) letJobGo(was *jobRow) {
	if was.project != 0 {
		v.projects.at(was.project).refs--
		v.tidyProject(was.project)
	}
	if was.user != 0 {
		v.users.at(was.user).refs--
		v.tidyUser(was.user)
	}
	if was.pulse != 0 {
		v.pulses.at(was.pulse).refs--
		v.tidyPulse(was.pulse)
	}
	v.limits.letGo(was.limits)
}

func (v *View) deleteJob(id string) {
	row := v.findJob(id)
	if row == 0 {
		return
	}
	was := *v.jobs.at(row)
	v.unlinkJob(row, &was)
	v.jobIDs.remove(v.hashText(id), row)
	v.jobOrder.remove(pair{jobHash(id), uint64(row)})
	v.counts[KindJob]--
	v.text.set(owner{textJobID, row}, "")
	v.text.set(owner{textJobRef, row}, "")
	v.jobs.release(row)
	v.letJobGo(&was)
}

// Job gives a job and the revision that last changed it.
func (v *View) Job(id authz.JobID) (*Job, authz.Revision, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	row := v.findJob(string(id))
	if row == 0 {
		return nil, 0, false
	}
	return v.job(row), v.jobs.at(row).mod, true
}

// JobByDigest gives the job that a digest belongs to, or belonged to before a later
// token replaced it: compare the digests to tell.
func (v *View) JobByDigest(d authz.Digest) (*Job, authz.Revision, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	row := v.findDigest(&d)
	if row == 0 {
		row = v.jobReplaced(&d)
	}
	if row == 0 {
		return nil, 0, false
	}
	return v.job(row), v.jobs.at(row).mod, true
}

// jobReplaced finds the job that a digest belonged to before a later token replaced it.
func (v *View) jobReplaced(d *authz.Digest) uint32 {
	old := v.findReplaced(d)
	if old == 0 {
		return 0
	}
	return v.findJob(v.text.get(v.replaced.at(old).job))
}

func (v *View) job(row uint32) *Job {
	j := v.jobs.at(row)
	return &Job{
		ID: authz.JobID(v.text.get(j.id)), Digest: j.digest, Project: v.projectID(j.project), User: v.userID(j.user),
		Pipeline: j.pipeline, Ref: v.text.get(j.ref), Runner: v.runnerID(v.runnerOf(j)), Term: time.Duration(v.term(j)),
		Issued: j.issued, IssuedAt: j.started, Expires: j.expires, Status: j.status,
		Erased: j.flags&jobErased != 0, Lapsed: j.flags&jobLapsed != 0, Ended: j.ended, EndedAt: j.endedAt,
		Limits: v.limits.at(j.limits),
	}
}

func (v *View) projectID(row uint32) authz.ProjectID {
	if row == 0 {
		return 0
	}
	return authz.ProjectID(v.projects.at(row).id)
}

func (v *View) userID(row uint32) authz.UserID {
	if row == 0 {
		return 0
	}
	return authz.UserID(v.users.at(row).id)
}

// JobFilter chooses jobs; a zero field does not filter.
type JobFilter struct {
	Project authz.ProjectID
	User    authz.UserID
	Runner  string
	// Alive leaves out what the record itself says is dead; see [Job.Alive].
	Alive bool
}

// jobScan is how many jobs are looked at before commits get their turn.
const jobScan = 4096

// Jobs gives up to limit jobs after a job id, in an order that has no meaning but
// never changes: a job that is there from the first page to the last is given once.
// Looking for few among many takes a while, and commits can come in between.
func (v *View) Jobs(after authz.JobID, f JobFilter, limit int) []*Job {
	from := pair{}
	if after != "" {
		from.hi = jobHash(string(after))
		v.mu.RLock()
		if row := v.findJob(string(after)); row != 0 {
			from.lo = uint64(row) + 1
		} else {
			from.lo = math.MaxUint64
		}
		v.mu.RUnlock()
	}
	var jobs []*Job
	for more := true; more && len(jobs) < limit; {
		jobs, from, more = v.someJobs(jobs, from, f, limit)
	}
	return jobs
}

func (v *View) someJobs(jobs []*Job, from pair, f JobFilter, limit int) (_ []*Job, next pair, more bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	project, user, runner := v.findProject(int64(f.Project)), v.findUser(int64(f.User)), v.findRunner(f.Runner)
	if (f.Project != 0 && project == 0) || (f.User != 0 && user == 0) || (f.Runner != "" && runner == 0) {
		return jobs, from, false
	}
	seen := 0
	v.jobOrder.scan(from, func(p pair) bool {
		if seen == jobScan || len(jobs) >= limit {
			next, more = p, true
			return false
		}
		seen++
		row := uint32(p.lo)
		j := v.jobs.at(row)
		if (f.Project == 0 || j.project == project) && (f.User == 0 || j.user == user) &&
			(f.Runner == "" || v.runnerOf(j) == runner) && (!f.Alive || j.alive()) {
			jobs = append(jobs, v.job(row))
		}
		return true
	})
	return jobs, next, more
}
