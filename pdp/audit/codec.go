package audit

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jobward/jobward/pdp/authz"
)

// The stored form of an event is a version byte, then each field that is not zero: its
// number and whether it is a text in one byte, and a varint, which for a text is its length.
// Nearly every commit has an event, and JSON was a tenth of what an Issue cost and a third
// of what it wrote. What stores hold from before is JSON, and is still read.
//
// Numbers of fields are on disk: only ever appended. A program passes over those that it does
// not know.
const codecVersion = 1

const (
	fieldTime = 1 + iota
	fieldRevision
	fieldActor
	fieldOnBehalf
	fieldVerb
	fieldReason
	fieldJob
	fieldSource
	fieldTarget
	fieldUser
	fieldPermission
	fieldCount
	fieldDetail
	fieldDecision
)

// Encode gives the event's stored form.
func (e Event) Encode() []byte {
	const fixed = 1 + 10 + 3*10 + 10*2 // Version, time, ids of the usual size, tags and lengths.
	b := make([]byte, 0, fixed+len(e.Actor)+len(e.Verb)+len(e.Job)+len(e.Reason)+len(e.Permission)+len(e.Detail)+len(e.Decision))
	b = append(b, codecVersion)
	b = appendNumber(b, fieldTime, uint64(e.Time))
	b = appendNumber(b, fieldRevision, uint64(e.Revision))
	b = appendText(b, fieldActor, e.Actor)
	b = appendNumber(b, fieldOnBehalf, uint64(e.OnBehalf))
	b = appendText(b, fieldVerb, e.Verb)
	b = appendText(b, fieldReason, e.Reason)
	b = appendText(b, fieldJob, string(e.Job))
	b = appendNumber(b, fieldSource, uint64(e.Source))
	b = appendNumber(b, fieldTarget, uint64(e.Target))
	b = appendNumber(b, fieldUser, uint64(e.User))
	b = appendText(b, fieldPermission, string(e.Permission))
	b = appendNumber(b, fieldCount, e.Count)
	b = appendText(b, fieldDetail, e.Detail)
	return appendText(b, fieldDecision, e.Decision)
}

func appendNumber(b []byte, field byte, n uint64) []byte {
	if n == 0 {
		return b
	}
	return binary.AppendUvarint(append(b, field<<1), n)
}

func appendText(b []byte, field byte, s string) []byte {
	if s == "" {
		return b
	}
	return append(binary.AppendUvarint(append(b, field<<1|1), uint64(len(s))), s...)
}

var errCut = errors.New("an audit event cannot be read: it is cut off")

// Decode reads a stored event. Any bytes are safe to give.
func Decode(data []byte) (e Event, err error) {
	switch {
	case len(data) == 0:
		return Event{}, errCut
	case data[0] == '{':
		if err := json.Unmarshal(data, &e); err != nil {
			return Event{}, fmt.Errorf("an audit event cannot be read: %w", err)
		}
		return e, nil
	case data[0] != codecVersion:
		return Event{}, fmt.Errorf("an audit event has encoding version %d, this program knows %d", data[0], codecVersion)
	}
	for b := data[1:]; len(b) > 0; {
		tag := b[0]
		n, size := binary.Uvarint(b[1:])
		if size <= 0 {
			return Event{}, errCut
		}
		b = b[1+size:]
		var text string
		if tag&1 != 0 {
			if n > uint64(len(b)) {
				return Event{}, errCut
			}
			text, b = string(b[:n]), b[n:]
		}
		e.set(tag, n, text)
	}
	return e, nil
}

// set sets the field of a tag: to a number, or to a text.
func (e *Event) set(tag byte, n uint64, text string) {
	switch tag {
	case fieldTime << 1:
		e.Time = authz.Stamp(n)
	case fieldRevision << 1:
		e.Revision = authz.Revision(n)
	case fieldActor<<1 | 1:
		e.Actor = text
	case fieldOnBehalf << 1:
		e.OnBehalf = authz.UserID(n)
	case fieldVerb<<1 | 1:
		e.Verb = text
	case fieldReason<<1 | 1:
		e.Reason = text
	case fieldJob<<1 | 1:
		e.Job = authz.JobID(text)
	case fieldSource << 1:
		e.Source = authz.ProjectID(n)
	case fieldTarget << 1:
		e.Target = authz.ProjectID(n)
	case fieldUser << 1:
		e.User = authz.UserID(n)
	case fieldPermission<<1 | 1:
		e.Permission = authz.Permission(text)
	case fieldCount << 1:
		e.Count = n
	case fieldDetail<<1 | 1:
		e.Detail = text
	case fieldDecision<<1 | 1:
		e.Decision = text
	}
}
