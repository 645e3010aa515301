package telemetry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
)

// Options tell Start about the program.
type Options struct {
	// Service is the name of the program in traces and pushed metrics, such as "jobward-pdp"; OTEL_SERVICE_NAME goes before it.
	Service string
	// Version of the program, for jobward_build_info and traces.
	Version string
	// Log takes warnings, and the errors of exports, which happen at any time until Shutdown.
	Log *slog.Logger
}

// Telemetry is what a program measures with. All of it is safe for concurrent use, and harmless but useless after Shutdown.
type Telemetry struct {
	// Meters makes the meters whose instruments are scraped and, if the environment asks for it, pushed.
	Meters metric.MeterProvider
	// Producers takes metrics that are counted in another way, which are scraped and pushed like those of Meters.
	Producers *Producers
	// Tracers records nothing unless Tracing.
	Tracers trace.TracerProvider
	// Tracing says that spans are exported. While it is false, servers save themselves the price of interceptors that make them.
	Tracing bool
	// Propagator reads and writes the trace context of calls: W3C trace context and baggage, or what OTEL_PROPAGATORS names.
	Propagator propagation.TextMapPropagator
	// Scrape serves the metrics to Prometheus, in the format that it asks for.
	Scrape http.Handler

	stops []func(context.Context) error
	once  sync.Once
}

// Buckets returns the upper bounds, in seconds, of the buckets that histograms in seconds get: three to the decade from 2.5 µs to
// 10 s, because an answer from a sidecar's cache takes a few µs, one over a network some 50 or more, and a revocation that waits for a lease some seconds.
func Buckets() []float64 {
	all := make([]float64, len(buckets))
	for i, d := range buckets {
		all[i] = d.Seconds()
	}
	return all
}

var buckets = [...]time.Duration{
	2500, 5 * time.Microsecond, 10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond,
	500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second,
	10 * time.Second,
}

// Start sets everything up by the process's environment. An error says which variable is wrong; then nothing was started. It also makes
// itself the OpenTelemetry error handler, which there is one of in a process: what fails later is logged to opt.Log.
func Start(ctx context.Context, opt Options) (t *Telemetry, err error) {
	env, err := readEnviron(os.Environ())
	if err != nil {
		return nil, err
	}
	if len(env.ignored) > 0 {
		opt.Log.Warn("environment variables that look like OpenTelemetry's and are not known here", "ignored", env.ignored)
	}
	res, err := resource.New(ctx,
		resource.WithAttributes(
			attribute.String("service.name", opt.Service),
			attribute.String("service.version", opt.Version),
			attribute.String("service.instance.id", rand.Text()), // or replicas that push would overwrite each other
		),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv(), // last, so that it wins
	)
	if err != nil {
		return nil, fmt.Errorf("telemetry resource, see OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		opt.Log.Warn("telemetry was not exported", "error", err)
	}))
	t = &Telemetry{Propagator: propagator(os.Getenv("OTEL_PROPAGATORS")), Tracers: tracenoop.NewTracerProvider(), Producers: &Producers{}}
	if env.traces {
		if err := t.startTraces(ctx, res); err != nil {
			return nil, err
		}
	}
	if err := t.startMetrics(ctx, res, env.metrics, opt); err != nil {
		return nil, errors.Join(err, t.Shutdown(ctx))
	}
	return t, nil
}

// Shutdown exports what is still held and ends all goroutines, within the time ctx gives. The first call counts; later ones return nil.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var errs []error
	t.once.Do(func() {
		for _, stop := range t.stops {
			errs = append(errs, stop(ctx))
		}
	})
	return errors.Join(errs...)
}

func (t *Telemetry) startTraces(ctx context.Context, res *resource.Resource) error {
	exporter, err := otlptracegrpc.New(ctx)
	if err != nil {
		return fmt.Errorf("trace exporter: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithBatcher(exporter))
	t.Tracers, t.Tracing = provider, true
	// The provider stops the exporter too, unless its time runs out: then connection and retries would live on.
	t.stops = append(t.stops, provider.Shutdown, exporter.Shutdown)
	return nil
}

func (t *Telemetry) startMetrics(ctx context.Context, res *resource.Resource, push bool, opt Options) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	scraped, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo(), otelprometheus.WithoutTargetInfo(),
		otelprometheus.WithProducer(t.Producers))
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	options := []sdkmetric.Option{
		sdkmetric.WithResource(res),
		sdkmetric.WithReader(scraped),
		sdkmetric.WithView(sdkmetric.NewView(
			sdkmetric.Instrument{Kind: sdkmetric.InstrumentKindHistogram, Unit: "s"},
			sdkmetric.Stream{Aggregation: sdkmetric.AggregationExplicitBucketHistogram{Boundaries: Buckets()}},
		)),
	}
	if push {
		exporter, err := otlpmetricgrpc.New(ctx)
		if err != nil {
			return fmt.Errorf("metric exporter: %w", err)
		}
		options = append(options, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter, sdkmetric.WithProducer(t.Producers))))
	}
	provider := sdkmetric.NewMeterProvider(options...)
	t.Meters = provider
	t.stops = append(t.stops, provider.Shutdown)
	t.Scrape = promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(opt.Log.Handler(), slog.LevelError),
		EnableOpenMetrics:   true, // for exemplars: the traces behind a bucket
		MaxRequestsInFlight: 4,
		Timeout:             10 * time.Second,
	})
	return buildInfo(provider, opt.Version)
}

// buildInfo registers the gauge that is always 1 and whose labels say what runs.
func buildInfo(meters metric.MeterProvider, version string) error {
	labels := metric.WithAttributes(attribute.String("version", version), attribute.String("go_version", runtime.Version()))
	_, err := meters.Meter("github.com/jobward/jobward/internal/telemetry").Int64ObservableGauge("jobward.build.info",
		metric.WithDescription("Always 1; the labels say what was built, and with what."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(1, labels)
			return nil
		}))
	return err
}

// propagator takes names that readEnviron has checked.
func propagator(names string) propagation.TextMapPropagator {
	if names == "" {
		names = "tracecontext,baggage"
	}
	var all []propagation.TextMapPropagator
	for name := range strings.SplitSeq(names, ",") {
		switch name {
		case "tracecontext":
			all = append(all, propagation.TraceContext{})
		case "baggage":
			all = append(all, propagation.Baggage{})
		}
	}
	return propagation.NewCompositeTextMapPropagator(all...)
}
