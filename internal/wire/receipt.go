package wire

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/lease"
)

// ReceiptToProto makes the message of a receipt. quiet is how long leases from before
// the start are still waited for, elapsed how long the call has waited.
func ReceiptToProto(r lease.Receipt, quiet, elapsed time.Duration) *jobwardv1.Receipt {
	m := &jobwardv1.Receipt{
		Revision: uint64(r.Revision), Effective: r.Effective, Acknowledged: int32(r.Acked), Lapsed: int32(r.Lapsed), Pending: int32(r.Pending),
		Elapsed: durationpb.New(elapsed),
	}
	if quiet > 0 {
		m.QuietRemaining = durationpb.New(quiet)
	}
	return m
}
