package feed

import (
	"slices"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// The dependency keys of a change (PROTOCOL R15), by the records it touches, put or
// deleted. What a decision reads is policy's to say; that every way to change it is here
// is what the tests of this package walk through.
//
//	Job                    the job
//	Replaced               its job, and the one that had the digest before
//	Project                the project, and its path before and after
//	Group                  the group, and its path before and after
//	User, Members          the user
//	Allowlist              the project
//	Death                  the project or the user
//	Instance, Catalogue    the instance
//	Runner                 none: a heartbeat only prolongs, and answers carry their end (R12)
//	Request, Leases        none: no decision reads them
//	Directory              none: no decision reads it
//
// What is in a group that does not exist is not covered: the engine refuses to put
// anything there, and to delete a group that is not empty.
//
// A group's path is the prefix of all paths below it, and an answer by path rests on
// every prefix: so a moved group is one key, however much is in it.

// paths are the full paths of what a change touches, in the order of its keys; empty for
// what has none.
type paths []string

// looksBack reports whether the keys of a change depend on what was there before it.
func looksBack(c *state.Change) bool {
	for _, k := range c.Keys {
		switch k.Kind() {
		case state.KindGroup, state.KindProject, state.KindReplaced:
			return true
		}
	}
	return false
}

// pathsIn gives the paths of a change's groups and projects as the view has them.
func pathsIn(v *state.View, c *state.Change) paths {
	out := make(paths, len(c.Keys))
	for i, k := range c.Keys {
		switch k.Kind() {
		case state.KindGroup:
			out[i], _ = v.GroupPath(authz.GroupID(k.Number()))
		case state.KindProject:
			out[i], _ = v.PathOf(authz.ProjectID(k.Number()))
		}
	}
	return out
}

// keysBefore gives the keys that only what was there before a change tells: of the jobs
// that had the digests it replaces or forgets.
func keysBefore(v *state.View, c *state.Change) (keys []authz.Key) {
	for _, k := range c.Keys {
		if k.Kind() == state.KindReplaced {
			if job, ok := v.JobReplaced(authz.Digest([]byte(k.Name()))); ok {
				keys = append(keys, authz.JobKey(job))
			}
		}
	}
	return keys
}

// keysOf appends the keys that a change tells by itself to keys.
func keysOf(c *state.Change, keys []authz.Key) []authz.Key {
	if keys == nil {
		n := 0
		for _, k := range c.Keys {
			if _, ok := keyOf(k); ok {
				n++
			}
		}
		if n == 0 {
			return nil
		}
		keys = make([]authz.Key, 0, n)
	}
	for _, k := range c.Keys {
		if key, ok := keyOf(k); ok {
			keys = append(keys, key)
		}
	}
	for _, rec := range c.Puts {
		if r, ok := rec.(*state.Replaced); ok {
			keys = append(keys, authz.JobKey(r.Job))
		}
	}
	return keys
}

// keyOf gives the key that stands for a record, whatever is in it.
func keyOf(k state.Key) (key authz.Key, ok bool) {
	switch k.Kind() {
	case state.KindJob:
		return authz.JobKey(authz.JobID(k.Name())), true
	case state.KindProject, state.KindAllowlist:
		return authz.ProjectKey(authz.ProjectID(k.Number())), true
	case state.KindGroup:
		return authz.GroupKey(authz.GroupID(k.Number())), true
	case state.KindUser, state.KindMembers:
		return authz.UserKey(authz.UserID(k.Number())), true
	case state.KindDeath:
		if k.OfUser() {
			return authz.UserKey(authz.UserID(k.Number())), true
		}
		return authz.ProjectKey(authz.ProjectID(k.Number())), true
	case state.KindInstance, state.KindCatalogue:
		return authz.TheInstance, true
	}
	return 0, false
}

// pathKeys appends the keys of paths. A path that is the same before and after is among
// them: where two things had it, as stores may hold, it can lead to another one now.
func pathKeys(keys []authz.Key, ps paths) []authz.Key {
	for _, p := range ps {
		if p != "" {
			keys = append(keys, authz.PathKey(p))
		}
	}
	return keys
}

// once takes out what is in keys twice.
func once(keys []authz.Key) []authz.Key {
	if len(keys) < 2 {
		return keys
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// keysFromHistory gives the keys of a change of which only its record keys are known; ok
// is false when they do not tell them all.
func keysFromHistory(c *state.Change) (keys []authz.Key, ok bool) {
	replaced, job := 0, false
	for _, k := range c.Keys {
		switch k.Kind() {
		case state.KindGroup, state.KindProject:
			return nil, false // where they were before is not known any more
		case state.KindReplaced:
			replaced++
		case state.KindJob:
			job = true
		}
	}
	for _, k := range c.Deletes {
		if k.Kind() == state.KindReplaced {
			return nil, false
		}
	}
	// A re-Issue puts the new job beside what it replaces; anything else is not ours to guess.
	if replaced > 1 || replaced == 1 && !job {
		return nil, false
	}
	return once(keysOf(c, nil)), true
}
