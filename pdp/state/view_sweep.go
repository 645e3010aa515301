package state

import "github.com/jobward/jobward/pdp/authz"

// sweepRows is how many rows are looked at before commits get their turn.
const sweepRows = 16 << 10

// Outdated gives up to limit records that are of no use after the stamp before, as
// guards to delete them with: jobs that ended before it, jobs whose token expired
// before it, digests replaced and requests carried out before it. Fewer than limit
// means that there are no more. Deaths are never among them: only they keep a token
// dead that has outlived every other trace.
//
// A search goes on where the last one stopped, so that removing many in small batches
// does not pass again and again over what has to stay.
func (v *View) Outdated(before authz.Stamp, limit int) []Guard {
	v.sweepMu.Lock()
	defer v.sweepMu.Unlock()
	var out []Guard
	for seen, all := 0, 1; seen < all && len(out) < limit; {
		out, seen, all = v.someOutdated(out, before, limit, seen)
	}
	return out
}

// someOutdated goes on with a search that has seen some of all rows. The rows of the
// three slabs count as one row of rows that begins again behind its end.
func (v *View) someOutdated(out []Guard, before authz.Stamp, limit, seen int) (_ []Guard, _, all int) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	jobs, replaced := int(v.jobs.next), int(v.replaced.next)
	all = jobs + replaced + int(v.requests.next)
	for n := 0; n < sweepRows && seen < all && len(out) < limit; n++ {
		if v.sweepAt >= all {
			v.sweepAt = 0
		}
		i := v.sweepAt
		switch {
		case i == 0 || i == jobs || i == jobs+replaced: // row 0 is none
		case i < jobs:
			out = v.outdatedJob(out, before, uint32(i))
		case i < jobs+replaced:
			if r := v.replaced.at(uint32(i - jobs)); r.mod != 0 && r.at < before {
				out = append(out, Guard{ReplacedKey(r.digest), r.mod})
			}
		default:
			if r := v.requests.at(uint32(i - jobs - replaced)); r.mod != 0 && r.at < before {
				out = append(out, Guard{RequestKey(v.text.get(r.id)), r.mod})
			}
		}
		v.sweepAt++
		seen++
	}
	return out, seen, all
}

func (v *View) outdatedJob(out []Guard, before authz.Stamp, row uint32) []Guard {
	j := v.jobs.at(row)
	ended := j.ended != 0 && j.endedAt < before
	expired := j.expires != 0 && j.expires < before
	if j.mod != 0 && (ended || (j.ended == 0 && expired)) {
		out = append(out, Guard{JobKey(authz.JobID(v.text.get(j.id))), j.mod})
	}
	return out
}
