package pep

import (
	"math/bits"
	"slices"
	"sync/atomic"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// key is what an answer is kept under: every field of authz.Request. Two questions
// that the PDP could answer differently have different keys; a test walks the fields.
type key struct {
	token authz.Digest
	question
}

// question is a key without its token.
type question struct {
	target     authz.Target
	permission authz.Permission
	surface    authz.Surface
}

// keyOf gives the key of a request. A path beside an id is left out, as the PDP does
// not look at it.
func keyOf(r *authz.Request) key {
	k := key{r.Token, question{r.Target, r.Permission, r.Surface}}
	if k.target.ID != 0 {
		k.target.Path = ""
	}
	return k
}

// request is the inverse of keyOf.
func (k *key) request() authz.Request {
	return authz.Request{Token: k.token, Target: k.target, Permission: k.permission, Surface: k.surface}
}

// entry is one cached answer. It never changes once it is in the table, apart from its
// atomics, so readers take no lock. What many answers have in common is shared: whose
// token it is (subject), and question, outcome and what it rests on (ground). An
// invalidation marks subjects and grounds dead, and with that every entry that rests on
// them is void; the memory follows when the table is swept.
//
// 48 bytes, a size class of the allocator: see TestMemory.
type entry struct {
	next     atomic.Pointer[entry] // in its bucket
	subject  *subject
	ground   *ground
	ends     lease.Instant // the token's own end as far as it was known (R12)
	revision authz.Revision
	// hits counts since the last report. last is twice the time of the newest one, in
	// units of 2^tickBits ns; its lowest bit is what the hand of the clock takes away.
	hits, last atomic.Uint32
}

const (
	tickBits = 27 // 134 ms
	noEnd    = lease.Instant(1<<63 - 1)
)

// dead reports whether something that the entry rests on has changed.
func (e *entry) dead() bool { return e.ground.dead.Load() || e.subject.dead.Load() }

// decision fills in what the entry says.
func (e *entry) decision(d *authz.Decision, now lease.Instant) {
	s, g := e.subject, e.ground
	d.Allow, d.Reason, d.Revision, d.Cached = g.reason.Allows(), g.reason, e.revision, true
	if e.ends != noEnd {
		d.ValidFor = e.ends.Sub(now)
	}
	d.Job, d.Source, d.User = s.job, s.source, s.user
	if g.found {
		d.Target = g.target
	}
	d.Role, d.Need, d.Feature = g.role, g.need, g.feature
	if x := g.extra; x != nil {
		d.Entry, d.RoleScope, d.Missing = x.entry, x.roleScope, x.missing
		if x.path != "" {
			d.Target = x.leads
		}
	}
}

// table holds the entries and what they rest on. Readers use hash and find; all else
// is done under the lock of the Decider.
type table struct {
	buckets []atomic.Pointer[entry]
	mask    uint64
	seed    [4]uint64
	index

	maxEntries int
	maxBytes   int64
	entries    int
	dirty      int // buckets that may have entries which rest on something dead
	hand       uint64
	broom      uint64
	evicted    uint64
	expired    uint64
}

func newTable(maxEntries int, maxBytes int64, draw func() uint64) *table {
	n := 1 << bits.Len(uint(max(maxEntries, 64)-1))
	t := &table{buckets: make([]atomic.Pointer[entry], n), mask: uint64(n - 1), maxEntries: maxEntries, maxBytes: maxBytes}
	for i := range t.seed {
		t.seed[i] = draw()
	}
	t.index.init(t.seed[3])
	return t
}

// hash is keyed by a secret seed, so nobody can choose tokens that share a bucket. Of
// the digest half is enough, since it is a SHA-256 already.
func (t *table) hash(k *key) uint64 {
	h := fold(word(k.token[:8])^t.seed[0], word(k.token[8:])^t.seed[1]^uint64(k.target.ID))
	h = fold(h^uint64(k.surface), hashString(t.seed[2], string(k.permission)))
	if k.target.Path != "" {
		h = fold(h, hashString(t.seed[3], k.target.Path))
	}
	return h
}

// find gives the entry of a key, which may be void. It may be called without the lock.
func (t *table) find(h uint64, k *key) *entry {
	for e := t.buckets[h&t.mask].Load(); e != nil; e = e.next.Load() {
		if e.subject.digest == k.token && e.ground.asks(&k.question) {
			return e
		}
	}
	return nil
}

// install puts an answer in, in place of what was there for its key.
func (t *table) install(h uint64, k *key, d *authz.Decision, era lease.Era, now, ends lease.Instant) {
	t.removeKey(h, k)
	e := &entry{subject: t.subjectOf(k, d, era), ground: t.groundOf(k, d), ends: ends, revision: d.Revision}
	e.subject.refs++
	e.ground.refs++
	b := &t.buckets[h&t.mask]
	e.next.Store(b.Load())
	b.Store(e)
	t.entries++
	t.bytes += entryBytes
	t.evict(e, now)
}

func (t *table) removeKey(h uint64, k *key) {
	at := h & t.mask
	t.filter(at, func(e *entry) bool { return e.subject.digest == k.token && e.ground.asks(&k.question) })
}

// filter takes the entries that match out of a bucket, and tells how many.
func (t *table) filter(bucket uint64, match func(*entry) bool) int {
	n := 0
	link := &t.buckets[bucket]
	for e := link.Load(); e != nil; e = link.Load() {
		if !match(e) {
			link = &e.next
			continue
		}
		link.Store(e.next.Load())
		t.gone(e)
		n++
	}
	return n
}

// gone drops what a removed entry held.
func (t *table) gone(e *entry) {
	t.entries--
	t.bytes -= entryBytes
	t.leaveSubject(e.subject)
	t.leaveGround(e.ground)
}

// evict makes room. It is the clock, with one difference: a new entry has to be used
// once before it gets its second chance, so a stream of questions that are asked once
// drives out nothing that is asked often.
func (t *table) evict(keep *entry, now lease.Instant) {
	for t.entries > t.maxEntries || t.bytes > t.maxBytes && t.entries > 1 {
		at := t.hand & t.mask
		t.hand++
		t.filter(at, func(e *entry) bool {
			switch {
			case e == keep:
				return false
			case e.dead():
			case now >= e.ends:
				t.expired++
			case t.entries <= t.maxEntries && t.bytes <= t.maxBytes:
				return false
			default:
				if last := e.last.Load(); last&1 == 1 {
					e.last.Store(last &^ 1)
					return false
				}
				t.evicted++
			}
			return true
		})
	}
}

// sweep looks at the next n buckets for entries that are void or over.
func (t *table) sweep(n int, now lease.Instant) {
	for range n {
		t.filter(t.broom&t.mask, func(e *entry) bool {
			if e.dead() {
				return true
			}
			if now >= e.ends {
				t.expired++
				return true
			}
			return false
		})
		t.broom++
	}
	t.dirty = max(t.dirty-n, 0)
}

// invalidate voids all that rests on the keys, and tells how many entries that were.
func (t *table) invalidate(keys []authz.Key) int {
	n := t.index.invalidate(keys)
	if n > 0 {
		t.dirty = len(t.buckets)
	}
	return n
}

// clear takes everything out.
func (t *table) clear() {
	for i := range t.buckets {
		if b := &t.buckets[i]; b.Load() != nil {
			b.Store(nil)
		}
	}
	t.entries, t.dirty = 0, 0
	t.index.init(t.seed[3])
}

// fold mixes two words into one, as wyhash does.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0x9e3779b97f4a7c15, b^0xe7037ed1a0b428db)
	return hi ^ lo
}

func word[T string | []byte](b T) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

func hashString(seed uint64, s string) uint64 {
	h := seed ^ uint64(len(s))
	if len(s) < 8 {
		var short uint64
		for i := range len(s) {
			short = short<<8 | uint64(s[i])
		}
		return fold(h, short)
	}
	end := word(s[len(s)-8:]) // may overlap what is before it
	for ; len(s) > 8; s = s[8:] {
		h = fold(h, word(s))
	}
	return fold(h, end)
}

// sortedKeys makes a set a list in order.
func sortedKeys(m map[authz.Key]struct{}) []authz.Key {
	ks := make([]authz.Key, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	slices.Sort(ks)
	return ks
}
