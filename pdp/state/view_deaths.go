package state

import "github.com/jobward/jobward/pdp/authz"

// Deaths, replaced digests and request ids: small records that nothing refers to.

// findDeath takes the id as it is in the record's key.
func (v *View) findDeath(id int64) uint32 {
	p := v.deathIDs.probe(v.hashID(id))
	for {
		row := p.next()
		if row == 0 || v.deaths.at(row).id == id {
			return row
		}
	}
}

func (v *View) putDeath(r *Death, mod authz.Revision) {
	id, _ := r.Key().number()
	row := v.findDeath(id)
	if row == 0 {
		row = v.deaths.add()
		v.deathIDs.insert(v.hashID(id), row)
		v.counts[KindDeath]++
		v.markDead(id, true)
	}
	*v.deaths.at(row) = deathRow{id: id, mod: mod, before: r.Before, at: r.At}
}

func (v *View) deleteDeath(id int64) {
	row := v.findDeath(id)
	if row == 0 {
		return
	}
	v.deathIDs.remove(v.hashID(id), row)
	v.deaths.release(row)
	v.counts[KindDeath]--
	v.markDead(id, false)
}

// markDead notes on a project or user, if it exists now, that it has a death.
func (v *View) markDead(id int64, dead bool) {
	if id&userDeath != 0 {
		if row := v.findUser(id &^ userDeath); row != 0 {
			set(&v.users.at(row).flags, userDead, dead)
		}
		return
	}
	if row := v.findProject(id); row != 0 {
		set(&v.projects.at(row).flags, projectDead, dead)
	}
}

// deadBefore gives the revision of a death that is known to exist.
func (v *View) deadBefore(id int64) authz.Revision { return v.deaths.at(v.findDeath(id)).before }

// DeathOfProject gives what keeps old tokens of a project dead.
func (v *View) DeathOfProject(id authz.ProjectID) (*Death, authz.Revision, bool) {
	d, mod, ok := v.death(int64(id))
	if ok {
		d.Project = id
	}
	return d, mod, ok
}

// DeathOfUser gives what keeps old tokens of a user dead.
func (v *View) DeathOfUser(id authz.UserID) (*Death, authz.Revision, bool) {
	d, mod, ok := v.death(int64(id) | userDeath)
	if ok {
		d.User = id
	}
	return d, mod, ok
}

func (v *View) death(id int64) (*Death, authz.Revision, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	row := v.findDeath(id)
	if row == 0 {
		return nil, 0, false
	}
	d := v.deaths.at(row)
	return &Death{Before: d.before, At: d.at}, d.mod, true
}

func (v *View) findReplaced(d *authz.Digest) uint32 {
	p := v.oldDigests.probe(v.hashDigest(d))
	for {
		row := p.next()
		if row == 0 || v.replaced.at(row).digest == *d {
			return row
		}
	}
}

// JobReplaced gives the job whose token a digest was before a later one replaced it,
// whether or not the job is still there.
func (v *View) JobReplaced(d authz.Digest) (authz.JobID, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	row := v.findReplaced(&d)
	if row == 0 {
		return "", false
	}
	return authz.JobID(v.text.get(v.replaced.at(row).job)), true
}

func (v *View) putReplaced(r *Replaced, mod authz.Revision) {
	row := v.findReplaced(&r.Digest)
	if row == 0 {
		row = v.replaced.add()
		v.replaced.at(row).digest = r.Digest
		v.oldDigests.insert(v.hashDigest(&r.Digest), row)
		v.counts[KindReplaced]++
	}
	v.text.set(owner{textReplaced, row}, string(r.Job))
	o := v.replaced.at(row)
	o.mod, o.at = mod, r.At
}

func (v *View) deleteReplaced(d authz.Digest) {
	row := v.findReplaced(&d)
	if row == 0 {
		return
	}
	v.oldDigests.remove(v.hashDigest(&d), row)
	v.text.set(owner{textReplaced, row}, "")
	v.replaced.release(row)
	v.counts[KindReplaced]--
}

func (v *View) findRequest(id string) uint32 {
	p := v.requestIDs.probe(v.hashText(id))
	for {
		row := p.next()
		if row == 0 || v.text.get(v.requests.at(row).id) == id {
			return row
		}
	}
}

func (v *View) putRequest(r *Request, mod authz.Revision) {
	row := v.findRequest(r.ID)
	if row == 0 {
		row = v.requests.add()
		v.text.set(owner{textRequest, row}, r.ID)
		v.requestIDs.insert(v.hashText(r.ID), row)
		v.counts[KindRequest]++
	}
	q := v.requests.at(row)
	q.mod, q.done, q.fingerprint, q.at = mod, r.Done, r.Fingerprint, r.At
}

func (v *View) deleteRequest(id string) {
	row := v.findRequest(id)
	if row == 0 {
		return
	}
	v.requestIDs.remove(v.hashText(id), row)
	v.text.set(owner{textRequest, row}, "")
	v.requests.release(row)
	v.counts[KindRequest]--
}

// Request gives what is remembered of a request id.
func (v *View) Request(id string) (*Request, authz.Revision, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	row := v.findRequest(id)
	if row == 0 {
		return nil, 0, false
	}
	q := v.requests.at(row)
	return &Request{ID: id, Fingerprint: q.fingerprint, Done: q.done, At: q.at}, q.mod, true
}
