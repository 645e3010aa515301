package telemetry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// environ is what OpenTelemetry's variables ask for.
type environ struct {
	traces, metrics bool // export them
	// ignored are the variables that nobody here reads, sorted.
	ignored []string
}

// CheckEnvironment says what [Start] would refuse in vars ("NAME=value", as os.Environ has them), and starts nothing.
func CheckEnvironment(vars []string) error {
	_, err := readEnviron(vars)
	return err
}

// readEnviron checks every OTEL_… variable of vars ("NAME=value", as os.Environ has them). The error names each that is wrong and never
// holds the value of one that may be secret.
func readEnviron(vars []string) (environ, error) {
	set := map[string]string{}
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "OTEL_") && value != "" { // set and empty means unset, by the specification
			set[name] = value
		}
	}
	var env environ
	var errs []error
	known := checks()
	for _, name := range slices.Sorted(maps.Keys(set)) {
		check, ok := known[name]
		if !ok {
			env.ignored = append(env.ignored, name)
		} else if err := check(set[name]); err != nil {
			errs = append(errs, fmt.Errorf("environment variable %s: %w", name, err))
		}
	}
	errs = append(errs, checkPairs(set)...)
	disabled := strings.EqualFold(set["OTEL_SDK_DISABLED"], "true")
	wants := func(signal string) bool {
		switch set["OTEL_"+signal+"_EXPORTER"] {
		case "otlp":
			return true
		case "":
			return set["OTEL_EXPORTER_OTLP_ENDPOINT"] != "" || set["OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT"] != ""
		}
		return false
	}
	env.traces = !disabled && wants("TRACES")
	env.metrics = !disabled && wants("METRICS")
	return env, errors.Join(errs...)
}

// check says what is wrong with the value of a variable, which is not empty.
type check func(value string) error

// checks has a row for each variable that the SDK, its exporters or we read.
func checks() map[string]check {
	anything := func(string) error { return nil }
	m := map[string]check{
		"OTEL_SDK_DISABLED":                 boolean,
		"OTEL_SERVICE_NAME":                 anything,
		"OTEL_RESOURCE_ATTRIBUTES":          pairs,
		"OTEL_PROPAGATORS":                  propagators,
		"OTEL_TRACES_EXPORTER":              oneOf("otlp", "none"),
		"OTEL_METRICS_EXPORTER":             oneOf("otlp", "prometheus", "none"),
		"OTEL_LOGS_EXPORTER":                oneOf("none"), // they go to standard error
		"OTEL_METRICS_EXEMPLAR_FILTER":      oneOf("always_on", "always_off", "trace_based"),
		"OTEL_TRACES_SAMPLER":               oneOf("always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"),
		"OTEL_TRACES_SAMPLER_ARG":           ratio,
		"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": integer(-1, 1<<20), "OTEL_ATTRIBUTE_COUNT_LIMIT": integer(-1, 1<<20),
		"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": integer(-1, 1<<20), "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": integer(-1, 1<<20),
		"OTEL_SPAN_EVENT_COUNT_LIMIT": integer(-1, 1<<20), "OTEL_SPAN_LINK_COUNT_LIMIT": integer(-1, 1<<20),
		"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": integer(-1, 1<<20), "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": integer(-1, 1<<20),
		"OTEL_BSP_SCHEDULE_DELAY": milliseconds, "OTEL_BSP_EXPORT_TIMEOUT": milliseconds,
		"OTEL_BSP_MAX_QUEUE_SIZE": integer(1, 1<<20), "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": integer(1, 1<<20),
		"OTEL_METRIC_EXPORT_INTERVAL": milliseconds, "OTEL_METRIC_EXPORT_TIMEOUT": milliseconds,
		"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE":        oneOf("cumulative", "delta", "lowmemory"),
		"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": oneOf("explicit_bucket_histogram", "base2_exponential_bucket_histogram"),
	}
	for _, of := range []string{"OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_METRICS_"} {
		m[of+"ENDPOINT"] = endpoint
		m[of+"PROTOCOL"] = oneOf("grpc")
		m[of+"HEADERS"] = pairs
		m[of+"TIMEOUT"] = milliseconds
		m[of+"COMPRESSION"] = oneOf("gzip", "none")
		m[of+"INSECURE"] = boolean
		m[of+"CERTIFICATE"] = certificates
		m[of+"CLIENT_CERTIFICATE"] = anything // with its key, by checkPairs
		m[of+"CLIENT_KEY"] = anything
	}
	return m
}

// checkPairs looks at variables that mean something only together.
func checkPairs(set map[string]string) (errs []error) {
	for _, of := range []string{"OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_METRICS_"} {
		cert, key := set[of+"CLIENT_CERTIFICATE"], set[of+"CLIENT_KEY"]
		if cert == "" && key == "" {
			continue
		}
		if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
			errs = append(errs, fmt.Errorf("environment variables %sCLIENT_CERTIFICATE and %[1]sCLIENT_KEY: %w", of, err))
		}
	}
	if set["OTEL_TRACES_SAMPLER_ARG"] != "" && set["OTEL_TRACES_SAMPLER"] == "" {
		errs = append(errs, errors.New("environment variable OTEL_TRACES_SAMPLER_ARG: means nothing without OTEL_TRACES_SAMPLER"))
	}
	return errs
}

// oneOf is strict about case and blanks because the SDK is about some variables, and then silently does something else.
func oneOf(values ...string) check {
	return func(v string) error {
		if !slices.Contains(values, v) {
			return fmt.Errorf("%q is not supported; use %s", v, strings.Join(values, " or "))
		}
		return nil
	}
}

func boolean(v string) error { return oneOf("true", "false")(strings.ToLower(v)) }

// integer has an upper bound because some of them are sizes that the SDK allocates.
func integer(min, max int) check {
	return func(v string) error {
		if n, err := strconv.Atoi(v); err != nil || n < min || n > max {
			return fmt.Errorf("%q is not a whole number from %d to %d", v, min, max)
		}
		return nil
	}
}

// milliseconds are at most a day.
func milliseconds(v string) error { return integer(1, 86_400_000)(v) }

func ratio(v string) error {
	if f, err := strconv.ParseFloat(v, 64); err != nil || !(f >= 0 && f <= 1) {
		return fmt.Errorf("%q is not a number from 0 to 1", v)
	}
	return nil
}

func propagators(v string) error {
	for name := range strings.SplitSeq(v, ",") {
		if err := oneOf("tracecontext", "baggage", "none")(name); err != nil {
			return err
		}
	}
	return nil
}

// pairs is for k=v,k=v with percent escapes in the values. It repeats no value: headers hold keys.
func pairs(v string) error {
	for i, pair := range strings.Split(v, ",") {
		key, value, ok := strings.Cut(pair, "=")
		if _, err := url.PathUnescape(value); !ok || err != nil || strings.TrimSpace(key) == "" {
			return fmt.Errorf("item %d is not of the form name=value, with commas and the like as %%2C in the value", i+1)
		}
	}
	return nil
}

// endpoint insists on a scheme: without one, the SDK would take "host:4317" for a scheme, or turn on TLS by surprise. The value is not
// repeated because URLs can hold passwords.
func endpoint(v string) error {
	u, err := url.Parse(v)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return errors.New("is not of the form http://HOST:PORT (plain text) or https://HOST:PORT (TLS)")
	}
	return nil
}

func certificates(path string) error {
	pem, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no certificate in PEM", path)
	}
	return nil
}
