package badgerstore

import (
	"fmt"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// A pack is the history of one transaction: the changes of all batches that it merged.
// One entry for all of them costs far less than one each.

// span is a pack in the index that the store keeps in memory: history is found and pruned
// without searching the disk for it.
type span struct {
	first  authz.Revision // the first change in it; the next span begins after its last
	chunks int
}

// unpack reads a pack, joined from its chunks without their sums: the chain before it,
// then its changes, each given to fn with the chain up to it, until fn fails.
func unpack(pack []byte, first authz.Revision, fn func(c state.Change, sums []uint32) error) (before [16]byte, err error) {
	if len(pack) < len(before) {
		return before, fmt.Errorf("history at revision %d is cut off", first)
	}
	copy(before[:], pack)
	chain := before
	rest := pack[len(before):]
	for rev := first; len(rest) > 0; rev++ {
		raw := rest
		var c state.Change
		var sums []uint32
		if c, sums, rest, err = state.DecodeChange(raw); err != nil {
			return before, fmt.Errorf("history at revision %d: %w", rev, err)
		}
		if c.Revision != rev {
			return before, fmt.Errorf("history has revision %d where %d belongs", c.Revision, rev)
		}
		chain = state.ChainNext(chain, raw[:len(raw)-len(rest)])
		c.Chain = chain
		if err := fn(c, sums); err != nil {
			return before, err
		}
	}
	return before, nil
}

// chainChecker follows the chain through packs given oldest first, and compares it with
// a head and with the mark file.
type chainChecker struct {
	head head
	// mark is what stood in the mark file; its chain is looked for on the way.
	mark state.Mark
	// each is called for every change that fits, when it is set.
	each func(c state.Change, sums []uint32)

	next  authz.Revision
	chain [16]byte
	spans []span
}

func (cc *chainChecker) pack(first authz.Revision, chunks int, pack []byte) error {
	start := cc.spans == nil
	if start {
		cc.next = cc.head.first
	}
	if first != cc.next {
		return fmt.Errorf("history goes on at revision %d where %d belongs", first, cc.next)
	}
	if len(pack) >= len(cc.chain) {
		before := [16]byte(pack)
		if !start && before != cc.chain {
			return fmt.Errorf("the chain checksum before revision %d does not fit", first)
		}
		cc.chain = before
	}
	if err := cc.meets(first - 1); err != nil {
		return err
	}
	_, err := unpack(pack, first, func(c state.Change, sums []uint32) error {
		cc.chain = c.Chain
		cc.next = c.Revision + 1
		if cc.each != nil {
			cc.each(c, sums)
		}
		return cc.meets(c.Revision)
	})
	cc.spans = append(cc.spans, span{first, chunks})
	return err
}

// meets compares the chain at rev with that of the mark, if it is the mark's revision.
func (cc *chainChecker) meets(rev authz.Revision) error {
	if rev == cc.mark.Revision && cc.chain != cc.mark.Chain {
		return fmt.Errorf("the chain checksum at revision %d is not the one in %s", rev, markName)
	}
	return nil
}

// done says whether the whole history led to the head.
func (cc *chainChecker) done() error {
	if cc.spans == nil {
		cc.next, cc.chain = cc.head.first, cc.head.mark.Chain
	}
	if cc.next != cc.head.mark.Revision+1 {
		return fmt.Errorf("history ends before revision %d, and the head is at %d", cc.next, cc.head.mark.Revision)
	}
	if cc.chain != cc.head.mark.Chain {
		return fmt.Errorf("the chain checksum of history does not lead to that of the head at revision %d", cc.head.mark.Revision)
	}
	return nil
}
