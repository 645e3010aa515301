package hot

import (
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

// Outbox is an answer of the hot path, already encoded: a CheckResponse,
// BatchCheckResponse or CheckStreamResponse. Begin it, append a decision for each
// question, and give it to gRPC as the message to send. It belongs to one goroutine.
type Outbox struct {
	b   []byte
	num protowire.Number // the field that decisions are
	// pool takes it back when the codec has copied b, which is after a unary handler has
	// returned. It is nil for one that a stream uses again by itself.
	pool *sync.Pool
}

// Outboxes keeps outboxes for unary methods, whose answers are sent after they have
// returned. The zero value is ready, and safe for concurrent use. A stream needs none of
// this: it takes one new(Outbox), which is free again when SendMsg has returned.
type Outboxes struct{ pool sync.Pool }

// Get gives an outbox that comes back by itself when it has been sent. One that is not
// sent, because the call failed, is left to the collector.
func (p *Outboxes) Get() *Outbox {
	if o, ok := p.pool.Get().(*Outbox); ok {
		return o
	}
	return &Outbox{pool: &p.pool}
}

// Begin begins an answer to a request of the shape s. The id is that of a stream's
// message, zero for the others.
func (o *Outbox) Begin(s Shape, id uint64) {
	o.b = o.b[:0]
	switch s {
	case BatchCheck:
		o.num = batchDecision
	case CheckStream:
		o.num = streamDecision
		o.b = appendNumber(o.b, streamID, id)
	default:
		o.num = checkDecision
	}
}

// Append appends a decision under the name id.
func (o *Outbox) Append(d *authz.Decision, id []byte) { o.b = appendDecision(o.b, o.num, d, id) }

// Problem makes the outbox, whatever is in it, a CheckStreamResponse that tells of an
// error.
func (o *Outbox) Problem(id uint64, err error) error {
	b, merr := proto.MarshalOptions{}.MarshalAppend(o.b[:0], &jobwardv1.CheckStreamResponse{Id: id, Problem: wire.ProblemToProto(err)})
	if merr != nil {
		return merr
	}
	o.b = b
	return nil
}

// Encoded implements Outbound.
func (o *Outbox) Encoded() []byte { return o.b }

// Sent implements Outbound.
func (o *Outbox) Sent() {
	if o.pool == nil {
		return
	}
	if cap(o.b) > maxKept {
		o.b = nil
	}
	o.b = o.b[:0]
	o.pool.Put(o)
}

// Numbers of the fields that answers are written with. The tests compare every answer
// with what the generated code makes of the same decision.
const (
	checkDecision  protowire.Number = 1 // CheckResponse.decision
	batchDecision  protowire.Number = 1 // BatchCheckResponse.decisions
	streamID       protowire.Number = 1 // CheckStreamResponse.id
	streamDecision protowire.Number = 2 // CheckStreamResponse.decisions
)

// appendDecision appends a Decision as the field num of the message around it.
func appendDecision(b []byte, num protowire.Number, d *authz.Decision, id []byte) []byte {
	b, start := begin(b, num)
	if d.Allow {
		b = append(b, 1<<3, 1)
	}
	b = appendNumber(b, 2, uint64(wire.ReasonToProto(d.Reason)))
	b = appendNumber(b, 3, uint64(d.Revision))
	if d.ValidFor != 0 {
		var inner int
		b, inner = begin(b, 4)
		b = appendNumber(b, 1, uint64(d.ValidFor/time.Second))
		b = appendNumber(b, 2, uint64(d.ValidFor%time.Second))
		b = end(b, inner)
	}
	b = appendText(b, 5, string(d.Job))
	b = appendNumber(b, 6, uint64(d.Source))
	b = appendNumber(b, 7, uint64(d.User))
	b = appendNumber(b, 8, uint64(d.Target))
	b = appendScope(b, 9, d.Entry)
	b = appendNumber(b, 10, uint64(wire.RoleToProto(d.Role)))
	b = appendScope(b, 11, d.RoleScope)
	b = appendNumber(b, 12, uint64(wire.RoleToProto(d.Need)))
	if d.Reason == authz.FeatureIsDisabled || d.Reason == authz.FeatureMembersOnly {
		b = appendNumber(b, 13, uint64(wire.FeatureToProto(d.Feature)))
	}
	for _, name := range d.Missing {
		b = appendField(b, 14, name)
	}
	if len(d.Keys) > 0 {
		b = protowire.AppendTag(b, 15, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(8*len(d.Keys)))
		for _, k := range d.Keys {
			b = protowire.AppendFixed64(b, uint64(k))
		}
	}
	if len(id) > 0 {
		b = protowire.AppendBytes(protowire.AppendTag(b, 16, protowire.BytesType), id)
	}
	b = appendNumber(b, 17, d.Number)
	if d.Cached {
		b = appendNumber(b, 18, 1)
	}
	return end(b, start)
}

func appendScope(b []byte, num protowire.Number, s authz.Scope) []byte {
	var start int
	switch s.Kind {
	case authz.ScopeProject:
		b, start = begin(b, num)
		return end(appendNumber(b, 1, uint64(s.ID)), start)
	case authz.ScopeGroup:
		b, start = begin(b, num)
		return end(appendNumber(b, 2, uint64(s.ID)), start)
	}
	return b
}

// appendNumber and appendText leave out the default, as proto3 does; appendField does
// not, for what repeats.
func appendNumber(b []byte, num protowire.Number, v uint64) []byte {
	switch {
	case v == 0:
		return b
	case num < 16 && v < 0x80: // two bytes, as most are
		return append(b, byte(num<<3), byte(v))
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func appendText(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return appendField(b, num, s)
}

func appendField(b []byte, num protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

// begin starts a message within a message and leaves one byte for its length; end
// fills that in, and moves what follows when one byte is not enough.
func begin(b []byte, num protowire.Number) (_ []byte, start int) {
	b = append(b, byte(num<<3|protowire.Number(protowire.BytesType)), 0) // messages within messages have small numbers
	return b, len(b)
}

func end(b []byte, start int) []byte {
	n := len(b) - start
	more := protowire.SizeVarint(uint64(n)) - 1
	if more > 0 {
		b = append(b, make([]byte, more)...)
		copy(b[start+more:], b[start:start+n])
	}
	protowire.AppendVarint(b[:start-1], uint64(n))
	return b
}
