// Package telemetry sets up logs, metrics and traces for the programs of this project. It holds no global logger, meter or tracer: what it makes is
// passed on.
//
// # Metrics
//
// Instruments are named jobward.WHAT.MEASURE and carry a unit, as OpenTelemetry has it: jobward.check.duration in "s" is scraped as
// jobward_check_duration_seconds, the counter jobward.checks as jobward_checks_total. Units in braces ("{call}") and no unit leave the
// name alone; the unit "1" makes a gauge end in _ratio, so give it to ratios only. Histograms in "s" get buckets from 10 µs to
// 10 s ([Buckets]); others name their own with metric.WithExplicitBucketBoundaries. There are no scope labels, so a name belongs to one
// meter of the process. Beside ours stand those of the Go runtime, of the process, and jobward_build_info.
//
// # OpenTelemetry's environment
//
// Metrics can always be scraped. Beyond that nothing is exported until the standard variables ask for it, and no span is recorded: without an
// exporter the tracer provider does nothing. Traces go out when OTEL_TRACES_EXPORTER is otlp, or when it is unset and OTEL_EXPORTER_OTLP_ENDPOINT or
// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set; metrics likewise (OTEL_METRICS_EXPORTER may also be prometheus, which adds
// nothing). OTEL_SDK_DISABLED=true ends all export, not the scraping. The protocol is OTLP over gRPC and no other. Logs go to standard error
// only. The sampler and all limits are those of the SDK, from OTEL_TRACES_SAMPLER, OTEL_BSP_… and so on; note that the default sampler
// takes every trace.
//
// The SDK ignores what it cannot parse. We do not: a bad value, and a value that asks for what we cannot do, is an error at start. Variables
// with a name unknown to us may be meant for programs in other languages and are reported as a warning.
package telemetry
