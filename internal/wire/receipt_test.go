package wire

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/lease"
)

func TestReceiptToProto(t *testing.T) {
	r := lease.Receipt{Revision: 1 << 40, Acked: 3, Lapsed: 2, Pending: 1, Quiet: 99}
	want := &jobwardv1.Receipt{
		Revision: 1 << 40, Acknowledged: 3, Lapsed: 2, Pending: 1, Elapsed: durationpb.New(7 * time.Millisecond), QuietRemaining: durationpb.New(time.Second),
	}
	if got := ReceiptToProto(r, time.Second, 7*time.Millisecond); !proto.Equal(got, want) {
		t.Errorf("it is %v; want %v", got, want)
	}
	r.Effective, r.Pending = true, 0
	got := ReceiptToProto(r, 0, 0)
	if !got.Effective || got.QuietRemaining != nil || got.Elapsed == nil {
		t.Errorf("an effective one is %v", got)
	}
	if got := ReceiptToProto(r, -1, 0); got.QuietRemaining != nil {
		t.Errorf("a wait that is over is told: %v", got)
	}
	// A field that is added to the message has to be filled here, or by package server, as replicas and bound are.
	if n := want.ProtoReflect().Descriptor().Fields().Len(); n != 9 {
		t.Errorf("the message has %d fields", n)
	}
}
