module github.com/jobward/jobward

go 1.26.0

tool (
	google.golang.org/grpc/cmd/protoc-gen-go-grpc
	google.golang.org/protobuf/cmd/protoc-gen-go
	honnef.co/go/tools/cmd/staticcheck
)

require (
	buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go v1.36.12-20260825204119-511051f7f437.2 // the options type that generated messages with validation rules import
	google.golang.org/grpc v1.85.0 // the wire: server, client, health, reflection
	google.golang.org/protobuf v1.36.12 // the messages that gen/ is made of
)

require (
	buf.build/go/protovalidate v1.4.0 // the rules of control messages, as the protos state them
	github.com/alecthomas/kong v1.17.0 // commands and settings from one struct: flag, environment, file
	github.com/anishathalye/porcupine v1.3.0 // tests: histories of the real programs are checked against a model
	github.com/dgraph-io/badger/v4 v4.9.6 // the embedded store
	github.com/envoyproxy/go-control-plane/envoy v1.40.0 // tests: the messages of Envoy's ext_authz, and its client
	github.com/go-jose/go-jose/v4 v4.1.9 // signed tokens of the container registry, and JWKS
	github.com/goccy/go-yaml v1.19.2 // settings, callers and scenario files
	github.com/grpc-ecosystem/go-grpc-middleware/v2 v2.3.4 // recovery, selector and validation around control calls
	github.com/prometheus/client_golang v1.25.0 // the registry and handler behind /metrics, and runtime metrics
	go.etcd.io/etcd/api/v3 v3.7.3 // the errors of etcd's client, and the values that it reads
	go.etcd.io/etcd/client/v3 v3.7.3 // the store of several PDPs
	go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc v0.72.0 // spans of calls, when an exporter is configured
	go.opentelemetry.io/otel v1.47.0 // attributes and propagation of traces
	go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc v1.47.0 // metrics to a collector
	go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc v1.47.0 // traces to a collector
	go.opentelemetry.io/otel/exporters/prometheus v0.69.0 // metrics for Prometheus to scrape
	go.opentelemetry.io/otel/metric v1.47.0 // instruments
	go.opentelemetry.io/otel/sdk v1.47.0 // the provider of traces
	go.opentelemetry.io/otel/sdk/metric v1.47.0 // the provider of metrics, with our buckets
	go.opentelemetry.io/otel/trace v1.47.0 // spans
	go.opentelemetry.io/proto/otlp v1.11.0 // tests: a collector that takes what is exported
	go.uber.org/goleak v1.3.0 // tests: no goroutine is left behind
	go.uber.org/zap v1.27.1 // etcd's client logs by it; ours is told to be silent
	golang.org/x/sync v0.24.0 // groups of goroutines with one error
	golang.org/x/sys v0.49.0 // CLOCK_BOOTTIME, fdatasync, free space, file locks
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260928230214-8a89bd6388cc // ErrorInfo, BadRequest and RetryInfo of errors
)

require (
	cel.dev/cel-go v0.32.0 // indirect
	cel.dev/expr v0.25.3 // indirect
	github.com/BurntSushi/toml v1.4.1-0.20240526193622-a339e1f7089c // indirect
	github.com/antlr4-go/antlr/v4 v4.13.1 // indirect
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cenkalti/backoff/v5 v5.0.3 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/cncf/xds/go v0.0.0-20260202195803-dba9d589def2 // indirect
	github.com/coreos/go-semver v0.3.1 // indirect
	github.com/coreos/go-systemd/v22 v22.7.0 // indirect
	github.com/dgraph-io/ristretto/v2 v2.2.0 // indirect
	github.com/dustin/go-humanize v1.0.1 // indirect
	github.com/envoyproxy/protoc-gen-validate v1.3.3 // indirect
	github.com/go-logr/logr v1.4.4 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	github.com/golang/protobuf v1.5.4 // indirect
	github.com/google/flatbuffers v25.2.10+incompatible // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/grpc-ecosystem/grpc-gateway/v2 v2.30.0 // indirect
	github.com/klauspost/compress v1.20.1 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/planetscale/vtprotobuf v0.6.1-0.20240319094008-0393e58bdf10 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/common v0.72.0 // indirect
	github.com/prometheus/otlptranslator v1.0.0 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	go.etcd.io/etcd/client/pkg/v3 v3.7.3 // indirect
	go.opentelemetry.io/auto/sdk v1.2.1 // indirect
	go.opentelemetry.io/otel/exporters/otlp/otlptrace v1.47.0 // indirect
	go.opentelemetry.io/otel/log v1.47.0 // indirect
	go.uber.org/multierr v1.11.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/exp v0.0.0-20260820142414-ca536658362e // indirect
	golang.org/x/exp/typeparams v0.0.0-20231108232855-2478ac86f678 // indirect
	golang.org/x/mod v0.41.0 // indirect
	golang.org/x/net v0.61.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	golang.org/x/tools v0.51.0 // indirect
	google.golang.org/genproto/googleapis/api v0.0.0-20260928230214-8a89bd6388cc // indirect
	google.golang.org/grpc/cmd/protoc-gen-go-grpc v1.6.2 // indirect
	honnef.co/go/tools v0.8.2 // indirect
)
