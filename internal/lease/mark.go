package lease

import (
	"fmt"

	"github.com/jobward/jobward/pdp/authz"
)

// Mark names one point of one history (PROTOCOL R13): the epoch, a revision in it,
// and a checksum over everything up to there.
type Mark struct {
	// Epoch is raised by every restore; ID tells two restores of one backup apart. A zero
	// Epoch is no mark: nothing was ever seen.
	Epoch uint64
	ID    [16]byte
	// Revision and Chain are a point in that history.
	Revision authz.Revision
	Chain    [16]byte
	// Seal is the PDP's own proof that it gave the mark, opaque to holders.
	Seal []byte
}

// SameHistory reports whether both marks are of one epoch.
func (m Mark) SameHistory(o Mark) bool { return m.Epoch == o.Epoch && m.ID == o.ID }

// History is how a PDP's history stands to what a holder has seen.
type History uint8

// The ways two histories can stand to each other.
const (
	// HistoryGood: the PDP's history contains the mark, as far as it can be told.
	HistoryGood History = iota
	// HistoryNew: it has replaced the one of the mark, by a restore that says so.
	HistoryNew
	// HistoryBehind: it is older than the mark, by epoch or by revision.
	HistoryBehind
	// HistoryBeside: it is another one under the same epoch.
	HistoryBeside
)

// Judge compares the highest mark seen with the head of a PDP's history. Only
// HistoryGood and HistoryNew may be believed (L15).
func Judge(seen, head Mark) History {
	switch {
	case seen.Epoch == 0:
		return HistoryGood
	case head.Epoch > seen.Epoch:
		return HistoryNew
	case head.Epoch < seen.Epoch:
		return HistoryBehind
	case head.ID != seen.ID:
		return HistoryBeside
	case head.Revision < seen.Revision:
		return HistoryBehind
	case head.Revision == seen.Revision && head.Chain != seen.Chain:
		return HistoryBeside
	}
	return HistoryGood
}

// String says what is the matter, for people.
func (h History) String() string {
	switch h {
	case HistoryGood:
		return "the same history"
	case HistoryNew:
		return "a later epoch"
	case HistoryBehind:
		return "behind what was seen before"
	case HistoryBeside:
		return "another history under the same epoch"
	}
	return fmt.Sprintf("history(%d)", uint8(h))
}

// String gives "epoch 1 revision 42 (chain 0a1b2c3d)".
func (m Mark) String() string {
	return fmt.Sprintf("epoch %d revision %d (chain %x)", m.Epoch, m.Revision, m.Chain[:4])
}
