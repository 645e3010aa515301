package server

import (
	"cmp"
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/feed"
)

// watchService is WatchService: this file has the lane of leases, report.go the one
// beside it, receipts.go receipts, sidecars.go and tail.go what operators look at.
type watchService struct {
	jobwardv1.UnimplementedWatchServiceServer
	s *Server
}

// maxHello is how long a sidecar can take to say hello: until then it holds a
// goroutine and no lease.
const maxHello = 10 * time.Second

// Watch implements jobwardv1.WatchServiceServer. However the stream ends, the lease
// runs on (L3). A server that drains does not end it: the feed tells the sidecar that it
// is moving, and ends the stream when the sidecar's lease has.
func (w *watchService) Watch(stream grpc.BidiStreamingServer[jobwardv1.WatchRequest, jobwardv1.WatchResponse]) error {
	s, ctx := w.s, stream.Context()
	about, hello, err := s.readHello(ctx, stream)
	if err != nil {
		return err
	}
	st, err := s.feed.Open(ctx, actorOf(ctx, 0).Name, about, hello)
	if err != nil {
		return err
	}
	defer st.Close()
	return s.held(ctx, nil,
		func(context.Context, func(error)) error { return readWatch(stream, st) },
		func(ctx context.Context, end func(error)) error { return s.writeWatch(ctx, end, stream, st) })
}

// held serves a stream that callers hold open, its sides in goroutines of their own. It
// ends when the first of them does, or when one calls end, or when drain is closed:
// returning ends the stream, and with it the others. So a caller that reads nothing
// holds the side that writes and not the stream. The recovery of the chain does not look
// after these goroutines.
func (s *Server) held(ctx context.Context, drain <-chan struct{}, sides ...func(ctx context.Context, end func(error)) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, serve := range sides {
		go func() {
			defer func() {
				if r := recover(); r != nil {
					cancel(s.panicked(ctx, r))
				}
			}()
			cancel(cmp.Or(serve(ctx, cancel), io.EOF))
		}()
	}
	select {
	case <-ctx.Done():
		if err := context.Cause(ctx); err != io.EOF {
			return err
		}
		return nil
	case <-drain:
		return errDraining()
	}
}

// readHello reads the hello with all its keys. More of them than are kept of a
// generation are read and forgotten: their holder starts empty.
func (s *Server) readHello(ctx context.Context, stream grpc.BidiStreamingServer[jobwardv1.WatchRequest, jobwardv1.WatchResponse]) (feed.About, lease.Hello, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, maxHello, errHelloTooSlow())
	defer cancel()
	// On the heap and not in the results, because a goroutine that came too late may still
	// write to it.
	read := new(struct {
		about feed.About
		hello lease.Hello
	})
	if err := s.held(ctx, s.drain, func(context.Context, func(error)) (err error) {
		read.about, read.hello, err = helloOf(stream.Recv, s.opt.MaxInterest)
		return err
	}); err != nil {
		return feed.About{}, lease.Hello{}, err
	}
	return read.about, read.hello, nil
}

func helloOf(recv func() (*jobwardv1.WatchRequest, error), maxKeys int) (about feed.About, h lease.Hello, err error) {
	m, err := recv()
	if err == io.EOF {
		return about, h, errHelloFirst()
	}
	if err != nil {
		return about, h, err
	}
	first := m.GetHello()
	if first == nil {
		return about, h, errHelloFirst()
	}
	if h, err = wire.HelloFromProto(first); err != nil {
		return about, h, below("hello.seen", err)
	}
	about = feed.About{Name: first.GetName(), Version: first.GetVersion()}
	for more := first.GetMoreKeys(); more; {
		if m, err = recv(); err == io.EOF {
			return about, h, authz.Invalid("keys", "more were announced")
		} else if err != nil {
			return about, h, err
		}
		part, ok := m.GetPart().(*jobwardv1.WatchRequest_Keys)
		if !ok {
			return about, h, authz.Invalid("keys", "must come next, because more were announced")
		}
		if len(h.Keys) <= maxKeys {
			h.Keys = append(h.Keys, wire.KeysFromProto(part.Keys.GetKeys())...)
		}
		more = part.Keys.GetMoreKeys()
	}
	if len(h.Keys) > maxKeys {
		h.Vouch, h.Keys = false, nil
	}
	return about, h, nil
}

func errHelloFirst() error { return authz.Invalid("hello", "must come in the first message") }

func errHelloTooSlow() error {
	return authz.Errorf(authz.KindUnavailable, feed.CodeStreamCut, "the hello did not arrive within %v", maxHello)
}

func errTooSlow() error {
	return authz.Errorf(authz.KindUnavailable, feed.CodeStreamCut, "messages were not read for longer than a lease: say hello again")
}

// readWatch hands over what the sidecar sends, until it closes its side.
func readWatch(stream grpc.BidiStreamingServer[jobwardv1.WatchRequest, jobwardv1.WatchResponse], st *feed.Stream) error {
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch part := m.GetPart().(type) {
		case *jobwardv1.WatchRequest_Renew:
			r := part.Renew
			st.Renew(r.GetNumber(), feed.Figures{
				Entries: r.GetEntries(), Hits: r.GetHits(), Misses: r.GetMisses(), Applied: authz.Revision(r.GetAppliedRevision()),
			})
		case *jobwardv1.WatchRequest_Ack:
			st.Ack(authz.Revision(part.Ack.GetRevision()))
		case *jobwardv1.WatchRequest_Forget:
			st.Forget(wire.KeysFromProto(part.Forget.GetKeys()), part.Forget.GetAnswerNumber())
		case *jobwardv1.WatchRequest_Release:
			st.Release(lease.Generation(part.Release.GetGeneration()))
		case *jobwardv1.WatchRequest_Hello:
			return authz.Invalid("hello", "comes once, in the first message")
		default:
			return authz.Invalid("keys", "come with the hello only")
		}
	}
}

// writeWatch sends what there is for the sidecar. One that reads nothing for a whole
// lease has lost that lease, and its stream.
func (s *Server) writeWatch(
	ctx context.Context, end func(error), stream grpc.BidiStreamingServer[jobwardv1.WatchRequest, jobwardv1.WatchResponse], st *feed.Stream,
) error {
	patience := lease.GrantorTerm(s.feed.Term())
	stuck := time.AfterFunc(patience, func() { end(errTooSlow()) })
	defer stuck.Stop()
	for {
		stuck.Stop()
		ms, err := st.Next(ctx)
		if err != nil {
			return err
		}
		stuck.Reset(patience)
		for _, m := range ms {
			if err := stream.Send(wire.WatchResponse(m, s.opt.Tokens.Prefixes())); err != nil {
				return err
			}
		}
	}
}
