package lease

import (
	"fmt"
	"time"

	"github.com/jobward/jobward/pdp/authz"
)

// Generation names one opening of a lease: lease, interest, acks, flights and
// entries belong to it (PROTOCOL R3). The grantor draws it at random. Zero is none.
type Generation uint64

// String gives sixteen hexadecimal digits.
func (g Generation) String() string { return fmt.Sprintf("%016x", uint64(g)) }

// Hello opens a generation.
type Hello struct {
	// Seen is the highest mark that the holder has ever seen, kept on its disk.
	Seen Mark
	// Vouch says that the holder has entries it would like to keep: they rest on Keys and
	// are true up to revision Applied of the epoch of Seen, under the rules Rules.
	Vouch   bool
	Applied authz.Revision
	Rules   uint64
	Keys    []authz.Key
}

// Kind is the kind of a [Message].
type Kind uint8

// The kinds of message. Welcome to Moving go from grantor to holder, Renew to Release
// from holder to grantor.
const (
	// Welcome answers a Hello: Generation is open, Head and Rules are the grantor's, and
	// Vouched says whether the entries may be kept. No lease yet.
	Welcome Kind = 1 + iota
	// Grant answers the Renew of that Number (zero: the Hello) with a lease of Term.
	// Everything at or below Revision that concerns the holder has been sent before it.
	Grant
	// Invalidation says that Keys changed at Revision.
	Invalidation
	// Heartbeat says that everything up to Revision that concerns the holder was sent.
	Heartbeat
	// Moving says that the grantor is about to stop: open the next stream elsewhere.
	Moving

	// Renew asks for a lease. Number counts up within a generation.
	Renew
	// Ack says that what rests on the keys of the invalidations up to Revision is gone
	// and cannot come back.
	Ack
	// Forget says that no entry rests on Keys any more; Number is the highest answer
	// number seen.
	Forget
	// Release gives Generation up: it has no entries any more.
	Release
)

// Message is one message between the machines, either way. Which fields count is said
// at the [Kind]s. Slices must not be changed.
type Message struct {
	Kind       Kind
	Generation Generation
	Number     uint64
	Revision   authz.Revision
	Term       time.Duration
	Keys       []authz.Key
	Vouched    bool
	Head       Mark
	Rules      uint64
}

var kindNames = [...]string{"none", "welcome", "grant", "invalidation", "heartbeat", "moving", "renew", "ack", "forget", "release"}

// String gives the kind's name.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}
