package wire

import (
	"fmt"
	"unsafe"

	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// Bounds of the messages of a Watch stream.
const (
	// MaxKeysMessage is how many keys we put into one message: 56 kB, which fits where
	// messages are bounded at 64 KiB. Up to 20,000 are taken.
	MaxKeysMessage = 7_000
	// MaxSeal is the longest seal of a mark in bytes.
	MaxSeal = 64
)

// MarkToProto makes the message of a mark; nil for none.
func MarkToProto(m lease.Mark) *jobwardv1.Mark {
	if m.Epoch == 0 {
		return nil
	}
	return &jobwardv1.Mark{Epoch: m.Epoch, EpochId: m.ID[:], Revision: uint64(m.Revision), Chain: m.Chain[:], Seal: m.Seal}
}

// MarkFromProto reads a mark; a missing one is the zero Mark. What has not the right
// length is KindInvalid.
func MarkFromProto(m *jobwardv1.Mark) (lease.Mark, error) {
	if m.GetEpoch() == 0 {
		return lease.Mark{}, nil
	}
	out := lease.Mark{Epoch: m.GetEpoch(), Revision: authz.Revision(m.GetRevision()), Seal: m.GetSeal()}
	switch {
	case len(m.GetEpochId()) != len(out.ID):
		return lease.Mark{}, authz.Invalid("epoch_id", "must have %d bytes", len(out.ID))
	case len(m.GetChain()) != len(out.Chain):
		return lease.Mark{}, authz.Invalid("chain", "must have %d bytes", len(out.Chain))
	case len(out.Seal) > MaxSeal:
		return lease.Mark{}, authz.Invalid("seal", "must have at most %d bytes", MaxSeal)
	}
	copy(out.ID[:], m.GetEpochId())
	copy(out.Chain[:], m.GetChain())
	return out, nil
}

// WatchResponse makes the message that a grantor sends. prefixes go with a welcome.
func WatchResponse(m lease.Message, prefixes []string) *jobwardv1.WatchResponse {
	switch m.Kind {
	case lease.Welcome:
		return &jobwardv1.WatchResponse{Part: &jobwardv1.WatchResponse_Welcome{Welcome: &jobwardv1.WatchWelcome{
			Generation: uint64(m.Generation), Head: MarkToProto(m.Head), RulesVersion: m.Rules, Vouched: m.Vouched,
			Term: durationpb.New(m.Term), TokenPrefixes: prefixes,
		}}}
	case lease.Grant:
		return &jobwardv1.WatchResponse{Part: &jobwardv1.WatchResponse_Lease{Lease: &jobwardv1.Lease{
			Number: m.Number, Term: durationpb.New(m.Term), Revision: uint64(m.Revision),
		}}}
	case lease.Invalidation:
		return &jobwardv1.WatchResponse{Part: &jobwardv1.WatchResponse_Invalidation{Invalidation: &jobwardv1.Invalidation{
			Revision: uint64(m.Revision), Keys: fixed64s(m.Keys),
		}}}
	case lease.Heartbeat:
		return &jobwardv1.WatchResponse{Part: &jobwardv1.WatchResponse_Heartbeat{Heartbeat: &jobwardv1.WatchHeartbeat{
			Revision: uint64(m.Revision), Mark: MarkToProto(m.Head),
		}}}
	case lease.Moving:
		return &jobwardv1.WatchResponse{Part: &jobwardv1.WatchResponse_Moving{Moving: &jobwardv1.WatchMoving{}}}
	}
	panic(fmt.Sprintf("wire: a grantor does not send %v", m.Kind))
}

// GrantorMessage reads a message of a Watch stream for the holder of generation g,
// which the caller knows from the stream's welcome (zero before it).
func GrantorMessage(m *jobwardv1.WatchResponse, g lease.Generation) (lease.Message, error) {
	switch part := m.GetPart().(type) {
	case *jobwardv1.WatchResponse_Welcome:
		w := part.Welcome
		head, err := MarkFromProto(w.GetHead())
		if err != nil {
			return lease.Message{}, err
		}
		return lease.Message{
			Kind: lease.Welcome, Generation: lease.Generation(w.GetGeneration()), Head: head, Rules: w.GetRulesVersion(),
			Vouched: w.GetVouched(), Term: w.GetTerm().AsDuration(), Revision: head.Revision,
		}, nil
	case *jobwardv1.WatchResponse_Lease:
		return lease.Message{
			Kind: lease.Grant, Generation: g, Number: part.Lease.GetNumber(), Term: part.Lease.GetTerm().AsDuration(),
			Revision: authz.Revision(part.Lease.GetRevision()),
		}, nil
	case *jobwardv1.WatchResponse_Invalidation:
		return lease.Message{
			Kind: lease.Invalidation, Generation: g, Revision: authz.Revision(part.Invalidation.GetRevision()), Keys: keys(part.Invalidation.GetKeys()),
		}, nil
	case *jobwardv1.WatchResponse_Heartbeat:
		head, err := MarkFromProto(part.Heartbeat.GetMark())
		return lease.Message{Kind: lease.Heartbeat, Generation: g, Revision: authz.Revision(part.Heartbeat.GetRevision()), Head: head}, err
	case *jobwardv1.WatchResponse_Moving:
		return lease.Message{Kind: lease.Moving, Generation: g}, nil
	}
	return lease.Message{}, authz.Errorf(authz.KindInternal, "MESSAGE_UNKNOWN",
		"the PDP sent a message that this sidecar does not know: it may be of a later version; nothing can be believed after it")
}

// HelloToProto makes the messages of a hello: the first, and as many as its keys take.
func HelloToProto(h lease.Hello, name, version string) []*jobwardv1.WatchRequest {
	first := &jobwardv1.WatchHello{
		Name: name, Version: version, Seen: MarkToProto(h.Seen), Vouch: h.Vouch, AppliedRevision: uint64(h.Applied), RulesVersion: h.Rules,
	}
	all := fixed64s(h.Keys)
	next := func() []uint64 {
		n := min(len(all), MaxKeysMessage)
		piece := all[:n]
		all = all[n:]
		return piece
	}
	first.Keys = next()
	first.MoreKeys = len(all) > 0
	out := []*jobwardv1.WatchRequest{{Part: &jobwardv1.WatchRequest_Hello{Hello: first}}}
	for len(all) > 0 {
		more := &jobwardv1.MoreKeys{Keys: next()}
		more.MoreKeys = len(all) > 0
		out = append(out, &jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Keys{Keys: more}})
	}
	return out
}

// HelloFromProto reads the first message of a hello; the caller appends the keys of the
// others with [KeysFromProto].
func HelloFromProto(m *jobwardv1.WatchHello) (lease.Hello, error) {
	seen, err := MarkFromProto(m.GetSeen())
	return lease.Hello{
		Seen: seen, Vouch: m.GetVouch(), Applied: authz.Revision(m.GetAppliedRevision()), Rules: m.GetRulesVersion(), Keys: keys(m.GetKeys()),
	}, err
}

// WatchRequest makes the message that a holder sends after its hello. A renewal's
// figures are the caller's to fill in.
func WatchRequest(m lease.Message) *jobwardv1.WatchRequest {
	switch m.Kind {
	case lease.Renew:
		return &jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Renew{Renew: &jobwardv1.LeaseRenewal{Number: m.Number}}}
	case lease.Ack:
		return &jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Ack{Ack: &jobwardv1.InvalidationAck{Revision: uint64(m.Revision)}}}
	case lease.Forget:
		return &jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Forget{Forget: &jobwardv1.DroppedKeys{Keys: fixed64s(m.Keys), AnswerNumber: m.Number}}}
	case lease.Release:
		return &jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Release{Release: &jobwardv1.LeaseRelease{Generation: uint64(m.Generation)}}}
	}
	panic(fmt.Sprintf("wire: a holder does not send %v", m.Kind))
}

// KeysFromProto reads dependency keys; the result shares the memory of its argument.
func KeysFromProto(ks []uint64) []authz.Key { return keys(ks) }

// keys and fixed64s see one list as the other: a Key is a uint64.
func keys(ks []uint64) []authz.Key {
	return unsafe.Slice((*authz.Key)(unsafe.SliceData(ks)), len(ks))
}

func fixed64s(ks []authz.Key) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.SliceData(ks)), len(ks))
}
