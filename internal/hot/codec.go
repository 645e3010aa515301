package hot

import (
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// Codec is protobuf, with the two differences that the package comment tells of. It is for grpc.ForceServerCodecV2, and for a server whose
// methods all take their messages in an [Inbound]; others get plain protobuf, and gRPC's own errors.
type Codec struct {
	encoding.CodecV2 // protobuf
	limit            int
}

// NewCodec makes one that refuses messages of more than limit bytes. What gRPC itself refuses, by grpc.MaxRecvMsgSize, is refused without
// an ErrorInfo: set that to twice as much.
func NewCodec(limit int) Codec { return Codec{encoding.GetCodecV2(protocodec.Name), limit} }

// Inbound is what a request is decoded into. Both methods are called by the codec,
// one of them for each message.
type Inbound interface {
	// Decode reads the message; what it keeps of data it has to copy.
	Decode(data []byte) error
	// Fail takes the error, of Decode or of the codec.
	Fail(error)
}

// Outbound is an answer that is encoded already. Both methods are called by the codec, in this order.
type Outbound interface {
	// Encoded gives the message. It is copied before Sent.
	Encoded() []byte
	// Sent says that it has been copied.
	Sent()
}

// Unmarshal implements encoding.CodecV2.
func (c Codec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(Inbound)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	if n := data.Len(); n > c.limit {
		in.Fail(errTooLarge(n, c.limit))
		return nil
	}
	var err error
	if len(data) == 1 {
		err = in.Decode(data[0].ReadOnlyData())
	} else {
		whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
		err = in.Decode(whole.ReadOnlyData())
		whole.Free()
	}
	if err != nil {
		in.Fail(err)
	}
	return nil
}

// Marshal implements encoding.CodecV2.
func (c Codec) Marshal(v any) (mem.BufferSlice, error) {
	out, ok := v.(Outbound)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	b := mem.Copy(out.Encoded(), mem.DefaultBufferPool())
	out.Sent()
	return mem.BufferSlice{b}, nil
}

// Frame is an ordinary message on its way in.
type Frame struct {
	Msg proto.Message
	Err error // what was wrong with it
}

// Decode implements Inbound.
func (f *Frame) Decode(data []byte) error {
	if len(data) > LargeMessage && countParts(f.Msg.ProtoReflect().Descriptor(), data, maxParts) < 0 {
		return errTooManyParts()
	}
	if err := proto.Unmarshal(data, f.Msg); err != nil {
		return errMalformed(err)
	}
	return nil
}

// Fail implements Inbound.
func (f *Frame) Fail(err error) { f.Err = err }

// Receive receives m with recv, which is the decoder of a unary method or a stream's RecvMsg, by way of a Frame: what the codec found wrong
// with it is the error. An Inbound takes its error itself.
func Receive(recv func(any) error, m any) error {
	msg, ok := m.(proto.Message)
	if !ok {
		return recv(m)
	}
	f := Frame{Msg: msg}
	if err := recv(&f); err != nil {
		return err
	}
	return f.Err
}
