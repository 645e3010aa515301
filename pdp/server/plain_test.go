package server

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// TestPlainKeepsTheRules: whatever is plain, the rules in the proto files take. The messages
// are made from their descriptors, so a field that is added is in them.
func TestPlainKeepsTheRules(t *testing.T) {
	rules, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, m := range []proto.Message{&jobwardv1.IssueRequest{JobId: "j", ProjectId: 1, UserId: 1}, &jobwardv1.RevokeRequest{JobIds: []string{"j"}}} {
		if !plain(m) {
			t.Errorf("%v is not plain, and is what everybody sends", m)
		}
		taken, refused := 0, 0
		for range 4000 {
			odd := proto.Clone(m)
			for range 1 + r.IntN(3) {
				fields := odd.ProtoReflect().Descriptor().Fields()
				oddField(r, odd.ProtoReflect(), fields.Get(r.IntN(fields.Len())))
			}
			err := rules.Validate(odd)
			if plain(odd) {
				taken++
				if err != nil {
					text := prototext.Format(odd)
					t.Fatalf("plain, and the rules refuse it: %v\n%s", err, text[:min(len(text), 1000)])
				}
			} else if err != nil {
				refused++
			}
		}
		if taken < 200 || refused < 200 {
			t.Errorf("%T: only %d were plain, and %d refused", m, taken, refused)
		}
	}
}

// oddField sets a field to something at, within or beyond a bound.
func oddField(r *rand.Rand, m protoreflect.Message, f protoreflect.FieldDescriptor) {
	switch {
	case f.IsList():
		list := m.NewField(f).List()
		n := r.IntN(4)
		if r.IntN(20) == 0 {
			n = []int{99, 100, 101, 999, 1000, 1001}[r.IntN(6)]
		}
		for range n {
			list.Append(oddValue(r, f, list.NewElement))
		}
		m.Set(f, protoreflect.ValueOfList(list))
	case f.IsMap():
		panic("there are no maps in the API")
	default:
		m.Set(f, oddValue(r, f, func() protoreflect.Value { return m.NewField(f) }))
	}
}

func oddValue(r *rand.Rand, f protoreflect.FieldDescriptor, zero func() protoreflect.Value) protoreflect.Value {
	numbers := []int64{0, 1, -1, 2, 59, 60, 86399, 86400, 86401, 2678399, 2678400, 2678401, 1<<53 - 1, 1 << 53, math.MaxInt64, math.MinInt64}
	n := numbers[r.IntN(len(numbers))]
	if r.IntN(2) == 0 {
		n = 1 + r.Int64N(20)
	}
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(r.IntN(2) == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(r.IntN(20) - 2))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(n)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32([]int32{0, 1, -1, 999_999_999, 1_000_000_000}[r.IntN(5)])
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(n))
	case protoreflect.StringKind:
		char := []string{"a", "a", "a", "!", "~", " ", "\x7f", "\x00", "é", "\n"}[r.IntN(10)]
		return protoreflect.ValueOfString(strings.Repeat(char, []int{0, 1, 8, 64, 127, 128, 129, 1023, 1024, 1025}[r.IntN(10)]))
	case protoreflect.MessageKind:
		v := zero()
		fields := v.Message().Descriptor().Fields()
		for i := range fields.Len() {
			if r.IntN(2) == 0 {
				oddField(r, v.Message(), fields.Get(i))
			}
		}
		return v
	}
	panic("no odd value of kind " + f.Kind().String())
}
