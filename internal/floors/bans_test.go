package floors

import (
	"slices"
	"strings"
	"testing"
)

// ban is a set of imports that the code of some packages does without. Test
// files are free.
type ban struct {
	in     []string // packages, with all below them; empty: everywhere
	notIn  []string // except these
	what   []string // import paths, with all below them
	allow  []string // except exactly these
	reason string
}

func bans() []ban {
	return []ban{
		{
			in: []string{"pdp/authz", "pdp/policy", "pdp/state", "pdp/feed", "pdp/engine", "internal/lease"},
			what: []string{"google.golang.org/protobuf", "google.golang.org/grpc", "google.golang.org/genproto", "github.com/golang/protobuf",
				"github.com/grpc-ecosystem", "buf.build", module + "/gen", module + "/internal/wire"},
			reason: "messages and gRPC stop at the edge (pdp/server, internal/wire)",
		},
		{
			in:     []string{"pdp/policy", "internal/lease", "sidecar/route"},
			what:   []string{"context", "net", "os", "io/fs", "io/ioutil", "sync", "math/rand", "crypto/rand", "log", "syscall", "runtime", "unsafe"},
			allow:  []string{"net/url", "net/netip"}, // they parse, and touch no network
			reason: "what decides and who believes it are plain functions: no clock, lock, context, chance or I/O",
		},
		{
			notIn: []string{"pdp/state/statetest", "test"}, // suites for tests, in files that other packages can import
			what: []string{"testing", "net/http/httptest", "pgregory.net/rapid", "go.uber.org/goleak", "github.com/anishathalye/porcupine",
				module + "/pdp/state/statetest", module + "/sidecar/pep/peptest", module + "/test"},
			reason: "test libraries are not linked into the programs",
		},
		{
			notIn:  []string{"test"},
			what:   []string{"github.com/envoyproxy"},
			reason: "Envoy's descriptors take megabytes of every sidecar: extauthz reads and writes its messages by hand, and only tests have them",
		},
		{
			notIn:  []string{"internal/wire"},
			what:   []string{"google.golang.org/grpc/codes"},
			reason: "error kinds become codes in internal/wire and nowhere else",
		},
	}
}

// checkBans looks at the import lines of everything but tests. For pdp/authz it
// turns the list round: only the standard library is allowed.
func checkBans(tr *tree) (complaints []string) {
	for _, f := range tr.files {
		if f.test {
			continue
		}
		for _, i := range f.imports {
			if f.pkg == "pdp/authz" && strings.Contains(firstElement(i.path), ".") {
				complaints = append(complaints, tr.at(i.pos, "pdp/authz imports %s: the words need the standard library only", i.path))
				continue
			}
			for _, b := range bans() {
				if len(b.in) > 0 && !withinAny(f.pkg, b.in) || withinAny(f.pkg, b.notIn) {
					continue
				}
				if withinAny(i.path, b.what) && !slices.Contains(b.allow, i.path) {
					complaints = append(complaints, tr.at(i.pos, "%s imports %s: %s", f.pkg, i.path, b.reason))
				}
			}
		}
	}
	return complaints
}

// firstElement tells the standard library from the rest: a host name has a dot.
func firstElement(p string) string {
	first, _, _ := strings.Cut(p, "/")
	return first
}

func TestBansCatches(t *testing.T) {
	one := func(name, imports string) map[string]string {
		return map[string]string{name: "package p\nimport _ \"" + imports + "\"\n"}
	}
	const edge, pure, linked = "stop at the edge", "plain functions", "not linked into the programs"
	catches(t, checkBans, []planted{
		{"authz, library", one("pdp/authz/a.go", "golang.org/x/sync/errgroup"), "standard library only"},
		{"authz, ours", one("pdp/authz/a.go", module+"/internal/token"), "standard library only"},
		{"authz, standard", one("pdp/authz/a.go", "context"), ""},
		{"authz, test", one("pdp/authz/a_test.go", "pgregory.net/rapid"), ""},
		{"grpc in state", one("pdp/state/a.go", "google.golang.org/grpc"), edge},
		{"protobuf in a store", one("pdp/state/badgerstore/a.go", "google.golang.org/protobuf/proto"), edge},
		{"generated code in policy", one("pdp/policy/a.go", module+"/gen/jobward/v1"), edge},
		{"wire in engine", one("pdp/engine/a.go", module+"/internal/wire"), edge},
		{"grpc in server", one("pdp/server/a.go", "google.golang.org/grpc"), ""},
		{"net in lease", one("internal/lease/a.go", "net"), pure},
		{"net/http in route", one("sidecar/route/a.go", "net/http"), pure},
		{"net/url in route", one("sidecar/route/a.go", "net/url"), ""},
		{"atomics in policy", one("pdp/policy/a.go", "sync/atomic"), pure},
		{"chance in lease", one("internal/lease/a.go", "math/rand/v2"), pure},
		{"math in lease", one("internal/lease/a.go", "math"), ""},
		{"context in policy", one("pdp/policy/a.go", "context"), pure},
		{"context in policy's test", one("pdp/policy/a_test.go", "context"), ""},
		{"context in engine", one("pdp/engine/a.go", "context"), ""},
		{"testing", one("pdp/engine/a.go", "testing"), linked},
		{"rapid", one("pdp/engine/a.go", "pgregory.net/rapid"), linked},
		{"the suite", one("pdp/state/memstore/a.go", module+"/pdp/state/statetest"), linked},
		{"a PDP for tests", one("sidecar/daemon/a.go", module+"/sidecar/pep/peptest"), linked},
		{"a helper of tests", one("sidecar/daemon/a.go", module+"/test/certs"), linked},
		{"a helper of tests in a PDP for tests", one("sidecar/pep/peptest/a.go", module+"/test/certs"), linked},
		{"a helper of tests in a test", one("sidecar/daemon/a_test.go", module+"/test/certs"), ""},
		{"testing in the suite", one("pdp/state/statetest/a.go", "testing"), ""},
		{"testing in test/", one("test/model/a.go", "testing"), ""},
		{"Envoy", one("sidecar/extauthz/a.go", "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"), "only tests have them"},
		{"Envoy in a test", one("sidecar/extauthz/a_test.go", "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"), ""},
		{"codes in server", one("pdp/server/a.go", "google.golang.org/grpc/codes"), "error kinds become codes"},
		{"codes in server's test", one("pdp/server/a_test.go", "google.golang.org/grpc/codes"), ""},
		{"codes in wire", one("internal/wire/a.go", "google.golang.org/grpc/codes"), ""},
		{"other codes", one("pdp/server/a.go", "go.opentelemetry.io/otel/codes"), ""},
	})
}
