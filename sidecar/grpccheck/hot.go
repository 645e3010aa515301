package grpccheck

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/grpc"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/hot"
	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/pdp/authz"
)

// scratch is the memory of one message of the hot path, used again by later ones.
type scratch struct {
	in    hot.Inbox
	out   *hot.Outbox
	own   hot.Outbox // of a stream's message, which is sent before the scratch is given back
	reqs  []authz.Request
	least hot.Least
	next  int            // how many of reqs are answered
	dec   authz.Decision // the last one
	id    []byte         // its name
	door  *door
	by    string

	// What has to be asked for, where that is more than one.
	asks []authz.Request
	decs []authz.Decision
}

// maxKept is how many decisions a scratch has room for when it is not in use.
const maxKept = 128

// hotMethod gives the handler of a method of the hot path, nil for all others.
func (s *Server) hotMethod(method string) grpc.MethodHandler {
	switch method {
	case jobwardv1.DecisionService_Check_FullMethodName:
		return s.ask(s.doors[method], hot.Check)
	case jobwardv1.DecisionService_BatchCheck_FullMethodName:
		return s.ask(s.doors[method], hot.BatchCheck)
	}
	return nil
}

// ask is guard, recovery and validation in one for the unary methods of the hot path: admission, then decoding, then answer. It makes no
// context and no closure.
func (s *Server) ask(d *door, kind hot.Shape) grpc.MethodHandler {
	return func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (resp any, err error) {
		start := time.Now()
		s.meters.begin(d)
		h := s.borrow(d, kind)
		h.out = s.outboxes.Get()
		var p identity.Principal
		defer func() {
			if r := recover(); r != nil {
				err = s.panicked(ctx, r) // and what the call held is left to the collector
			} else {
				s.giveBack(h)
			}
			if err = s.finish(ctx, d, p.Name, start, err); err != nil {
				resp = nil
			}
		}()
		if p, err = s.admit(ctx, d); err != nil {
			return nil, err
		}
		if err = dec(&h.in); err != nil {
			return nil, err
		}
		h.by = p.Name
		span := s.tracer.Start(ctx, d.name())
		if err = s.read(ctx, h); err == nil && !s.look(ctx, h) {
			err = s.askRest(ctx, h)
		}
		span.End(len(h.reqs), &h.dec, err)
		s.meters.answered(d, time.Since(start))
		return h.out, err
	}
}

// Answer is the work of a hot method of another package: it receives its message by dec, into a [hot.Inbound], and gives the answer, which
// is best a [hot.Outbound]. What it decided it leaves in d, for the span.
type Answer func(ctx context.Context, dec func(any) error, d *authz.Decision) (any, error)

// Hot gives the handler of a unary method of another package that answers as often as Check does: what ask is for the methods here. The method needs a
// row in the table of doors. Decisions are the other package's to count.
func (s *Server) Hot(method string, answer Answer) grpc.MethodHandler {
	d := s.doors[method]
	return func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (resp any, err error) {
		start := time.Now()
		s.meters.begin(d)
		var p identity.Principal
		defer func() {
			if r := recover(); r != nil {
				err = s.panicked(ctx, r)
			}
			if err = s.finish(ctx, d, p.Name, start, err); err != nil {
				resp = nil
			}
		}()
		if p, err = s.admit(ctx, d); err != nil {
			return nil, err
		}
		span := s.tracer.Start(ctx, d.name())
		var decided authz.Decision
		resp, err = answer(ctx, dec, &decided)
		span.End(1, &decided, err)
		s.meters.answered(d, time.Since(start))
		return resp, err
	}
}

// borrow gives scratch memory for one message of the given shape.
func (s *Server) borrow(d *door, kind hot.Shape) *scratch {
	h := s.scratch.Get().(*scratch)
	h.in.Reset(kind)
	h.door = d
	return h
}

// giveBack keeps scratch memory for another message.
func (s *Server) giveBack(h *scratch) {
	h.in.Reset(hot.Check)
	h.out = nil
	if cap(h.decs) > maxKept {
		h.decs = nil
	}
	s.scratch.Put(h)
}

// read makes requests of the message in the inbox.
func (s *Server) read(ctx context.Context, h *scratch) (err error) {
	if err = h.in.Err; err != nil {
		return err
	}
	h.next = 0
	tokens, err := s.decider.Tokens(ctx)
	if err != nil {
		return err
	}
	h.reqs, h.least, err = h.in.Requests(tokens, h.reqs[:0])
	if err == nil {
		h.out.Begin(h.in.Shape, h.in.ID)
	}
	return err
}

// look answers the requests in their order from the cache, each as the cache is at that moment (P1: a question of a batch or of a stream
// starts by itself), and appends the answers to the outbox. It stops at the first that the cache cannot answer and reports false.
func (s *Server) look(ctx context.Context, h *scratch) bool {
	for ; h.next < len(h.reqs); h.next++ {
		if !s.decider.Look(&h.reqs[h.next], h.least, &h.dec) {
			return false
		}
		s.append(ctx, h, h.next)
	}
	return true
}

// askRest answers what look has left. What is not in the cache is asked for together.
func (s *Server) askRest(ctx context.Context, h *scratch) error {
	left := h.reqs[h.next:]
	h.decs = slices.Grow(h.decs[:0], len(left))[:len(left)]
	h.asks = h.asks[:0]
	for i := range left {
		h.decs[i] = authz.Decision{}
		if i == 0 || !s.decider.Look(&left[i], h.least, &h.decs[i]) {
			h.decs[i].Reason = authz.ReasonNone
			h.asks = append(h.asks, left[i])
		}
	}
	// The answers go to the end of decs, from where they are spread over the gaps.
	h.decs = slices.Grow(h.decs, len(h.asks))[:len(left)+len(h.asks)]
	answers := h.decs[len(left):]
	clear(answers)
	if err := s.decider.Ask(ctx, h.asks, h.least, answers); err != nil {
		return err
	}
	for i := range left {
		h.dec = h.decs[i]
		if h.dec.Reason == authz.ReasonNone {
			h.dec, answers = answers[0], answers[1:]
		}
		s.append(ctx, h, h.next)
		h.next++
	}
	return nil
}

// append notes the decision in h in metrics and log, and appends it to the outbox: without what only a cache can use.
func (s *Server) append(ctx context.Context, h *scratch, i int) {
	h.id = s.ids.Append(h.id[:0])
	s.meters.decided(h.door, &h.dec)
	h.dec.Keys, h.dec.Number = nil, 0
	h.out.Append(&h.dec, h.id)
	if !h.dec.Allow && s.log.Enabled(ctx, slog.LevelDebug) {
		req := &h.reqs[i]
		s.log.DebugContext(ctx, "denied", "decision", string(h.id), "reason", h.dec.Reason, "caller", h.by, "cached", h.dec.Cached,
			"job", h.dec.Job, "token", req.Token, "permission", req.Permission, "target", h.dec.Target, "revision", h.dec.Revision)
	}
}
