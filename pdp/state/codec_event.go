package state

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/jobward/jobward/pdp/authz"
)

// EventID is the place of an event: events are in the order of their stamps, and those
// of the same stamp in the order they were stored in.
type EventID struct {
	Stamp authz.Stamp
	// Seq counts all events that the store has ever taken.
	Seq uint64
}

// Append appends sixteen bytes that sort as events do.
func (id EventID) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(id.Stamp))
	return binary.BigEndian.AppendUint64(dst, id.Seq)
}

// Before reports whether id is older than o.
func (id EventID) Before(o EventID) bool {
	return id.Stamp < o.Stamp || id.Stamp == o.Stamp && id.Seq < o.Seq
}

// DecodeEventID reads what Append wrote.
func DecodeEventID(b []byte) (id EventID, ok bool) {
	if len(b) != 16 {
		return id, false
	}
	id.Stamp = authz.Stamp(binary.BigEndian.Uint64(b))
	id.Seq = binary.BigEndian.Uint64(b[8:])
	return id, id.Stamp >= 0
}

// Cursor gives the text that Store.Events hands out for the event.
func (id EventID) Cursor() string { return hex.EncodeToString(id.Append(nil)) }

// ParseCursor reads a Cursor. The error is a KindInvalid about the cursor.
func ParseCursor(s string) (EventID, error) {
	b, err := hex.DecodeString(s)
	id, ok := DecodeEventID(b)
	if err != nil || !ok {
		return EventID{}, authz.Invalid("cursor", "is not one that this store gave")
	}
	return id, nil
}
