package hot

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"

	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

// Tracer makes spans for calls of the hot path. Without a Tracer in it, it makes none.
type Tracer struct {
	Tracer     trace.Tracer
	Propagator propagation.TextMapPropagator
}

// Span is the span of one call, or none.
type Span struct{ span trace.Span }

// Start starts a span when the caller's traceparent is sampled. It never starts a trace
// of its own: at this rate that is the caller's choice.
func (t Tracer) Start(ctx context.Context, name string) Span {
	if t.Tracer == nil || !sampled(metadata.ValueFromIncomingContext(ctx, "traceparent")) {
		return Span{}
	}
	md, _ := metadata.FromIncomingContext(ctx)
	ctx = t.Propagator.Extract(ctx, carrier(md))
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return Span{} // there was more in it that is no good
	}
	_, span := t.Tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer))
	return Span{span}
}

// End ends the span of a call that asked so many questions, with the decision on the last.
func (s Span) End(questions int, last *authz.Decision, err error) {
	if s.span == nil {
		return
	}
	if err != nil {
		s.span.SetStatus(otelcodes.Error, wire.AsError(err).Code)
	} else {
		s.span.SetAttributes(attribute.Bool("jobward.allow", last.Allow), attribute.String("jobward.reason", last.Reason.String()),
			attribute.Int("jobward.questions", questions), attribute.Int64("jobward.revision", int64(last.Revision)))
	}
	s.span.End()
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
