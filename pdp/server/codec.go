package server

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// codec is protobuf, with the two differences that the package comment tells of.
type codec struct {
	encoding.CodecV2 // protobuf
	limit            int
}

// inbound is what a request is decoded into. Both methods are called by the codec,
// one of them for each message.
type inbound interface {
	// decode reads the message; what it keeps of data it has to copy.
	decode(data []byte) error
	// fail takes the error, of decode or of the codec.
	fail(error)
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(inbound)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	if n := data.Len(); n > c.limit {
		in.fail(errTooLarge(n, c.limit))
		return nil
	}
	var err error
	if len(data) == 1 {
		err = in.decode(data[0].ReadOnlyData())
	} else {
		whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
		err = in.decode(whole.ReadOnlyData())
		whole.Free()
	}
	if err != nil {
		in.fail(err)
	}
	return nil
}

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	out, ok := v.(*outbox)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	b := mem.Copy(out.b, mem.DefaultBufferPool())
	out.sent()
	return mem.BufferSlice{b}, nil
}

// frame is an ordinary message on its way in.
type frame struct {
	msg proto.Message
	err error
}

func (f *frame) decode(data []byte) error {
	if len(data) > largeMessage && countParts(f.msg.ProtoReflect().Descriptor(), data, maxParts) < 0 {
		return errTooManyParts()
	}
	if err := proto.Unmarshal(data, f.msg); err != nil {
		return errMalformed(err)
	}
	return nil
}

func (f *frame) fail(err error) { f.err = err }
