package server

import (
	"context"
	"encoding/hex"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/replica"
)

// receipt waits for the receipt of a change as long as the caller wants, and tells it. A
// call that only validated changed nothing, and so is not effective.
func (s *Server) receipt(ctx context.Context, in interface {
	GetReceiptWait() jobwardv1.ReceiptWait
	GetValidateOnly() bool
}, a engine.Awaits) *jobwardv1.Receipt {
	if in.GetValidateOnly() {
		return wire.ReceiptToProto(lease.Receipt{Revision: a.Revision}, 0, 0)
	}
	wait := engine.WaitEffective
	if in.GetReceiptWait() == jobwardv1.ReceiptWait_RECEIPT_WAIT_DURABLE {
		wait = engine.WaitDurable
	}
	return receiptToProto(s.await(ctx, wait, a))
}

// await is [engine.Engine.Await], measured.
func (s *Server) await(ctx context.Context, wait engine.Wait, a engine.Awaits) engine.Receipt {
	r := s.engine.Await(ctx, wait, a)
	if len(a.Each) == 0 && !a.All {
		return r // there was nothing to wait for
	}
	outcome := outcomeNone
	switch {
	case !r.Effective && wait == engine.WaitDurable:
		outcome = outcomeDurable
	case !r.Effective:
		outcome = outcomeTimedOut
	case r.Lapsed > 0:
		outcome = outcomeLapsed
	case r.Acked > 0:
		outcome = outcomeAcked
	}
	s.meters.watch.receipt(ctx, outcome, r.Elapsed)
	s.meters.watch.peers(ctx, r.Replicas, r.Elapsed)
	return r
}

func receiptToProto(r engine.Receipt) *jobwardv1.Receipt {
	m := wire.ReceiptToProto(
		lease.Receipt{Revision: r.Revision, Effective: r.Effective, Acked: r.Acked, Lapsed: r.Lapsed, Pending: r.Pending}, r.Quiet, r.Elapsed)
	for _, s := range r.Replicas {
		m.Replicas = append(m.Replicas, &jobwardv1.ReplicaStanding{Name: s.Name, Incarnation: hex.EncodeToString(s.Incarnation[:]), Outcome: outcomeToProto(s.Outcome)})
	}
	if r.Bound > 0 {
		m.Bound = durationpb.New(r.Bound)
	}
	return m
}

func outcomeToProto(o replica.Outcome) jobwardv1.ReplicaOutcome {
	switch o {
	case replica.Pending:
		return jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_PENDING
	case replica.Settled:
		return jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_SETTLED
	case replica.Fenced:
		return jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_FENCED
	case replica.Gone:
		return jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_GONE
	}
	return jobwardv1.ReplicaOutcome_REPLICA_OUTCOME_UNSPECIFIED
}

// AwaitReceipt implements jobwardv1.WatchServiceServer.
func (w *watchService) AwaitReceipt(in *jobwardv1.AwaitReceiptRequest, stream grpc.ServerStreamingServer[jobwardv1.AwaitReceiptResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	var sent *jobwardv1.Receipt
	var failed error
	send := func(r engine.Receipt) {
		m := receiptToProto(r)
		elapsed := m.Elapsed
		if m.Elapsed = nil; failed != nil || proto.Equal(m, sent) {
			return
		}
		sent = proto.CloneOf(m)
		m.Elapsed = elapsed
		if failed = stream.Send(&jobwardv1.AwaitReceiptResponse{Receipt: m}); failed != nil {
			cancel()
		}
	}
	last, err := w.s.engine.AwaitAll(ctx, authz.Revision(in.GetRevision()), send)
	if err != nil {
		return about("revision", err)
	}
	send(last)
	return failed
}
