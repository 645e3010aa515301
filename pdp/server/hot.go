package server

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/policy"
)

// scratch is the memory of one call of the hot path, used again by later ones.
type scratch struct {
	in   inbox
	out  *outbox
	walk policy.Walk
	q    jobwardv1.Question
	reqs []authz.Request
	dec  authz.Decision // the last one
	by   engine.Actor
	door *door
}

// hotMethod gives the handler of a method of the hot path, nil for all others.
func (s *Server) hotMethod(method string) grpc.MethodHandler {
	switch method {
	case jobwardv1.DecisionService_Check_FullMethodName:
		return s.ask(s.doors[method], shapeCheck, (*Server).answerOne)
	case jobwardv1.DecisionService_BatchCheck_FullMethodName:
		return s.ask(s.doors[method], shapeBatch, (*Server).answerBatch)
	}
	return nil
}

// ask is guard, recovery and validation in one for the unary methods of the hot path:
// admission, then decoding, then answer. It makes no context and no closure.
func (s *Server) ask(d *door, kind shape, answer func(*Server, context.Context, *scratch) error) grpc.MethodHandler {
	return func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (resp any, err error) {
		start := time.Now()
		s.meters.begin(d)
		h := s.borrow(d, kind)
		h.out = s.outboxes.Get().(*outbox)
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
		if err = h.in.err; err != nil {
			return nil, err
		}
		h.by = engine.Actor{Name: p.Name}
		span := s.span(ctx, d)
		err = answer(s, ctx, h)
		span.end(h, err)
		s.meters.answered(ctx, d, time.Since(start))
		return h.out, err
	}
}

// borrow gives scratch memory for one message of the given shape.
func (s *Server) borrow(d *door, kind shape) *scratch {
	h := s.scratch.Get().(*scratch)
	h.in.reset(kind)
	h.door = d
	return h
}

// giveBack keeps scratch memory for another message.
func (s *Server) giveBack(h *scratch) {
	h.in.reset(shapeCheck)
	s.scratch.Put(h)
}

// answerOne answers a Check.
func (s *Server) answerOne(ctx context.Context, h *scratch) error {
	if err := s.read(h); err != nil {
		return err
	}
	return s.judge(ctx, h, checkDecision)
}

// answerBatch answers a BatchCheck.
func (s *Server) answerBatch(ctx context.Context, h *scratch) error {
	in := &h.in
	if in.more || len(in.questions) == 0 {
		return s.refuseBatch(in)
	}
	for i := range in.questions {
		in.questions[i].token = in.token
	}
	in.questions[0].minRevision = in.minRevision
	if err := s.read(h); err != nil {
		if authz.KindOf(err) == authz.KindInvalid {
			return s.refuseBatch(in)
		}
		return err
	}
	return s.judge(ctx, h, batchDecision)
}

// answerStream answers one message of a CheckStream.
func (s *Server) answerStream(ctx context.Context, h *scratch) error {
	in := &h.in
	if in.more || len(in.questions) == 0 {
		return s.refuseStream(in)
	}
	if err := s.read(h); err != nil {
		if authz.KindOf(err) == authz.KindInvalid {
			return s.refuseStream(in)
		}
		return err
	}
	h.out.b = appendNumber(h.out.b, streamID, in.id)
	return s.judge(ctx, h, streamDecision)
}

// read turns the questions in the inbox into requests. All of a message are looked at
// before one is judged. A token that comes several times in a row is hashed once.
func (s *Server) read(h *scratch) error {
	h.reqs = h.reqs[:0]
	var digest authz.Digest
	var digestOf []byte
	var least uint64
	for i := range h.in.questions {
		q := &h.in.questions[i]
		if len(q.token) == 0 {
			_, err := wire.Digest(s.opt.Tokens, "") // which says what is missing
			return err
		}
		if i == 0 || !bytes.Equal(q.token, digestOf) {
			digest, _ = s.opt.Tokens.DigestOf(q.token) // zero for what is no job token
			digestOf = q.token
		}
		if err := q.check(); err != nil {
			return err
		}
		q.into(&h.q)
		req, err := wire.QuestionRequest(digest, &h.q)
		if err != nil {
			return err
		}
		h.reqs = append(h.reqs, req)
		least = max(least, q.minRevision)
	}
	if least == 0 {
		return nil
	}
	return s.engine.AtLeast(authz.Revision(least))
}

// judge answers the requests, each on the view as it is when it is judged (PROTOCOL
// R10), and appends the answers to the outbox.
func (s *Server) judge(ctx context.Context, h *scratch, num protowire.Number) error {
	for i := range h.reqs {
		req := &h.reqs[i]
		d := s.engine.Decide(&h.walk, *req)
		if d.Reason == authz.TokenUnknown && (i == 0 || req.Token != h.reqs[i-1].Token) {
			if err := s.unknown.take(h.by.Name, time.Now()); err != nil {
				return err
			}
		}
		h.dec = d
		h.out.b = appendDecision(h.out.b, num, &h.dec, s.record(ctx, h, req))
	}
	return nil
}

// record notes the decision in h in metrics, audit and log, and gives its id.
func (s *Server) record(ctx context.Context, h *scratch, req *authz.Request) string {
	id := s.ids.next()
	s.meters.decided(h.door, h.dec.Reason)
	s.engine.Record(h.by, req, &h.dec, id)
	if !h.dec.Allow && s.log.Enabled(ctx, slog.LevelDebug) {
		s.log.DebugContext(ctx, "denied", "decision", id, "reason", h.dec.Reason, "caller", h.by.Name,
			"job", h.dec.Job, "token", req.Token, "permission", req.Permission, "target", h.dec.Target, "revision", h.dec.Revision)
	}
	return id
}

// refuseBatch and refuseStream say what is wrong with a message that was found wrong,
// in the words of package wire, which the fast way has no room for.
func (s *Server) refuseBatch(in *inbox) error {
	m := &jobwardv1.BatchCheckRequest{Token: string(in.token)}
	for i := range in.questions {
		if err := in.questions[i].check(); err != nil {
			return within(i, err)
		}
		q := &jobwardv1.Question{}
		in.questions[i].into(q)
		m.Questions = append(m.Questions, q)
	}
	if in.more {
		m.Questions = append(m.Questions, &jobwardv1.Question{})
	}
	_, err := wire.BatchRequests(s.opt.Tokens, m, nil)
	return err
}

func (s *Server) refuseStream(in *inbox) error {
	m := &jobwardv1.CheckStreamRequest{}
	for i := range in.questions {
		if err := in.questions[i].check(); err != nil {
			return within(i, err)
		}
		q := jobwardv1.Question{}
		in.questions[i].into(&q)
		m.Questions = append(m.Questions, &jobwardv1.CheckRequest{
			Token: string(in.questions[i].token), TargetProjectId: q.TargetProjectId, TargetProjectPath: q.TargetProjectPath,
			Permission: q.Permission, Surface: q.Surface,
		})
	}
	if in.more {
		m.Questions = append(m.Questions, &jobwardv1.CheckRequest{})
	}
	_, err := wire.StreamRequests(s.opt.Tokens, m, nil)
	return err
}

// within puts a violation below the question that it is about.
func within(i int, err error) error {
	v := wire.AsError(err).Violations[0]
	return authz.Invalid(fmt.Sprintf("questions[%d].%s", i, v.Field), "%s", v.Message)
}
