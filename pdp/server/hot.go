package server

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/hot"
	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/policy"
)

// scratch is the memory of one call of the hot path, used again by later ones.
type scratch struct {
	in   hot.Inbox
	out  *hot.Outbox
	walk policy.Walk
	reqs []authz.Request
	dec  authz.Decision // the last one
	by   engine.Actor
	door *door
}

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

// ask is guard, recovery and validation in one for the unary methods of the hot path:
// admission, then decoding, then answer. It makes no context and no closure.
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
		if err = h.in.Err; err != nil {
			return nil, err
		}
		h.by = engine.Actor{Name: p.Name}
		span := s.tracer.Start(ctx, d.name())
		err = s.answer(ctx, h)
		span.End(len(h.reqs), &h.dec, err)
		s.meters.answered(d, time.Since(start))
		return h.out, err
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
	s.scratch.Put(h)
}

// answer answers the message in the inbox.
func (s *Server) answer(ctx context.Context, h *scratch) (err error) {
	var least hot.Least
	if h.reqs, least, err = h.in.Requests(s.opt.Tokens, h.reqs[:0]); err != nil {
		return err
	}
	if least != (hot.Least{}) {
		if err := s.reached(ctx, least); err != nil {
			return err
		}
	}
	h.out.Begin(h.in.Shape, h.in.ID)
	return s.judge(ctx, h)
}

// reached says whether this PDP's history has got as far as a caller's.
func (s *Server) reached(ctx context.Context, least hot.Least) error {
	if err := s.engine.Reached(ctx, least.Epoch, least.EpochRevision); err != nil {
		return err
	}
	return s.engine.Reached(ctx, 0, least.Revision)
}

// judge answers the requests, each on the view as it is when it is judged (PROTOCOL
// R10), and appends the answers to the outbox. One that names a generation gets an
// answer that may be kept in it, if it is the caller's. Each is answered only if this PDP
// may at that moment (R8). That another PDP's token is unknown is said only after catching
// up, which is needed once, as all questions of a message were asked before it; whoever
// cannot tell says that, and never "unknown" (R16).
func (s *Server) judge(ctx context.Context, h *scratch) error {
	fresh := false // caught up since the message came
	for i := range h.reqs {
		if err := s.engine.Serving(); err != nil {
			return err
		}
		req, gen := &h.reqs[i], h.in.Questions[i].Generation
		d := s.decide(h, req, gen)
		if d.Reason == authz.TokenUnknown && (i == 0 || req.Token != h.reqs[i-1].Token) {
			if err := s.unknown.Take(h.by.Name, time.Now()); err != nil {
				return err
			}
		}
		if !fresh && s.engine.Unsure(&d) {
			if err := s.engine.CatchUp(ctx); err != nil {
				return err
			}
			fresh = true
			d = s.decide(h, req, gen)
		}
		h.dec = d
		h.out.Append(&h.dec, []byte(s.record(ctx, h, req)))
	}
	return nil
}

// decide judges one question.
func (s *Server) decide(h *scratch, req *authz.Request, generation uint64) authz.Decision {
	if generation == 0 {
		return s.engine.Decide(&h.walk, *req)
	}
	return s.engine.Keep(&h.walk, lease.Generation(generation), h.by.Name, *req)
}

// record notes the decision in h in metrics, audit and log, and gives its id.
func (s *Server) record(ctx context.Context, h *scratch, req *authz.Request) string {
	id := s.ids.Next()
	s.meters.decided(h.door, h.dec.Reason)
	s.engine.Record(h.by, req, &h.dec, id)
	if s.tails.count.Load() > 0 {
		s.tails.decided(s.engine.Now(), h.by.Name, req, &h.dec, id)
	}
	if !h.dec.Allow && s.log.Enabled(ctx, slog.LevelDebug) {
		s.log.DebugContext(ctx, "denied", "decision", id, "reason", h.dec.Reason, "caller", h.by.Name,
			"job", h.dec.Job, "token", req.Token, "permission", req.Permission, "target", h.dec.Target, "revision", h.dec.Revision)
	}
	return id
}
