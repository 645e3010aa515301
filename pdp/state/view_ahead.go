package state

import "github.com/jobward/jobward/pdp/authz"

// ahead holds jobs of a snapshot back until there are some. What a job needs stands in five
// places of memory that no other job is near to, and one job after the other would wait for
// each of them; looked at for several jobs at once, the visits overlap.
type ahead struct {
	jobs [16]*Job
	mods [16]authz.Revision
	n    int
	// seen has read everything, and says nothing.
	seen uint64
}

// loadJob takes a job of the snapshot, of which the view has nothing before [View.Loaded].
func (v *View) loadJob(j *Job, mod authz.Revision) {
	a := &v.ahead
	a.jobs[a.n], a.mods[a.n] = j, mod
	if a.n++; a.n == len(a.jobs) {
		v.flushJobs()
	}
}

// flushJobs puts the jobs that were held back.
func (v *View) flushJobs() {
	a := &v.ahead
	var projects, users [len(a.jobs)]uint64
	for i, j := range a.jobs[:a.n] {
		a.seen ^= v.jobIDs.probe(v.hashText(string(j.ID))).slot ^ v.digests.probe(v.hashDigest(&j.Digest)).slot
		projects[i] = v.projectIDs.probe(v.hashID(int64(j.Project))).slot
		users[i] = v.userIDs.probe(v.hashID(int64(j.User))).slot
	}
	for i := range a.n { // the first row with that hash mostly is the one
		if row := uint32(projects[i]); row != 0 {
			a.seen ^= uint64(v.projects.at(row).id)
		}
		if row := uint32(users[i]); row != 0 {
			a.seen ^= uint64(v.users.at(row).id)
		}
	}
	for i, j := range a.jobs[:a.n] {
		v.putJob(j, a.mods[i])
		a.jobs[i] = nil
	}
	a.n = 0
}
