package hot

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// LargeMessage is the size in bytes from which on a message is treated with care: its
// parts are counted before it is decoded, and who checks its rules should stop at the
// first that is broken.
const LargeMessage = 16 << 10

// maxParts bounds the parts of a large message. An empty message within a message takes
// two bytes on the wire and a hundred in memory, and one that breaks a rule several
// hundred more: a message of the largest size can take gigabytes. The largest good one,
// 5,000 projects with all their features, has 50,000 parts.
const maxParts = 100_000

// countParts counts the messages and the elements of lists in an encoded message of
// type d, until there are more than left. It gives what is left, below zero for too
// many. Bytes that cannot be read end the count: the decoder will find them.
func countParts(d protoreflect.MessageDescriptor, b []byte, left int) int {
	fields := d.Fields()
	for len(b) > 0 && left >= 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			break
		}
		b = b[n:]
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				break
			}
			b = b[n:]
			continue
		}
		inner, n := protowire.ConsumeBytes(b)
		if n < 0 {
			break
		}
		b = b[n:]
		f := fields.ByNumber(num)
		if f == nil || !f.IsList() && f.Message() == nil {
			continue
		}
		left--
		if f.Message() != nil {
			left = countParts(f.Message(), inner, left)
		}
	}
	return left
}
