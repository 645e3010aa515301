package state

import "fmt"

// index finds row numbers by hash. It is extendible hashing: a directory, addressed
// by the top bits of the hash, of pages of a fixed size. A full page splits alone,
// by the hashes stored in it, so inserting never waits for a rehash of everything and
// never touches a row. Several rows may have the same hash; whoever looks compares the
// rows themselves.
type index struct {
	dir   []*page // 1<<depth entries; pages of less depth stand in several
	depth uint32
	free  []*page // split, to be used again
	fresh []page  // of the newest block, never used
	pages int     // ever made
}

// page is 8 KiB of open addressing with linear probing. A slot is hash<<32 | row;
// zero is free, since no row is 0.
type page struct {
	slots    [pageSlots]uint64
	n, depth uint32
}

const (
	pageSlots = 1023
	pageFull  = pageSlots * 4 / 5
	// maxDepth is where a directory ends: enough for three thousand million rows. Only
	// rows with equal hashes could need more, and hashes are seeded.
	maxDepth = 22
)

func newIndex() index { return index{dir: []*page{{}}} }

func (ix *index) page(hash uint32) *page { return ix.dir[uint64(hash)<<ix.depth>>32] }

// home is the slot where probing starts. It mixes, because the top bits are the same
// all over a page.
func home(hash uint32) uint32 { return uint32(uint64(hash*0x9e3779b1) * pageSlots >> 32) }

// probe walks the rows that may have a hash; see [index.probe].
type probe struct {
	pg   *page
	at   uint32
	hash uint32
	slot uint64 // what is at at
}

// probe starts a walk over the rows of a hash. It reads the first slot at once: of two
// probes started together the visits to memory overlap, whatever the slots say.
func (ix *index) probe(hash uint32) probe {
	pg, at := ix.page(hash), home(hash)
	return probe{pg, at, hash, pg.slots[at]}
}

// next gives the next row with the hash, 0 after the last.
func (p *probe) next() uint32 {
	for p.slot != 0 {
		s := p.slot
		if p.at++; p.at == pageSlots {
			p.at = 0
		}
		p.slot = p.pg.slots[p.at]
		if uint32(s>>32) == p.hash {
			return uint32(s)
		}
	}
	return 0
}

// insert adds a row. The same pair of hash and row must not be there yet.
func (ix *index) insert(hash, row uint32) {
	pg := ix.page(hash)
	for pg.n >= pageFull {
		ix.split(pg, hash)
		pg = ix.page(hash)
	}
	pg.insert(uint64(hash)<<32 | uint64(row))
}

func (pg *page) insert(slot uint64) {
	i := home(uint32(slot >> 32))
	for pg.slots[i] != 0 {
		if i++; i == pageSlots {
			i = 0
		}
	}
	pg.slots[i] = slot
	pg.n++
}

// split replaces the page of hash by two, each with half of its range.
func (ix *index) split(pg *page, hash uint32) {
	if pg.depth == maxDepth {
		panic(fmt.Sprintf("state: %d rows with one hash", pg.n))
	}
	if pg.depth == ix.depth {
		dir := make([]*page, 2*len(ix.dir))
		for i, p := range ix.dir {
			dir[2*i], dir[2*i+1] = p, p
		}
		ix.dir = dir
		ix.depth++
	}
	depth := pg.depth + 1
	halves := [2]*page{ix.newPage(depth), ix.newPage(depth)}
	for _, s := range pg.slots {
		if s != 0 {
			halves[s>>(64-depth)&1].insert(s)
		}
	}
	span := 1 << (ix.depth - depth) // directory entries of each half
	first := int(uint64(hash)<<ix.depth>>32) &^ (2*span - 1)
	for i := range 2 * span {
		ix.dir[first+i] = halves[i/span]
	}
	ix.free = append(ix.free, pg)
}

// plainPages is how many pages an index has before it takes many at a time, in huge pages.
const plainPages = 256

func (ix *index) newPage(depth uint32) *page {
	var pg *page
	if n := len(ix.free); n > 0 {
		pg, ix.free = ix.free[n-1], ix.free[:n-1]
		*pg = page{}
	} else {
		if len(ix.fresh) == 0 {
			n := 1
			if ix.pages >= plainPages {
				n = blockBytes / (8 << 10)
			}
			ix.fresh = make([]page, n)
			if n > 1 {
				hugePages(ix.fresh)
			}
		}
		pg, ix.fresh = &ix.fresh[0], ix.fresh[1:]
		ix.pages++
	}
	pg.depth = depth
	return pg
}

// remove takes a row out; it must be there. The slots after it move up, so there are
// no tombstones that would make probing slower with time.
func (ix *index) remove(hash, row uint32) {
	pg := ix.page(hash)
	i := home(hash)
	for want := uint64(hash)<<32 | uint64(row); pg.slots[i] != want; {
		if pg.slots[i] == 0 {
			panic(fmt.Sprintf("state: row %d is not in its index", row))
		}
		if i++; i == pageSlots {
			i = 0
		}
	}
	pg.n--
	for j := i; ; {
		if j++; j == pageSlots {
			j = 0
		}
		s := pg.slots[j]
		if s == 0 {
			break
		}
		// s may move to i unless its home lies behind i, on the way to j.
		if h := home(uint32(s >> 32)); (j+pageSlots-h)%pageSlots >= (j+pageSlots-i)%pageSlots {
			pg.slots[i] = s
			i = j
		}
	}
	pg.slots[i] = 0
}
