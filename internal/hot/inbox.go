package hot

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

// Shape tells the three requests of the hot path apart, and with them their answers.
type Shape uint8

// The shapes.
const (
	Check Shape = iota
	BatchCheck
	CheckStream
)

// Inbox is a CheckRequest, BatchCheckRequest or CheckStreamRequest, read by hand into
// memory that is used again. It reads what package proto reads: fields in any order,
// the last of a singular one counts, unknown fields and known ones of another wire
// type are passed over.
//
// Reset it, hand it to gRPC to be received into, look at Err, then ask for the
// questions with [Inbox.Requests]. What is in it is good until it is reset or received
// into again. The zero value is an empty Check; it belongs to one goroutine.
type Inbox struct {
	Shape Shape
	Err   error  // what was wrong with the message as a whole
	raw   []byte // owns the bytes that everything below lies in

	ID        uint64 // of a stream's message
	Batch     Asked  // of a batch, for all its questions
	Questions []Question
	// More says that there were more questions than any request may have; what is beyond
	// the bound is not kept.
	More bool

	last *Last               // of a stream; else nil
	q    *jobwardv1.Question // what package wire is asked with; made when it is needed
}

// Asked is how a question is asked: about whom, and in what history.
type Asked struct {
	// Token is the text that was shown, Digest its digest instead.
	Token, Digest []byte
	// MinRevision and Epoch are what it must not be answered before; see [Least].
	MinRevision, Epoch uint64
	// Generation is the one that the answer is to be kept in; zero for none.
	Generation uint64
}

// Question is a CheckRequest, or a Question, which has nothing of Asked.
type Question struct {
	Asked
	Path, Permission []byte
	Target           int64
	Surface          jobwardv1.Surface
}

// Last is the last token of a stream and its digest: on a stream the same one often comes again and again. It belongs to the goroutine that
// reads the stream, and ends with it. Tokens of several people may come on one stream, so it is compared in constant time.
type Last struct {
	text   []byte
	digest authz.Digest
	tokens *token.Format
}

// Remember makes the next message, until Reset, use what is remembered of the stream's last one.
func (in *Inbox) Remember(l *Last) { in.last = l }

// maxKept is how much memory a message may leave behind for another.
const maxKept = 64 << 10

// Reset makes room for the next message of the given shape, and lets go of what a very
// large one took.
func (in *Inbox) Reset(s Shape) {
	if cap(in.raw) > maxKept {
		in.raw = nil
	}
	*in = Inbox{Shape: s, raw: in.raw[:0], Questions: in.Questions[:0], q: in.q}
}

// Fail implements Inbound.
func (in *Inbox) Fail(err error) { in.Err = err }

// Decode implements Inbound.
func (in *Inbox) Decode(data []byte) error {
	in.raw = append(in.raw[:0], data...)
	switch in.Shape {
	case BatchCheck:
		return in.decodeBatch(in.raw)
	case CheckStream:
		return in.decodeStream(in.raw)
	}
	in.Questions = append(in.Questions, Question{})
	return decodeQuestion(&in.Questions[0], in.raw, checkFields())
}

func (in *Inbox) decodeBatch(b []byte) error {
	return eachField(b, func(num protowire.Number, typ protowire.Type, text []byte, n uint64) error {
		if num == 2 && typ == protowire.BytesType {
			return in.add(text, wire.MaxBatchQuestions, questionFields())
		}
		in.Batch.take(batchFields(), num, typ, text, n)
		return nil
	})
}

func (in *Inbox) decodeStream(b []byte) error {
	return eachField(b, func(num protowire.Number, typ protowire.Type, text []byte, n uint64) error {
		switch {
		case num == 1 && typ == protowire.VarintType:
			in.ID = n
		case num == 2 && typ == protowire.BytesType:
			return in.add(text, wire.MaxStreamQuestions, checkFields())
		}
		return nil
	})
}

// add reads one question of many.
func (in *Inbox) add(b []byte, bound int, f fields) error {
	if len(in.Questions) == bound {
		in.More = true
		return nil
	}
	in.Questions = append(in.Questions, Question{})
	return decodeQuestion(&in.Questions[len(in.Questions)-1], b, f)
}

// fields are the field numbers of a question; zero for what it does not have.
type fields struct {
	token, target, path, permission, surface, minRevision, generation, epoch, digest protowire.Number
}

func checkFields() fields {
	return fields{token: 1, target: 2, path: 3, permission: 4, surface: 5, minRevision: 6, generation: 7, epoch: 8, digest: 9}
}

func questionFields() fields { return fields{target: 1, path: 2, permission: 3, surface: 4} }

func batchFields() fields {
	return fields{token: 1, minRevision: 3, generation: 4, epoch: 5, digest: 6}
}

func decodeQuestion(q *Question, b []byte, f fields) error {
	return eachField(b, func(num protowire.Number, typ protowire.Type, text []byte, n uint64) error {
		switch {
		case typ == protowire.BytesType && num == f.path:
			q.Path = text
		case typ == protowire.BytesType && num == f.permission:
			q.Permission = text
		case typ == protowire.VarintType && num == f.target:
			q.Target = int64(n)
		case typ == protowire.VarintType && num == f.surface:
			q.Surface = jobwardv1.Surface(int32(n))
		default:
			q.take(f, num, typ, text, n)
		}
		return nil
	})
}

// take takes one field; num is never zero.
func (a *Asked) take(f fields, num protowire.Number, typ protowire.Type, text []byte, n uint64) {
	switch typ {
	case protowire.BytesType:
		switch num {
		case f.token:
			a.Token = text
		case f.digest:
			a.Digest = text
		}
	case protowire.VarintType:
		switch num {
		case f.minRevision:
			a.MinRevision = n
		case f.epoch:
			a.Epoch = n
		}
	case protowire.Fixed64Type:
		if num == f.generation {
			a.Generation = n
		}
	}
}

// eachField calls fn for every field of a message: with its bytes, or its number when
// it is a varint or has 64 bits. Fields of other types are passed over.
func eachField(b []byte, fn func(num protowire.Number, typ protowire.Type, text []byte, n uint64) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || num > protowire.MaxValidNumber {
			return errMalformed(protowire.ParseError(n))
		}
		b = b[n:]
		var text []byte
		var number uint64
		switch typ {
		case protowire.BytesType:
			text, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			number, n = protowire.ConsumeFixed64(b)
		default:
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return errMalformed(protowire.ParseError(n))
		}
		b = b[n:]
		if err := fn(num, typ, text, number); err != nil {
			return err
		}
	}
	return nil
}

// check judges what proto would have refused before package wire sees a question.
func (q *Question) check() error {
	switch {
	case !utf8.Valid(q.Path):
		return authz.Invalid("target_project_path", "is not UTF-8")
	case !utf8.Valid(q.Permission):
		return authz.Invalid("permission", "is not UTF-8")
	}
	return nil
}

// into writes the question, but for its token, into a message of the generated code,
// which package wire checks.
func (q *Question) into(m *jobwardv1.Question) {
	// What is there already is kept: the question before was often the same, and a string takes memory.
	m.TargetProjectId, m.Surface = q.Target, q.Surface
	if m.TargetProjectPath != string(q.Path) {
		m.TargetProjectPath = string(q.Path)
	}
	if m.Permission != string(q.Permission) {
		m.Permission = string(q.Permission)
	}
}
