package server

import (
	"cmp"
	"context"
	"encoding/hex"
	"slices"
	"time"

	"google.golang.org/grpc"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Replica is what the server asks about this PDP as one of several on a store (PROTOCOL
// R8). A replica.Member is one.
type Replica interface {
	// Serving reports whether this PDP may answer at now.
	Serving(now lease.Instant) bool
	// Why tells why it may not: KindUnavailable (FENCED). It is nil when it may.
	Why(now lease.Instant) error
	// Incarnation names this life of the PDP. It changes when the others have fenced it.
	Incarnation() state.Incarnation
	// Registrations reads the list of all, and which one this PDP is.
	Registrations(ctx context.Context) (list state.Registrations, self state.Incarnation, err error)
}

// Codes of PeerService.
const (
	// CodeNotReplicated: KindPrecondition; this PDP is the only one on its store.
	CodeNotReplicated = "NOT_REPLICATED"
	// CodeOtherIncarnation: KindPrecondition; this life of the PDP is not the one that was meant.
	CodeOtherIncarnation = "OTHER_INCARNATION"
	// CodeOtherHistory: KindPrecondition; the two PDPs serve histories that differ.
	CodeOtherHistory = "OTHER_HISTORY"
	// CodeTooManyWants: KindExhausted; a stream asks about more changes at a time than are kept.
	CodeTooManyWants = "TOO_MANY_WANTS"
)

// peerService is PeerService: this file has what is asked once, settle.go the stream.
type peerService struct {
	jobwardv1.UnimplementedPeerServiceServer
	s *Server
}

// ListReplicas implements jobwardv1.PeerServiceServer.
func (p *peerService) ListReplicas(ctx context.Context, _ *jobwardv1.ListReplicasRequest) (*jobwardv1.ListReplicasResponse, error) {
	r := p.s.opt.Replica
	if r == nil {
		return nil, errNotReplicated()
	}
	list, self, err := r.Registrations(ctx)
	if err != nil {
		return nil, err
	}
	out := &jobwardv1.ListReplicasResponse{}
	for _, l := range list.Live {
		m := &jobwardv1.Replica{
			Name: l.Name, Incarnation: hex.EncodeToString(l.Incarnation[:]), Address: l.Address, Self: l.Incarnation == self,
			AppliedRevision: uint64(l.Applied), SettledRevision: uint64(l.Settled),
		}
		if m.Self {
			m.Problem = wire.ProblemToProto(r.Why(p.s.opt.Now()))
		}
		out.Replicas = append(out.Replicas, m)
	}
	for _, d := range list.Departed {
		out.Replicas = append(out.Replicas, &jobwardv1.Replica{Name: d.Name, Incarnation: hex.EncodeToString(d.Incarnation[:]), Departed: true})
	}
	slices.SortFunc(out.Replicas, func(a, b *jobwardv1.Replica) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Incarnation, b.Incarnation))
	})
	return out, nil
}

// Settle implements jobwardv1.PeerServiceServer. The stream ends when the feed stops, and
// not when the server begins to drain: until its sidecars have let go they are waited for.
func (p *peerService) Settle(stream grpc.BidiStreamingServer[jobwardv1.SettleRequest, jobwardv1.SettleResponse]) error {
	s, ctx := p.s, stream.Context()
	if s.opt.Replica == nil {
		return errNotReplicated()
	}
	meant, err := s.readSettleHello(ctx, stream)
	if err != nil {
		return err
	}
	st := newSettling(s, meant, stream)
	return s.held(ctx, s.feed.Stopped(),
		func(ctx context.Context, _ func(error)) error { return st.read(ctx) },
		func(ctx context.Context, end func(error)) error { return st.serve(ctx, end) })
}

// readSettleHello reads whom the stream is for, and judges whether that is this PDP.
func (s *Server) readSettleHello(ctx context.Context, stream grpc.BidiStreamingServer[jobwardv1.SettleRequest, jobwardv1.SettleResponse]) (state.Incarnation, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, maxHello, errHelloTooSlow())
	defer cancel()
	read := make(chan *jobwardv1.SettleHello, 1)
	if err := s.held(ctx, s.feed.Stopped(), func(context.Context, func(error)) error {
		m, err := stream.Recv()
		if err == nil {
			read <- m.GetHello()
		}
		return err
	}); err != nil {
		return state.Incarnation{}, err
	}
	var hello *jobwardv1.SettleHello
	select {
	case hello = <-read:
	default:
	}
	if hello == nil {
		return state.Incarnation{}, errHelloFirst()
	}
	if head := s.feed.Head(); hello.GetEpoch() != head.Epoch || !slices.Equal(hello.GetEpochId(), head.ID[:]) {
		return state.Incarnation{}, authz.Errorf(authz.KindPrecondition, CodeOtherHistory,
			"this policy decision point serves epoch %d and the caller epoch %d, or another history: PDPs of one store are started on one history", head.Epoch, hello.GetEpoch())
	}
	meant := state.Incarnation(hello.GetIncarnation())
	return meant, s.mayAnswerFor(meant)
}

// mayAnswerFor fails unless this PDP may answer at this moment, and is the incarnation
// meant. The order matters: an incarnation never comes back, so if it still is this one
// after it was seen to serve, then it is this one that served.
func (s *Server) mayAnswerFor(meant state.Incarnation) error {
	r, now := s.opt.Replica, s.opt.Now()
	if !r.Serving(now) {
		if err := r.Why(now); err != nil {
			return err
		}
		return authz.Errorf(authz.KindUnavailable, state.CodeFenced, "this policy decision point may not answer at present: ask again")
	}
	if is := r.Incarnation(); is != meant {
		return authz.Errorf(authz.KindPrecondition, CodeOtherIncarnation, "the incarnation %x is meant and this one is %x: look at the list again", meant[:4], is[:4])
	}
	return nil
}

func errNotReplicated() error {
	return authz.Errorf(authz.KindPrecondition, CodeNotReplicated, "this policy decision point is the only one on its store: there are no replicas to ask about")
}

// pendingEvery is how often pending changes are answered: at least every F/4, with some
// time for the way.
func (s *Server) pendingEvery() time.Duration { return s.opt.Fence / 5 }
