package server

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

// shape tells the three requests of the hot path apart.
type shape uint8

const (
	shapeCheck shape = iota
	shapeBatch
	shapeStream
)

// inbox is a CheckRequest, BatchCheckRequest or CheckStreamRequest, read by hand into
// memory that is used again. It reads what package proto reads: fields in any order,
// the last of a singular one counts, unknown fields and known ones of another wire
// type are passed over.
type inbox struct {
	shape shape
	err   error
	raw   []byte // owns the bytes that everything below lies in

	id          uint64 // of a stream's message
	token       []byte // of a batch
	minRevision uint64 // of a batch
	questions   []question
	// more says that there were more questions than any request may have; what is beyond
	// the bound is not kept.
	more bool
}

// question is a CheckRequest, or a Question, which has neither token nor minRevision.
type question struct {
	token, path, permission []byte
	target                  int64
	surface                 jobwardv1.Surface
	minRevision             uint64
}

// reset makes room for the next message of the given shape, and lets go of what a very
// large one took.
func (in *inbox) reset(s shape) {
	if cap(in.raw) > maxKept {
		in.raw = nil
	}
	*in = inbox{shape: s, raw: in.raw[:0], questions: in.questions[:0]}
}

// fail implements inbound.
func (in *inbox) fail(err error) { in.err = err }

// decode implements inbound.
func (in *inbox) decode(data []byte) error {
	in.raw = append(in.raw[:0], data...)
	switch in.shape {
	case shapeBatch:
		return in.decodeBatch(in.raw)
	case shapeStream:
		return in.decodeStream(in.raw)
	}
	in.questions = append(in.questions, question{})
	return decodeQuestion(&in.questions[0], in.raw, checkFields())
}

func (in *inbox) decodeBatch(b []byte) error {
	return eachField(b, func(num protowire.Number, typ protowire.Type, text []byte, n uint64) error {
		switch {
		case num == 1 && typ == protowire.BytesType:
			in.token = text
		case num == 2 && typ == protowire.BytesType:
			return in.add(text, wire.MaxBatchQuestions, questionFields())
		case num == 3 && typ == protowire.VarintType:
			in.minRevision = n
		}
		return nil
	})
}

func (in *inbox) decodeStream(b []byte) error {
	return eachField(b, func(num protowire.Number, typ protowire.Type, text []byte, n uint64) error {
		switch {
		case num == 1 && typ == protowire.VarintType:
			in.id = n
		case num == 2 && typ == protowire.BytesType:
			return in.add(text, wire.MaxStreamQuestions, checkFields())
		}
		return nil
	})
}

// add reads one question of many.
func (in *inbox) add(b []byte, bound int, f fields) error {
	if len(in.questions) == bound {
		in.more = true
		return nil
	}
	in.questions = append(in.questions, question{})
	return decodeQuestion(&in.questions[len(in.questions)-1], b, f)
}

// fields are the field numbers of a question; zero for what it does not have.
type fields struct {
	token, target, path, permission, surface, minRevision protowire.Number
}

func checkFields() fields {
	return fields{token: 1, target: 2, path: 3, permission: 4, surface: 5, minRevision: 6}
}

func questionFields() fields { return fields{target: 1, path: 2, permission: 3, surface: 4} }

func decodeQuestion(q *question, b []byte, f fields) error {
	return eachField(b, func(num protowire.Number, typ protowire.Type, text []byte, n uint64) error {
		switch typ {
		case protowire.BytesType:
			switch num {
			case f.token:
				q.token = text
			case f.path:
				q.path = text
			case f.permission:
				q.permission = text
			}
		case protowire.VarintType:
			switch num {
			case f.target:
				q.target = int64(n)
			case f.surface:
				q.surface = jobwardv1.Surface(int32(n))
			case f.minRevision:
				q.minRevision = n
			}
		}
		return nil
	})
}

// eachField calls fn for every field of a message: with its bytes, or its number when
// it is a varint. Fields of other types are passed over.
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
func (q *question) check() error {
	switch {
	case !utf8.Valid(q.path):
		return authz.Invalid("target_project_path", "is not UTF-8")
	case !utf8.Valid(q.permission):
		return authz.Invalid("permission", "is not UTF-8")
	}
	return nil
}

// into writes the question, but for its token, into a message of the generated code,
// which package wire checks.
func (q *question) into(m *jobwardv1.Question) {
	m.TargetProjectId, m.TargetProjectPath = q.target, ""
	if len(q.path) > 0 {
		m.TargetProjectPath = string(q.path)
	}
	m.Permission, m.Surface = string(q.permission), q.surface
}
