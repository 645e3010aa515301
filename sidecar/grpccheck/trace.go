package grpccheck

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"

	"github.com/jobward/jobward/internal/wire"
)

// hotSpan is the span of a call of the hot path, or none.
type hotSpan struct{ span trace.Span }

// span starts one when spans are exported and the caller's traceparent is sampled. It
// never starts a trace of its own: at this rate that is the caller's choice.
func (s *Server) span(ctx context.Context, d *door) hotSpan {
	if s.tracer == nil || !sampled(metadata.ValueFromIncomingContext(ctx, "traceparent")) {
		return hotSpan{}
	}
	md, _ := metadata.FromIncomingContext(ctx)
	ctx = s.opt.Propagator.Extract(ctx, carrier(md))
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return hotSpan{} // there was more in it that is no good
	}
	_, span := s.tracer.Start(ctx, d.name(), trace.WithSpanKind(trace.SpanKindServer))
	return hotSpan{span}
}

// end ends the span with the last decision of the call.
func (h hotSpan) end(c *scratch, err error) {
	if h.span == nil {
		return
	}
	if err != nil {
		e := wire.AsError(err)
		h.span.SetStatus(otelcodes.Error, e.Code)
	} else {
		h.span.SetAttributes(attribute.Bool("jobward.allow", c.dec.Allow), attribute.String("jobward.reason", c.dec.Reason.String()),
			attribute.Int("jobward.questions", len(c.reqs)), attribute.Int64("jobward.revision", int64(c.dec.Revision)))
	}
	h.span.End()
}

// sampled looks at the flags of a W3C traceparent, "00-TRACE-SPAN-FLAGS", and at
// nothing else: whether the rest is good is the propagator's to say, who needs a copy
// of all metadata for it.
func sampled(values []string) bool {
	if len(values) != 1 || len(values[0]) < 55 {
		return false
	}
	switch c := values[0][54]; {
	case '0' <= c && c <= '9':
		return (c-'0')&1 == 1
	case 'a' <= c && c <= 'f':
		return (c-'a')&1 == 1
	}
	return false
}

// carrier reads trace context from metadata.
type carrier metadata.MD

// Get implements propagation.TextMapCarrier.
func (c carrier) Get(key string) string {
	if v := metadata.MD(c).Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set implements propagation.TextMapCarrier; nothing is written to what came in.
func (carrier) Set(string, string) {}

// Keys implements propagation.TextMapCarrier.
func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	return keys
}
