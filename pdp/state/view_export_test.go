package state

// InUse tells what of the view's memory is in use, by name; an empty view uses nothing.
func (v *View) InUse() map[string]int {
	use := map[string]int{
		"group rows": v.groups.used(), "other group rows": v.groupRest.used(), "project rows": v.projects.used(),
		"user rows": v.users.used(), "job rows": v.jobs.used(), "runner rows": v.runners.used(), "pulse rows": v.pulses.used(),
		"replaced rows": v.replaced.used(), "death rows": v.deaths.used(), "request rows": v.requests.used(),
		"limits": len(v.limits.byKey), "policies": len(v.policies.byKey),
	}
	for _, c := range v.text.chunks {
		use["bytes of text"] += int(c.live)
	}
	for name, ix := range map[string]*index{
		"group ids": &v.groupIDs, "project ids": &v.projectIDs, "user ids": &v.userIDs, "job ids": &v.jobIDs,
		"runner ids": &v.runnerIDs, "digests": &v.digests, "old digests": &v.oldDigests, "death ids": &v.deathIDs,
		"request ids": &v.requestIDs, "group names": &v.groupNames, "project names": &v.projectNames,
	} {
		for i := 0; i < len(ix.dir); i += 1 << (ix.depth - ix.dir[i].depth) {
			use[name] += int(ix.dir[i].n)
		}
	}
	for _, t := range v.trees() {
		t.scan(pair{}, func(pair) bool {
			use["pairs"]++
			return true
		})
	}
	for name, n := range use {
		if n == 0 {
			delete(use, name)
		}
	}
	return use
}

func (s *slab[T]) used() int { return int(s.next) - 1 - len(s.free) }
