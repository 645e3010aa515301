package badgerstore

import (
	"hash/maphash"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// mods remembers which revision last changed a record, zero for one that is not there, of
// those looked up or changed lately. All changes pass it by, so what it says is so. Guards
// ask about the same few records again and again (the project, the user, the job issued some
// minutes ago), and looking them up on the disk was half of what a transaction cost to build.
//
// A record is known here by 127 bits of hashes whose seeds nobody knows: there is nothing
// for the garbage collector to follow, and nothing that grows.
type mods struct {
	seeds [2]maphash.Seed
	sets  []modSet
}

// modSet has the records of some hashes. One more takes the place of the oldest.
type modSet struct {
	of     [modWays]modKey // zero where there is none
	mod    [modWays]authz.Revision
	oldest uint8
}

type modKey [2]uint64

const (
	modWays = 4
	// modSets times modWays records take 7 MB, of memory that is not touched before they come.
	modSets = 1 << 16
)

func (m *mods) find(key state.Key) (*modSet, modKey) {
	if m.sets == nil {
		m.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
		m.sets = make([]modSet, modSets)
	}
	k := modKey{maphash.String(m.seeds[0], string(key)) | 1, maphash.String(m.seeds[1], string(key))}
	return &m.sets[k[1]%modSets], k
}

func (m *mods) get(key state.Key) (mod authz.Revision, ok bool) {
	s, k := m.find(key)
	for i := range s.of {
		if s.of[i] == k {
			return s.mod[i], true
		}
	}
	return 0, false
}

func (m *mods) set(key state.Key, mod authz.Revision) {
	s, k := m.find(key)
	for i := range s.of {
		if s.of[i] == k {
			s.mod[i] = mod
			return
		}
	}
	s.of[s.oldest], s.mod[s.oldest] = k, mod
	s.oldest = (s.oldest + 1) % modWays
}

// known tells which records are surely not there, of the kinds that come and go by the
// thousand: asking Badger for what it does not have walks through all of its levels, and
// every Issue asks for a job that nobody has heard of. It holds four bytes of hash for
// each record, so "not there" is certain and "there" is a guess, wrong once in a thousand.
//
// It has to hear of every record when it comes, and when it goes. It is used by the
// reader while the store loads, and then by the committer.
type known struct {
	seed   maphash.Seed
	shards [256]knownShard // each grows by itself, so that no growth takes long
}

// knownShard is a table with linear probing; zero is an empty slot. Records with equal
// hashes have a slot each.
type knownShard struct {
	slots []uint32
	n     int
}

// covers reports whether records of this kind are known here.
func (*known) covers(kind state.Kind) bool {
	return kind == state.KindJob || kind == state.KindReplaced || kind == state.KindRequest
}

func (k *known) find(key state.Key) (*knownShard, uint32) {
	h := maphash.String(k.seed, string(key))
	return &k.shards[h>>56], max(uint32(h), 1)
}

// maybe reports whether the record may be there.
func (k *known) maybe(key state.Key) bool {
	if !k.covers(key.Kind()) {
		return true
	}
	s, h := k.find(key)
	_, found := s.search(h)
	return found
}

// add takes a record that was not there.
func (k *known) add(key state.Key) {
	if !k.covers(key.Kind()) {
		return
	}
	s, h := k.find(key)
	if 4*(s.n+1) > 3*len(s.slots) {
		old := s.slots
		s.slots = make([]uint32, max(2*len(old), 16))
		for _, h := range old {
			if h != 0 {
				s.put(h)
			}
		}
	}
	s.put(h)
	s.n++
}

// remove takes away a record that was there.
func (k *known) remove(key state.Key) {
	if !k.covers(key.Kind()) {
		return
	}
	s, h := k.find(key)
	hole, found := s.search(h)
	if !found {
		return
	}
	s.n--
	// What comes after the hole and was pushed behind it moves up, so that every search ends
	// at the first empty slot.
	mask := uint32(len(s.slots) - 1)
	for i := (hole + 1) & mask; s.slots[i] != 0; i = (i + 1) & mask {
		if (i-s.slots[i])&mask >= (i-hole)&mask {
			s.slots[hole], hole = s.slots[i], i
		}
	}
	s.slots[hole] = 0
}

// search gives a slot with h, if there is one.
func (s *knownShard) search(h uint32) (at uint32, found bool) {
	if len(s.slots) == 0 {
		return 0, false
	}
	mask := uint32(len(s.slots) - 1)
	for at = h & mask; s.slots[at] != 0; at = (at + 1) & mask {
		if s.slots[at] == h {
			return at, true
		}
	}
	return at, false
}

// put writes h to the first empty slot from its place on.
func (s *knownShard) put(h uint32) {
	mask := uint32(len(s.slots) - 1)
	at := h & mask
	for s.slots[at] != 0 {
		at = (at + 1) & mask
	}
	s.slots[at] = h
}
