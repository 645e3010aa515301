package lease

import "github.com/jobward/jobward/pdp/authz"

// Buckets is how many hash buckets the keys of one kind collapse into when a
// generation's interest is past its bound (PROTOCOL R18).
const Buckets = 4096

// bucketBit marks the kind of a bucket among the kinds of keys, which are below it.
const bucketBit = authz.Key(8) << 60

// bucketOf gives the bucket that stands for k. The key of the instance is one for all
// and stays itself.
func bucketOf(k authz.Key) authz.Key {
	if k == authz.TheInstance {
		return k
	}
	const low = authz.Key(1)<<60 - 1
	h := uint64(k&low) * 0x9e3779b97f4a7c15 // ids count up; spread them
	return k&^low | bucketBit | authz.Key(h>>52)
}

// rest is what is remembered of a key that answers rest on: the newest revision that
// one of them was judged at, and the highest number of one.
type rest struct {
	judged authz.Revision
	number uint64
}

// interests is what generations rest on, by key and by generation.
type interests struct {
	of map[authz.Key]tenants
}

// tenants are the generations interested in one key: nearly always one, so that one
// needs no map.
type tenants struct {
	one  *tenure
	more map[*tenure]struct{} // all of them, when there are several
}

func (in *interests) add(k authz.Key, t *tenure) {
	ts := in.of[k]
	switch {
	case ts.more != nil:
		ts.more[t] = struct{}{}
		return
	case ts.one == nil || ts.one == t:
		ts.one = t
	default:
		ts = tenants{more: map[*tenure]struct{}{ts.one: {}, t: {}}}
	}
	in.of[k] = ts
}

func (in *interests) remove(k authz.Key, t *tenure) {
	ts := in.of[k]
	switch {
	case ts.more != nil:
		delete(ts.more, t)
		if len(ts.more) == 0 {
			delete(in.of, k)
		}
	case ts.one == t:
		delete(in.of, k)
	}
}

// each calls fn for the generations interested in k.
func (in *interests) each(k authz.Key, fn func(*tenure)) {
	ts := in.of[k]
	if ts.one != nil {
		fn(ts.one)
	}
	for t := range ts.more {
		fn(t)
	}
}
