package state

import (
	"cmp"
	"runtime"
	"slices"
)

// pair is an element of [pairs], ordered by hi and then lo.
type pair struct{ hi, lo uint64 }

// pairs is an ordered set of pairs: the view's orders (id and row) and its reverse
// indexes (of what, by whom). It is a B+ tree in slabs. Until built is called, pairs
// are only collected, because sorting them all once is many times cheaper than
// inserting them one by one.
type pairs struct {
	leaves slab[leaf]
	inners slab[inner]
	root   uint32
	height int // 0: the root is a leaf
	bulk   [][]pair
	built  bool
}

const (
	fan = 64 // children of an inner node; a leaf has one pair less
	// A leaf this empty is merged with a neighbour when both then fit in mergeMax.
	mergeMin = fan / 4
	mergeMax = fan * 3 / 4
	// bulkFill leaves room in the leaves of a fresh tree.
	bulkFill  = fan * 7 / 8
	bulkPiece = 1 << 16
)

type leaf struct {
	n int
	p [fan - 1]pair
}

// inner has n+1 children; the pairs below kid[i] are at least key[i-1] and less than
// key[i].
type inner struct {
	n   int
	key [fan - 1]pair
	kid [fan]uint32
}

func newPairs() pairs { return pairs{leaves: newSlab[leaf](), inners: newSlab[inner]()} }

func (p pair) less(q pair) bool { return p.hi < q.hi || (p.hi == q.hi && p.lo < q.lo) }

func comparePairs(p, q pair) int {
	if c := cmp.Compare(p.hi, q.hi); c != 0 {
		return c
	}
	return cmp.Compare(p.lo, q.lo)
}

// search gives the place of the first of ps that is not less than p.
func search(ps []pair, p pair) int {
	lo, hi := 0, len(ps)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if ps[mid].less(p) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// child gives the place of the child that p belongs below.
func (in *inner) child(p pair) int {
	i := search(in.key[:in.n], p)
	if i < in.n && in.key[i] == p {
		i++
	}
	return i
}

// insert adds p; nothing happens if it is there.
func (t *pairs) insert(p pair) {
	if !t.built {
		t.collect(p)
		return
	}
	sep, right := t.put(t.root, t.height, p)
	if right != 0 {
		t.grow(sep, right)
	}
}

// collect keeps p until the tree is built, in pieces, so that millions of pairs are not
// copied again and again as they become more.
func (t *pairs) collect(p pair) {
	if n := len(t.bulk); n == 0 {
		t.bulk = append(t.bulk, nil)
	} else if len(t.bulk[n-1]) == bulkPiece {
		t.bulk = append(t.bulk, make([]pair, 0, bulkPiece))
	}
	last := &t.bulk[len(t.bulk)-1]
	*last = append(*last, p)
}

// grow puts a new root above the old one and its new neighbour to the right.
func (t *pairs) grow(sep pair, right uint32) {
	i := t.inners.add()
	in := t.inners.at(i)
	in.n, in.key[0], in.kid[0], in.kid[1] = 1, sep, t.root, right
	t.root = i
	t.height++
}

// put inserts below a node. If the node had to be split, it gives the number of the
// new node to its right, and the least pair that belongs there.
func (t *pairs) put(node uint32, height int, p pair) (sep pair, right uint32) {
	if height == 0 {
		return t.putLeaf(t.leaves.at(node), p)
	}
	in := t.inners.at(node)
	i := in.child(p)
	sep, kid := t.put(in.kid[i], height-1, p)
	if kid == 0 {
		return pair{}, 0
	}
	if in.n < len(in.key) {
		in.add(i, sep, kid)
		return pair{}, 0
	}
	right = t.inners.add()
	r := t.inners.at(right)
	mid := in.n / 2
	if i == in.n {
		mid = in.n - 1 // growing at the end: leave the left one full
	}
	up := in.key[mid]
	r.n = in.n - mid - 1
	copy(r.key[:], in.key[mid+1:in.n])
	copy(r.kid[:], in.kid[mid+1:in.n+1])
	in.n = mid
	if i <= mid {
		in.add(i, sep, kid)
	} else {
		r.add(i-mid-1, sep, kid)
	}
	return up, right
}

// add puts a new child behind child i.
func (in *inner) add(i int, sep pair, kid uint32) {
	copy(in.key[i+1:in.n+1], in.key[i:in.n])
	copy(in.kid[i+2:in.n+2], in.kid[i+1:in.n+1])
	in.key[i], in.kid[i+1] = sep, kid
	in.n++
}

func (t *pairs) putLeaf(l *leaf, p pair) (sep pair, right uint32) {
	i := search(l.p[:l.n], p)
	if i < l.n && l.p[i] == p {
		return pair{}, 0
	}
	if l.n < len(l.p) {
		l.add(i, p)
		return pair{}, 0
	}
	right = t.leaves.add()
	r := t.leaves.at(right)
	mid := l.n / 2
	if i == l.n {
		mid = l.n
	}
	r.n = copy(r.p[:], l.p[mid:l.n])
	l.n = mid
	if i < mid || i == mid && r.n > 0 {
		l.add(i, p)
	} else {
		r.add(i-mid, p)
	}
	return r.p[0], right
}

func (l *leaf) add(i int, p pair) {
	copy(l.p[i+1:l.n+1], l.p[i:l.n])
	l.p[i] = p
	l.n++
}

// remove takes p out; nothing happens if it is not there.
func (t *pairs) remove(p pair) {
	if !t.built {
		t.build()
	}
	if t.take(t.root, t.height, p) && t.height > 0 {
		*t = pairs{leaves: t.leaves, inners: t.inners}
		t.build()
	}
	for t.height > 0 && t.inners.at(t.root).n == 0 {
		old := t.root
		t.root = t.inners.at(old).kid[0]
		t.inners.release(old)
		t.height--
	}
}

// take removes below a node and tells whether that left nothing in it. An inner node
// with nothing in it has been released.
func (t *pairs) take(node uint32, height int, p pair) (empty bool) {
	if height == 0 {
		l := t.leaves.at(node)
		if i := search(l.p[:l.n], p); i < l.n && l.p[i] == p {
			l.n--
			copy(l.p[i:], l.p[i+1:l.n+1])
		}
		return l.n == 0
	}
	in := t.inners.at(node)
	i := in.child(p)
	if !t.take(in.kid[i], height-1, p) {
		if height == 1 && t.leaves.at(in.kid[i]).n <= mergeMin {
			t.merge(in, i)
		}
		return false
	}
	if height == 1 {
		t.leaves.release(in.kid[i])
	}
	if in.n == 0 {
		t.inners.release(node)
		return true
	}
	in.drop(i)
	return false
}

// drop takes child i out of a node that has another.
func (in *inner) drop(i int) {
	k := max(i-1, 0)
	copy(in.key[k:], in.key[k+1:in.n])
	copy(in.kid[i:], in.kid[i+1:in.n+1])
	in.n--
}

// merge puts leaf i of a node and one beside it together if both fit.
func (t *pairs) merge(in *inner, i int) {
	if i == in.n {
		i--
	}
	if i < 0 {
		return
	}
	l, r := t.leaves.at(in.kid[i]), t.leaves.at(in.kid[i+1])
	if l.n+r.n > mergeMax {
		return
	}
	l.n += copy(l.p[l.n:], r.p[:r.n])
	t.leaves.release(in.kid[i+1])
	in.drop(i + 1)
}

// scan calls fn for the pairs from p on, in order, until it gives false. Before the
// tree is built it has nothing to give.
func (t *pairs) scan(p pair, fn func(pair) bool) {
	if t.built {
		t.walk(t.root, t.height, p, fn)
	}
}

// has reports whether a pair with this hi is there.
func (t *pairs) has(hi uint64) bool {
	found := false
	t.scan(pair{hi, 0}, func(p pair) bool {
		found = p.hi == hi
		return false
	})
	return found
}

func (t *pairs) walk(node uint32, height int, p pair, fn func(pair) bool) bool {
	if height == 0 {
		l := t.leaves.at(node)
		for _, q := range l.p[search(l.p[:l.n], p):l.n] {
			if !fn(q) {
				return false
			}
		}
		return true
	}
	in := t.inners.at(node)
	for i := in.child(p); i <= in.n; i++ {
		if !t.walk(in.kid[i], height-1, p, fn) {
			return false
		}
	}
	return true
}

// build makes the tree of everything collected so far. What was collected, and as much again
// to sort it, is garbage then: where that is a lot it goes at once, because the next tree
// takes as much, and garbage may grow to the size of the whole view otherwise.
func (t *pairs) build() {
	if len(t.bulk) > 16 {
		defer runtime.GC()
	}
	sorted := sortPairs(t.bulk)
	t.bulk, t.built = nil, true
	t.root, t.height = t.leaves.add(), 0
	firsts, nodes := []pair{{}}, []uint32{t.root}
	l := t.leaves.at(t.root)
	var last pair
	for _, piece := range sorted {
		for _, p := range piece {
			if p == last && (l.n > 0 || len(nodes) > 1) {
				continue
			}
			if l.n == bulkFill {
				firsts, nodes = append(firsts, p), append(nodes, t.leaves.add())
				l = t.leaves.at(nodes[len(nodes)-1])
			}
			l.p[l.n] = p
			l.n++
			last = p
		}
	}
	for ; len(nodes) > 1; t.height++ {
		var up []uint32
		var upFirsts []pair
		for i := 0; i < len(nodes); i += bulkFill {
			n := min(bulkFill, len(nodes)-i)
			up, upFirsts = append(up, t.inners.add()), append(upFirsts, firsts[i])
			in := t.inners.at(up[len(up)-1])
			in.n = n - 1
			copy(in.kid[:], nodes[i:i+n])
			copy(in.key[:], firsts[i+1:i+n])
		}
		nodes, firsts = up, upFirsts
	}
	t.root = nodes[0]
}

// sortPairs sorts pieces of which all but the last are full, in them or in new memory. Few
// are compared with each other; many are sorted by one counting pass for each byte in which
// they differ. The two sets of pieces are all that it takes.
func sortPairs(from [][]pair) [][]pair {
	var differ pair
	sorted, loSorted := true, true // records come by id, so the low half often is in order already
	var last pair
	for _, piece := range from {
		for _, p := range piece {
			differ.hi |= p.hi ^ from[0][0].hi
			differ.lo |= p.lo ^ from[0][0].lo
			sorted = sorted && !p.less(last)
			loSorted = loSorted && last.lo <= p.lo
			last = p
		}
	}
	if sorted {
		return from
	}
	if len(from) == 1 && len(from[0]) < 1<<12 {
		slices.SortFunc(from[0], comparePairs)
		return from
	}
	to := make([][]pair, len(from))
	for i := range to {
		to[i] = make([]pair, len(from[i]))
	}
	for shift := 0; shift < 64 && !loSorted; shift += 8 {
		if byte(differ.lo>>shift) != 0 {
			countingSort(to, from, func(p pair) byte { return byte(p.lo >> shift) })
			from, to = to, from
		}
	}
	for shift := 0; shift < 64; shift += 8 {
		if byte(differ.hi>>shift) != 0 {
			countingSort(to, from, func(p pair) byte { return byte(p.hi >> shift) })
			from, to = to, from
		}
	}
	return from
}

func countingSort(to, from [][]pair, digit func(pair) byte) {
	var at [257]int
	for _, piece := range from {
		for _, p := range piece {
			at[int(digit(p))+1]++
		}
	}
	for i := range 256 {
		at[i+1] += at[i]
	}
	for _, piece := range from {
		for _, p := range piece {
			d := digit(p)
			to[at[d]/bulkPiece][at[d]%bulkPiece] = p
			at[d]++
		}
	}
}
