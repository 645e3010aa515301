package telemetry

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
)

// environment clears what the machine has of OpenTelemetry's variables and sets others for one test.
func environment(t *testing.T, vars ...string) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
}

func start(t *testing.T, log io.Writer) *Telemetry {
	t.Helper()
	tel, err := Start(context.Background(), Options{Service: "jobward-test", Version: "v1.2.3", Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return tel
}

func stop(t *testing.T, tel *Telemetry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := tel.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// noLeaks fails the test for goroutines that it started and left, once all cleaning up is done.
func noLeaks(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

func scrape(t *testing.T, tel *Telemetry, accept string) string {
	t.Helper()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	tel.Scrape.ServeHTTP(w, r)
	if w.Code != 200 {
		t.Fatalf("scraping: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestScrapedNames(t *testing.T) {
	noLeaks(t)
	environment(t)
	tel := start(t, io.Discard)
	defer stop(t, tel)
	m := tel.Meters.Meter("test")
	ctx := context.Background()
	duration, _ := m.Float64Histogram("jobward.check.duration", metric.WithUnit("s"), metric.WithDescription("Time for a check."))
	spelt, _ := m.Float64Histogram("jobward_commit_duration_seconds", metric.WithUnit("s"))
	size, _ := m.Int64Histogram("jobward.batch.size", metric.WithUnit("{question}"), metric.WithExplicitBucketBoundaries(1, 10, 100))
	checks, _ := m.Int64Counter("jobward.checks", metric.WithUnit("{check}"))
	bytesSent, _ := m.Int64Counter("jobward.sent", metric.WithUnit("By"))
	jobs, _ := m.Int64Gauge("jobward.live_jobs")
	full, _ := m.Float64Gauge("jobward.disk.full", metric.WithUnit("1"))
	duration.Record(ctx, 50e-6, metric.WithAttributes(attribute.String("result", "allow")))
	spelt.Record(ctx, 1)
	size.Record(ctx, 7)
	checks.Add(ctx, 3, metric.WithAttributes(attribute.String("result", "allow")))
	bytesSent.Add(ctx, 1)
	jobs.Record(ctx, 42)
	full.Record(ctx, 0.5)

	out := scrape(t, tel, "")
	for _, want := range []string{
		"# HELP jobward_check_duration_seconds Time for a check.", "# TYPE jobward_check_duration_seconds histogram",
		`jobward_check_duration_seconds_bucket{result="allow",le="2.5e-05"} 0`, `jobward_check_duration_seconds_bucket{result="allow",le="5e-05"} 1`,
		`jobward_check_duration_seconds_bucket{result="allow",le="1e-05"} 0`, `jobward_check_duration_seconds_bucket{result="allow",le="10"} 1`,
		`jobward_check_duration_seconds_count{result="allow"} 1`,
		"jobward_commit_duration_seconds_count 1", `jobward_batch_size_bucket{le="10"} 1`, `jobward_checks_total{result="allow"} 3`,
		"jobward_sent_bytes_total 1", "jobward_live_jobs 42", "jobward_disk_full_ratio 0.5",
		`jobward_build_info{go_version="go1`, `version="v1.2.3"} 1`, "go_goroutines ", "go_gc_duration_seconds", "process_resident_memory_bytes", "process_open_fds",
	} {
		if !strings.Contains(out, "\n"+want) && !strings.Contains(out, want+"\n") && !(strings.HasPrefix(want, "version") && strings.Contains(out, want)) {
			t.Errorf("no %s", want)
		}
	}
	for _, not := range []string{"otel_scope", "target_info", "seconds_seconds", "total_total", "jobward_build_info_"} {
		if strings.Contains(out, not) {
			t.Errorf("has %s", not)
		}
	}
	if n := strings.Count(out, "jobward_check_duration_seconds_bucket"); n != len(Buckets())+1 {
		t.Errorf("%d buckets", n)
	}
	if n := strings.Count(out, "jobward_batch_size_bucket"); n != 4 {
		t.Errorf("%d buckets of a histogram that named three bounds", n)
	}
	if open := scrape(t, tel, "application/openmetrics-text; version=1.0.0"); !strings.HasSuffix(open, "# EOF\n") {
		t.Error("OpenMetrics is not served to those who ask for it")
	}
}

// TestQuietByDefault: with nothing configured no span is recorded and nothing runs.
func TestQuietByDefault(t *testing.T) {
	noLeaks(t)
	environment(t, "OTEL_TRACES_SAMPLER=always_on", "OTEL_UNHEARD_OF=1")
	var log bytes.Buffer
	tel := start(t, &log)
	_, span := tel.Tracers.Tracer("test").Start(context.Background(), "work")
	if tel.Tracing || span.IsRecording() || span.SpanContext().IsValid() {
		t.Error("a span is recorded for nobody")
	}
	if !strings.Contains(log.String(), "OTEL_UNHEARD_OF") || strings.Contains(log.String(), "SAMPLER") {
		t.Errorf("unknown variables: %s", log.String())
	}
	stop(t, tel)
	stop(t, tel) // again is nothing
}

func TestStartRefuses(t *testing.T) {
	noLeaks(t)
	environment(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_TRACES_SAMPLER=nonsense")
	tel, err := Start(context.Background(), Options{Service: "x", Log: slog.New(slog.DiscardHandler)})
	if err == nil || tel != nil || !strings.Contains(err.Error(), "OTEL_TRACES_SAMPLER") {
		t.Errorf("%v, %v", tel, err)
	}
}

// collector is an OTLP receiver that keeps what it gets.
type collector struct {
	collectortrace.UnimplementedTraceServiceServer
	collectormetrics.UnimplementedMetricsServiceServer
	mu      sync.Mutex
	spans   []string // service, then name
	metrics []string
}

func service(attrs []*commonpb.KeyValue) string {
	for _, a := range attrs {
		if a.Key == "service.name" {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

func (c *collector) exportTraces(r *collectortrace.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range r.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				c.spans = append(c.spans, service(rs.Resource.Attributes)+" "+s.Name)
			}
		}
	}
}

func (c *collector) exportMetrics(r *collectormetrics.ExportMetricsServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rm := range r.ResourceMetrics {
		for _, sm := range rm.ScopeMetrics {
			for _, m := range sm.Metrics {
				c.metrics = append(c.metrics, service(rm.Resource.Attributes)+" "+m.Name)
			}
		}
	}
}

type traceService struct {
	collectortrace.UnimplementedTraceServiceServer
	*collector
}

func (s traceService) Export(_ context.Context, r *collectortrace.ExportTraceServiceRequest) (*collectortrace.ExportTraceServiceResponse, error) {
	s.exportTraces(r)
	return &collectortrace.ExportTraceServiceResponse{}, nil
}

type metricsService struct {
	collectormetrics.UnimplementedMetricsServiceServer
	*collector
}

func (s metricsService) Export(_ context.Context, r *collectormetrics.ExportMetricsServiceRequest) (*collectormetrics.ExportMetricsServiceResponse, error) {
	s.exportMetrics(r)
	return &collectormetrics.ExportMetricsServiceResponse{}, nil
}

func newCollector(t *testing.T) (*collector, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, s := &collector{}, grpc.NewServer()
	collectortrace.RegisterTraceServiceServer(s, traceService{collector: c})
	collectormetrics.RegisterMetricsServiceServer(s, metricsService{collector: c})
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return c, "http://" + l.Addr().String()
}

func TestExport(t *testing.T) {
	noLeaks(t)
	c, endpoint := newCollector(t)
	environment(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+endpoint, "OTEL_SERVICE_NAME=renamed", "OTEL_TRACES_SAMPLER=parentbased_always_off")
	tel := start(t, io.Discard)
	if !tel.Tracing {
		t.Error("an exporter is configured and Tracing is false")
	}
	tracer := tel.Tracers.Tracer("test")
	// A caller that samples says so in its traceparent; with this sampler nobody else is traced.
	header := propagation.MapCarrier{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	_, sampled := tracer.Start(tel.Propagator.Extract(context.Background(), header), "sampled")
	sampled.End()
	_, other := tracer.Start(context.Background(), "other")
	other.End()
	if !sampled.IsRecording() && !sampled.SpanContext().IsSampled() || other.SpanContext().IsSampled() {
		t.Error("the sampler of the environment is not followed")
	}
	checks, _ := tel.Meters.Meter("test").Int64Counter("jobward.checks")
	checks.Add(context.Background(), 1)
	stop(t, tel) // flushes
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := strings.Join(c.spans, ","); got != "renamed sampled" {
		t.Errorf("exported spans: %s", got)
	}
	if got := strings.Join(c.metrics, ","); !strings.Contains(got, "renamed jobward.checks") || !strings.Contains(got, "renamed jobward.build.info") {
		t.Errorf("exported metrics: %s", got)
	}
}

func TestServiceName(t *testing.T) {
	noLeaks(t)
	c, endpoint := newCollector(t)
	environment(t, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="+endpoint, "OTEL_SERVICE_NAME=")
	tel := start(t, io.Discard)
	_, span := tel.Tracers.Tracer("test").Start(context.Background(), "work") // the default sampler takes everything
	span.End()
	stop(t, tel)
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := strings.Join(c.spans, ","); got != "jobward-test work" || len(c.metrics) > 0 {
		t.Errorf("exported %s and %q", got, c.metrics)
	}
}

// TestCollectorGone: nobody listens; shutting down takes the time it is given and no more, and what is lost is logged.
func TestCollectorGone(t *testing.T) {
	noLeaks(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	endpoint := "http://" + l.Addr().String()
	l.Close()
	environment(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+endpoint)
	tel := start(t, io.Discard)
	if !tel.Tracing {
		t.Error("not tracing")
	}
	_, span := tel.Tracers.Tracer("test").Start(context.Background(), "lost")
	span.End()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := tel.Shutdown(ctx); err == nil {
		t.Error("a span was lost and nobody says so")
	}
}

func TestExportErrorsAreLogged(t *testing.T) {
	environment(t)
	var log bytes.Buffer
	tel := start(t, &log)
	defer stop(t, tel)
	otel.Handle(context.DeadlineExceeded)
	if !strings.Contains(log.String(), "telemetry was not exported") || !strings.Contains(log.String(), "deadline exceeded") {
		t.Error(log.String())
	}
}

func TestPropagators(t *testing.T) {
	ctx := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}}))
	for names, want := range map[string]bool{"": true, "tracecontext": true, "baggage": false, "none": false, "baggage,tracecontext": true} {
		environment(t, "OTEL_PROPAGATORS="+names)
		tel := start(t, io.Discard)
		header := propagation.MapCarrier{}
		tel.Propagator.Inject(ctx, header)
		if (header["traceparent"] != "") != want {
			t.Errorf("%q: %v", names, header)
		}
		stop(t, tel)
	}
}

func TestBuckets(t *testing.T) {
	b := Buckets()
	for i := 1; i < len(b); i++ {
		if b[i] <= b[i-1] || b[i] > 2.6*b[i-1] {
			t.Errorf("after %v comes %v", b[i-1], b[i])
		}
	}
	if b[0] != 2.5e-6 || b[len(b)-1] != 10 {
		t.Errorf("from %v to %v", b[0], b[len(b)-1])
	}
}

// TestOneMeterNameTwice: two instruments of one name in one scrape would be an error at every scrape, so it is seen here that the same meter twice is not.
func TestOneMeterNameTwice(t *testing.T) {
	environment(t)
	tel := start(t, io.Discard)
	defer stop(t, tel)
	for range 2 {
		c, err := tel.Meters.Meter("test").Int64Counter("jobward.checks")
		if err != nil {
			t.Fatal(err)
		}
		c.Add(context.Background(), 1)
	}
	if out := scrape(t, tel, ""); !regexp.MustCompile(`(?m)^jobward_checks_total 2$`).MatchString(out) {
		t.Error(out)
	}
}

func BenchmarkRecord(b *testing.B) {
	tel, err := Start(context.Background(), Options{Service: "x", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer tel.Shutdown(context.Background())
	h, _ := tel.Meters.Meter("test").Float64Histogram("jobward.check.duration", metric.WithUnit("s"))
	prepared := metric.WithAttributeSet(attribute.NewSet(attribute.String("result", "allow")))
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		h.Record(ctx, 50e-6, prepared)
	}
}

// TestDurations: our own histogram is scraped as one of OpenTelemetry with the same measurements is.
func TestDurations(t *testing.T) {
	noLeaks(t)
	environment(t)
	tel := start(t, io.Discard)
	defer stop(t, tel)
	ours, unused := NewDurations(attribute.String("door", "Check")), NewDurations(attribute.String("door", "Other"))
	tel.Producers.Add("test", "jobward.ours", "Time.", ours, unused)
	theirs, _ := tel.Meters.Meter("test").Float64Histogram("jobward.theirs", metric.WithUnit("s"), metric.WithDescription("Time."))
	door := metric.WithAttributes(attribute.String("door", "Check"))
	for _, took := range append(slices.Clone(buckets[:]), 0, 1, 2501, 60*time.Microsecond, time.Hour) {
		ours.Record(took)
		theirs.Record(context.Background(), took.Seconds(), door)
	}
	lines := func(name string) (out []string) {
		for line := range strings.Lines(scrape(t, tel, "")) {
			if strings.Contains(line, name) {
				out = append(out, strings.ReplaceAll(line, name, "NAME"))
			}
		}
		return out
	}
	if got, want := lines("jobward_ours"), lines("jobward_theirs"); len(want) < len(buckets)+4 || !slices.Equal(got, want) {
		t.Errorf("ours is\n%s\ntheirs\n%s", got, want)
	}
}

func BenchmarkDurations(b *testing.B) {
	d := NewDurations()
	b.ReportAllocs()
	for b.Loop() {
		d.Record(50 * time.Microsecond)
	}
}
