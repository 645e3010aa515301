package telemetry

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEnvironAsksFor(t *testing.T) {
	const all, traces, metrics = "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4317", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://c:4317", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://c:4317"
	for _, row := range []struct {
		vars            []string
		traces, metrics bool
		ignored         []string
	}{
		{nil, false, false, nil},
		{[]string{"PATH=/bin", "HOTEL_X=1", "OTEL_SERVICE_NAME=x", "OTEL_TRACES_SAMPLER=always_on"}, false, false, nil},
		{[]string{all}, true, true, nil},
		{[]string{traces}, true, false, nil},
		{[]string{metrics}, false, true, nil},
		{[]string{"OTEL_TRACES_EXPORTER=otlp"}, true, false, nil},
		{[]string{"OTEL_METRICS_EXPORTER=otlp"}, false, true, nil},
		{[]string{all, "OTEL_TRACES_EXPORTER=none"}, false, true, nil},
		{[]string{all, "OTEL_METRICS_EXPORTER=none"}, true, false, nil},
		{[]string{all, "OTEL_METRICS_EXPORTER=prometheus", "OTEL_LOGS_EXPORTER=none"}, true, false, nil},
		{[]string{all, "OTEL_SDK_DISABLED=true"}, false, false, nil},
		{[]string{all, "OTEL_SDK_DISABLED=False"}, true, true, nil},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=", "OTEL_TRACES_EXPORTER=", "OTEL_PROPAGATORS="}, false, false, nil},
		{[]string{"OTEL_TRACES_SAMPLERS=x", "OTEL_JAVA=1", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=http://c"}, false, false,
			[]string{"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "OTEL_JAVA", "OTEL_TRACES_SAMPLERS"}},
	} {
		got, err := readEnviron(row.vars)
		if err != nil || got.traces != row.traces || got.metrics != row.metrics || !slices.Equal(got.ignored, row.ignored) {
			t.Errorf("%q: %+v, %v", row.vars, got, err)
		}
	}
}

func TestEnvironRefused(t *testing.T) {
	dir := t.TempDir()
	notPEM := filepath.Join(dir, "not.pem")
	if err := os.WriteFile(notPEM, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ vars, want string }{
		{"OTEL_SDK_DISABLED=yes", `"yes" is not supported; use true or false`},
		{"OTEL_TRACES_EXPORTER=zipkin", `"zipkin" is not supported; use otlp or none`},
		{"OTEL_TRACES_EXPORTER=otlp,none", "use otlp or none"},
		{"OTEL_TRACES_EXPORTER=OTLP", "use otlp or none"},
		{"OTEL_METRICS_EXPORTER=console", "use otlp or prometheus or none"},
		{"OTEL_LOGS_EXPORTER=otlp", "use none"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "use grpc"},
		{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json", "use grpc"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4317", "http://HOST:PORT"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=//collector:4317", "http://HOST:PORT"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://", "http://HOST:PORT"},
		{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://a b", "http://HOST:PORT"},
		{"OTEL_EXPORTER_OTLP_HEADERS=Bearer s3cret", "item 1 is not of the form name=value"},
		{"OTEL_EXPORTER_OTLP_HEADERS=a=b,s3cret%zz=%zz", "item 2 is not"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT=10s", "whole number"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT=0", "whole number"},
		{"OTEL_EXPORTER_OTLP_COMPRESSION=GZIP", "use gzip or none"},
		{"OTEL_EXPORTER_OTLP_INSECURE=1", "use true or false"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE=" + dir + "/missing", "no such file"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE=" + notPEM, "not.pem holds no certificate"},
		{"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=" + notPEM, "variables OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY: "},
		{"OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY=" + notPEM, "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY: "},
		{"OTEL_TRACES_SAMPLER=sometimes", "parentbased_traceidratio"},
		{"OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=1.5", "not a number from 0 to 1"},
		{"OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=NaN", "not a number from 0 to 1"},
		{"OTEL_TRACES_SAMPLER_ARG=0.5", "means nothing without OTEL_TRACES_SAMPLER"},
		{"OTEL_BSP_MAX_QUEUE_SIZE=-1", "from 1 to 1048576"},
		{"OTEL_BSP_MAX_QUEUE_SIZE=2000000000", "from 1 to 1048576"},
		{"OTEL_BSP_SCHEDULE_DELAY=5s", "whole number"},
		{"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=-2", "from -1 to"},
		{"OTEL_METRIC_EXPORT_INTERVAL=1m", "whole number"},
		{"OTEL_METRICS_EXEMPLAR_FILTER=on", "always_on or always_off or trace_based"},
		{"OTEL_RESOURCE_ATTRIBUTES=a", "item 1"},
		{"OTEL_PROPAGATORS=b3", "tracecontext or baggage or none"},
		{"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=sum", "cumulative or delta"},
	} {
		vars := strings.Fields(row.vars)
		if strings.Contains(row.vars, "HEADERS") || strings.Contains(row.vars, "a b") {
			vars = []string{row.vars}
		}
		_, err := readEnviron(vars)
		name, _, _ := strings.Cut(vars[len(vars)-1], "=")
		if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v; want %q", row.vars, err, row.want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error repeats a secret: %v", err)
		}
	}
	_, err := readEnviron([]string{"OTEL_TRACES_EXPORTER=a", "OTEL_PROPAGATORS=b"})
	if err == nil || !strings.Contains(err.Error(), "OTEL_TRACES_EXPORTER") || !strings.Contains(err.Error(), "OTEL_PROPAGATORS") {
		t.Errorf("only one of two faults is told: %v", err)
	}
}

func TestEnvironAccepted(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readEnviron([]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=https://collector:4317", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_EXPORTER_OTLP_TIMEOUT=10000",
		"OTEL_EXPORTER_OTLP_HEADERS=authorization=Basic%20dXNlcg==,x=y", "OTEL_EXPORTER_OTLP_COMPRESSION=gzip", "OTEL_EXPORTER_OTLP_CERTIFICATE=" + ca,
		"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.01", "OTEL_RESOURCE_ATTRIBUTES=deployment.environment=prod,a=b%2Cc",
		"OTEL_PROPAGATORS=tracecontext,baggage", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT=-1", "OTEL_METRIC_EXPORT_INTERVAL=60000",
	}); err != nil {
		t.Error(err)
	}
}
