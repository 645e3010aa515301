package server

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/feed"
)

// ListSidecars implements jobwardv1.WatchServiceServer.
func (w *watchService) ListSidecars(context.Context, *jobwardv1.ListSidecarsRequest) (*jobwardv1.ListSidecarsResponse, error) {
	f := w.s.feed
	out := &jobwardv1.ListSidecarsResponse{
		HeadRevision: uint64(f.Head().Revision), Term: durationpb.New(f.Term()), QuietRemaining: wire.DurationToProto(f.Quiet()),
	}
	for _, c := range f.Sidecars() {
		m := sidecarToProto(c)
		if took, ok := w.s.canaries.last(c.Name); ok {
			m.TimeToDeny = durationpb.New(took)
		}
		out.Sidecars = append(out.Sidecars, m)
	}
	return out, nil
}

func sidecarToProto(c feed.Sidecar) *jobwardv1.Sidecar {
	return &jobwardv1.Sidecar{
		Name: c.Name, Caller: c.Owner, Generation: c.Generation.String(), Connected: !c.Cut, LeaseRemaining: durationpb.New(max(c.Remaining, 0)),
		AppliedRevision: uint64(c.Applied), Unacknowledged: int32(c.Owed), InterestKeys: int64(c.Keys), InterestInBuckets: c.Buckets,
		Entries: c.Entries, Hits: c.Hits, Misses: c.Misses, Version: c.Version, ConnectTime: timestamppb.New(c.Since),
	}
}
