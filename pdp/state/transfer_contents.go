package state

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/jobward/jobward/pdp/authz"
)

// Contents counts what a store holds, and has a digest of it that does not depend on the order
// in which it was read.
type Contents struct {
	Mark  Mark
	Stamp authz.Stamp
	// Records are how many there are of each kind, Bytes what their keys and bodies take.
	Records [NumKinds]uint64
	Bytes   uint64
	// Alive are the jobs that nothing has ended. Their time may be over, and the project or the
	// user dead.
	Alive uint64
	// Events are how many there are, EventBytes what their data takes, Seq the greatest number
	// of any.
	Events, EventBytes, Seq uint64

	records [NumKinds]lanes
	events  lanes
}

// lanes is a sum of SHA-256 hashes, word by word: whatever differs between two stores makes
// another, but for an accident of one in 2^256.
type lanes [4]uint64

func (l *lanes) add(hash [sha256.Size]byte) {
	for i := range l {
		l[i] += binary.BigEndian.Uint64(hash[8*i:])
	}
}

// addRecord counts one record: its key, the revision that last changed it, and its body.
func (c *Contents) addRecord(rec Record, key Key, mod authz.Revision, body []byte) {
	kind := key.Kind()
	c.Records[kind]++
	c.Bytes += uint64(len(key) + len(body))
	if j, ok := rec.(*Job); ok && j.Alive() {
		c.Alive++
	}
	b := make([]byte, 0, 16+len(key)+len(body))
	b = binary.BigEndian.AppendUint64(b, uint64(len(key)))
	b = append(b, key...)
	b = binary.BigEndian.AppendUint64(b, uint64(mod))
	c.records[kind].add(sha256.Sum256(append(b, body...)))
}

func (c *Contents) addEvent(id EventID, e Event) {
	c.Events++
	c.EventBytes += uint64(len(e.Data))
	c.Seq = max(c.Seq, id.Seq)
	b := id.Append(make([]byte, 0, 24+len(e.Data)))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Revision))
	c.events.add(sha256.Sum256(append(b, e.Data...)))
}

// Digest is over every record with its key and revision, and every event with its place and
// revision.
func (c *Contents) Digest() [sha256.Size]byte {
	h := sha256.New()
	write := func(n uint64, l lanes) {
		h.Write(binary.BigEndian.AppendUint64(nil, n))
		for _, word := range l {
			h.Write(binary.BigEndian.AppendUint64(nil, word))
		}
	}
	for kind, l := range c.records {
		write(c.Records[kind], l)
	}
	write(c.Events, c.events)
	return [sha256.Size]byte(h.Sum(nil))
}

// Total is how many records there are.
func (c *Contents) Total() (n uint64) {
	for _, k := range c.Records {
		n += k
	}
	return n
}

// Differences says in what a copy that begins at b differs from c, which it was made of. There
// must be none: not in the number, revision or content of any record or event, not in the
// stamp, the epoch or the revision.
func (c *Contents) Differences(b Beginning, of *Contents) (list []string) {
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	for kind := range c.records {
		switch n, have := c.Records[kind], of.Records[kind]; {
		case n != have:
			say("%d records of kind %v, and the copy has %d", n, Kind(kind), have)
		case c.records[kind] != of.records[kind]:
			say("the records of kind %v, or the revisions that changed them, are not the same", Kind(kind))
		}
	}
	switch {
	case c.Events != of.Events:
		say("%d events, and the copy has %d", c.Events, of.Events)
	case c.events != of.events:
		say("the events are not the same")
	}
	if c.Stamp != of.Stamp {
		say("its time is %v, and that of the copy %v", c.Stamp.Time(), of.Stamp.Time())
	}
	if of.Mark.Epoch.Counter <= c.Mark.Epoch.Counter || of.Mark.Epoch.ID == c.Mark.Epoch.ID {
		say("its epoch is %d, and that of the copy %d, which is not above it", c.Mark.Epoch.Counter, of.Mark.Epoch.Counter)
	}
	if of.Mark.Revision != c.Mark.Revision {
		say("it is at revision %d, and the copy at %d", c.Mark.Revision, of.Mark.Revision)
	}
	if of.Mark != b.Mark {
		say("the copy should be at %v and is at %v", b.Mark, of.Mark)
	}
	return list
}
