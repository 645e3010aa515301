package daemon

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/test/certs"
	"github.com/jobward/jobward/test/files"
)

// sidecar runs the program to its end and gives what it said.
func sidecar(environ []string, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = Main(context.Background(), args, environ, &out, &err)
	return code, out.String(), err.String()
}

// TestShowRoundTrip writes a settings file with "config show", reads it back, and gets the same settings.
func TestShowRoundTrip(t *testing.T) {
	args := []string{"config", "show", "--listen=[::1]:0,unix:/tmp/a b.sock", "--no-development", "--listen-mode=0600", "--max-cache-size=1536KiB",
		"--pdp-addr=a.example:1,b.example:2", "--pdp-timeout=1s500ms", "--when-unavailable=error", "--log-level=debug", "--state-dir=a: 'b' # \"c\"", "--no-canary", "--name=yes",
		"--http-addr=127.0.0.1:0", "--proxy-addr=unix:/tmp/p", "--proxy-to=http://127.0.0.1:80", "--without-token=pass", "--trusted-proxies=10.0.0.0/8,::1", "--tell-reason", "--owner-url=http://127.0.0.1/o"}
	_, out, errs := sidecar(nil, args...)
	file := files.Write(t, filepath.Join(t.TempDir(), "sidecar.yaml"), out, 0o600)
	want, err := Parse(args, nil)
	if err != nil {
		t.Fatal(err, errs)
	}
	got, err := Parse([]string{"config", "show", "--config", file}, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got.ConfigFile = ""
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read back from\n%s\n%+v\nwas\n%+v", out, got, want)
	}
}

// TestEveryFieldIsRefused keeps the refusals complete: a new setting needs a row there, or a reason why it cannot be wrong.
func TestEveryFieldIsRefused(t *testing.T) {
	cannotBeWrong := map[string]bool{"Reflection": true, "Canary": true, "ExtAuthz": true, "TellReason": true, "RefuseQueryTokens": true} // yes or no
	tested := map[string]bool{}
	for _, r := range refusals(t.TempDir()) {
		tested[r.field] = true
	}
	for f := range reflect.TypeFor[Config]().Fields() {
		if !tested[f.Name] && !cannotBeWrong[f.Name] {
			t.Errorf("no refusal of a bad %s is tested", f.Name)
		}
		if f.Tag.Get("help") == "" || f.Tag.Get("group") == "" {
			t.Errorf("%s has no help or no group", f.Name)
		}
	}
}

type refusal struct {
	field, what string
	args        []string
	want        string
}

// refusals are the ways in which each setting can be wrong. They name files of dir that TestRefusals makes.
func refusals(dir string) []refusal {
	at := func(name string) string { return filepath.Join(dir, name) }
	one := func(field, arg, want string) refusal { return refusal{field, arg, []string{arg}, want} }
	with := func(base []string) func(field, what, want string, more ...string) refusal {
		return func(field, what, want string, more ...string) refusal {
			return refusal{field, what, append(slices.Clone(base), more...), want}
		}
	}
	link := []string{"--pdp-ca-file=" + at("ca.pem"), "--pdp-cert-file=" + at("client.pem"), "--pdp-key-file=" + at("client.key")}
	pdp := with(append(slices.Clone(link), "--trust-socket-mode", "--listen=unix:"+at("s")))
	tls := with(append(slices.Clone(link), "--listen-cert-file="+at("server.pem"), "--listen-key-file="+at("server.key"), "--listen-callers-file="+at("callers.yaml")))
	bare := with(link)
	proxied := with([]string{"--proxy-addr=127.0.0.1:7433"})
	images := with([]string{"--registry-addr=127.0.0.1:7434", "--registry-to=http://127.0.0.1:5000", "--registry-cert-file=" + at("server.pem"), "--registry-key-file=" + at("server.key")})
	return []refusal{
		one("ConfigFile", "--config="+at("none.yaml"), "no such file"),
		one("ConfigFile", "--config="+at("unknown.yaml"), `line 2 of `+at("unknown.yaml")+`: "max-entriez" is no setting; did you mean max-entries?`),
		one("ConfigFile", "--config="+at("pdp.yaml"), `"data-dir" is no setting`),
		one("Name", "--name=a b", "without spaces"),
		one("Name", "--name="+strings.Repeat("x", 129), "1 to 128"),
		one("Name", "--name=ü", "printable ASCII"),
		one("StateDir", "--state-dir=", "must name a directory"),

		one("Development", "--no-development", "the PDP asks who calls"),
		bare("Development", "off with a port and no TLS", "127.0.0.1:7430 has no TLS, without which there is no start"),
		bare("Development", "off with a socket and no TLS", "set trust-socket-mode if whoever may open the file may ask", "--listen=unix:"+at("s")),
		tls("Development", "on with TLS", "development mode serves without TLS", "--development"),
		one("Development", "--development=maybe", "--development"),

		one("PDPAddr", "--pdp-addr=", "at least one address"),
		one("PDPAddr", "--pdp-addr=127.0.0.1", "no address"),
		one("PDPAddr", "--pdp-addr=:7420", "no place to call"),
		one("PDPAddr", "--pdp-addr=127.0.0.1:0", "no place to call"),
		one("PDPAddr", "--pdp-addr=unix:", "names no file"),
		one("PDPAddr", "--pdp-addr=127.0.0.1:1,127.0.0.1:1", "is there twice"),
		one("PDPAddr", "--pdp-addr=127.0.0.1:7430", "where this sidecar listens itself"),
		one("PDPAddr", "--pdp-addr=10.0.0.1:7420", "another machine, which is called over TLS only"),
		one("PDPAddr", "--pdp-addr=pdp.example:7420", "another machine, which is called over TLS only"),
		one("PDPAddr", "--pdp-addr=127.0.0.1:1,10.0.0.1:1", "10.0.0.1:1 is another machine"),
		pdp("PDPCAFile", "missing", "no such file", "--pdp-ca-file="+at("none.pem")),
		pdp("PDPCAFile", "no certificate", "no PEM block", "--pdp-ca-file="+at("callers.yaml")),
		one("PDPCAFile", "--pdp-ca-file="+at("ca.pem"), "the PDP asks who calls"),
		pdp("PDPCertFile", "missing", "no such file", "--pdp-cert-file="+at("none.pem")),
		pdp("PDPCertFile", "expired", "expired at", "--pdp-cert-file="+at("old.pem"), "--pdp-key-file="+at("old.key")),
		one("PDPCertFile", "--pdp-cert-file="+at("client.pem"), "needs both"),
		one("PDPKeyFile", "--pdp-key-file="+at("client.key"), "needs both"),
		pdp("PDPKeyFile", "readable by others", "run chmod 600", "--pdp-key-file="+at("open.key")),
		one("PDPBearerKeyFile", "--pdp-bearer-key-file="+at("none.key"), "no such file"),
		one("PDPBearerKeyFile", "--pdp-bearer-key-file="+at("open.jobk"), "run chmod 600"),
		one("PDPBearerKeyFile", "--pdp-bearer-key-file="+at("callers.yaml"), "not a key made by this program"),
		pdp("PDPBearerKeyFile", "beside a certificate", "takes one of the two", "--pdp-bearer-key-file="+at("good.jobk")),
		one("PDPServerName", "--pdp-server-name=pdp.example", "the PDP asks who calls"),
		one("PDPTimeout", "--pdp-timeout=1ms", "not between"),
		one("PDPTimeout", "--pdp-timeout=2m", "not between"),

		one("Listen", "--listen=", "at least one address"),
		one("Listen", "--listen=127.0.0.1:x", "no port"),
		one("Listen", "--listen=127.0.0.1:1,127.0.0.1:1", "is there twice"),
		one("Listen", "--listen=127.0.0.1:7431", "is there twice"),
		one("Listen", "--listen=:7430", "without TLS only loopback"),
		one("Listen", "--listen=192.0.2.1:7430", "without TLS only loopback"),
		one("Listen", "--listen=unix:@sidecar", "names no file"),
		one("Listen", "--listen=unix:/"+strings.Repeat("x", 120), "at most 107 bytes"),
		pdp("Listen", "a port beside a trusted socket", "127.0.0.1:1 has no TLS", "--listen=unix:"+at("s")+",127.0.0.1:1"),
		one("HealthAddr", "--health-addr=0.0.0.0:7431", "without TLS only loopback"),
		pdp("HealthAddr", "for all without TLS", "without TLS only loopback", "--health-addr=:7431"),
		one("HealthAddr", "--health-addr=none", "no address"),
		one("ListenMode", "--listen-mode=0444", "own user out"),
		one("ListenMode", "--listen-mode=rw", "no file mode"),
		pdp("TrustSocketMode", "in development", "take one of the two away", "--development"),

		bare("ListenCertFile", "key without certificate", "needs a certificate beside it", "--listen-key-file="+at("server.key")),
		tls("ListenCertFile", "missing", "no such file", "--listen-cert-file="+at("none.pem")),
		tls("ListenCertFile", "expired", "expired at", "--listen-cert-file="+at("old.pem"), "--listen-key-file="+at("old.key")),
		bare("ListenKeyFile", "certificate without key", "needs its private key", "--listen-cert-file="+at("server.pem")),
		tls("ListenKeyFile", "of another certificate", "cannot be used with certificate", "--listen-key-file="+at("client.key")),
		one("ListenClientCAFile", "--listen-client-ca-file="+at("ca.pem"), "without TLS nobody is asked"),
		tls("ListenClientCAFile", "missing", "no such file", "--listen-client-ca-file="+at("none.pem")),
		one("ListenCallersFile", "--listen-callers-file="+at("callers.yaml"), "without TLS nobody is asked"),
		bare("ListenCallersFile", "none with TLS", "has to say who may call", "--listen-cert-file="+at("server.pem"), "--listen-key-file="+at("server.key")),
		tls("ListenCallersFile", "world-readable", "so others can read", "--listen-callers-file="+at("open.yaml")),

		one("HTTPAddr", "--http-addr=7432", "no address"),
		one("HTTPAddr", "--http-addr=127.0.0.1:7430", "is there twice"),
		one("HTTPAddr", "--http-addr=:7432", "http-addr: :7432 can be reached from other machines, and without TLS"),
		pdp("HTTPAddr", "for all without TLS", "without TLS only loopback", "--http-addr=192.0.2.1:7432"),
		bare("HTTPAddr", "a socket that nobody trusts", "set trust-socket-mode if", "--http-addr=unix:"+at("h")),
		one("ProxyAddr", "--proxy-addr=127.0.0.1:7433", "needs proxy-to"),
		{"ProxyAddr", "for all without TLS", []string{"--proxy-addr=0.0.0.0:7433", "--proxy-to=http://127.0.0.1:80"}, "without TLS only loopback"},
		{"ProxyAddr", "the HTTP door's", []string{"--http-addr=127.0.0.1:7433", "--proxy-addr=127.0.0.1:7433", "--proxy-to=http://127.0.0.1:80"}, "is there twice"},
		one("ProxyTo", "--proxy-to=http://127.0.0.1:80", "while proxy-addr is off"),
		{"ProxyTo", "a path", []string{"--proxy-addr=127.0.0.1:7433", "--proxy-to=http://127.0.0.1:80/api"}, "without a path"},
		{"ProxyTo", "itself", []string{"--proxy-addr=127.0.0.1:7433", "--proxy-to=http://127.0.0.1:7433"}, "listens itself"},
		{"ProxyTo", "its own socket", []string{"--proxy-addr=unix:/x", "--proxy-to=unix:/x"}, "listens itself"},
		proxied("ProxyCAFile", "missing", "no such file", "--proxy-to=https://service.example", "--proxy-ca-file="+at("none.pem")),
		proxied("ProxyCAFile", "no certificate", "no PEM block", "--proxy-to=https://service.example", "--proxy-ca-file="+at("callers.yaml")),
		proxied("ProxyCAFile", "no TLS", "proxy-to is not https", "--proxy-to=http://service.example", "--proxy-ca-file="+at("ca.pem")),
		proxied("ProxyCAFile", "a socket", "proxy-to is not https", "--proxy-to=unix:/x", "--proxy-ca-file="+at("ca.pem")),
		one("ProxyCAFile", "--proxy-ca-file="+at("ca.pem"), "while proxy-addr is off"),
		one("RoutesFile", "--routes-file="+at("none.yaml"), "no such file"),
		one("RoutesFile", "--routes-file="+at("routes.yaml"), at("routes.yaml")+": "),
		one("RoutesFile", "--routes-file="+at("callers.yaml"), "routes-file: "),
		one("WithoutToken", "--without-token=allow", "must be one of"),
		one("OwnerURL", "--owner-url=127.0.0.1:80", "must be an http or https URL"),
		one("OwnerURL", "--owner-url=http://u:secret@x", "without credentials"),
		one("TrustedProxies", "--trusted-proxies=proxy.example", "neither an address nor a range"),
		one("TrustedProxies", "--trusted-proxies=10.0.0.0/33", "neither an address nor a range"),
		one("TrustedProxies", "--trusted-proxies=10.0.0.1/24", "write 10.0.0.0/24"),

		one("RegistryAddr", "--registry-addr=127.0.0.1", "no address"),
		one("RegistryAddr", "--registry-addr=127.0.0.1:5000", "needs registry-to"),
		images("RegistryAddr", "for all without TLS", "without TLS only loopback", "--registry-addr=:7434", "--registry-url=https://registry.example"),
		images("RegistryAddr", "a socket without a URL", "needs registry-url", "--registry-addr=unix:"+at("r")),
		images("RegistryAddr", "the proxy's", "is there twice", "--proxy-addr=127.0.0.1:7434", "--proxy-to=http://127.0.0.1:1"),
		one("RegistryTo", "--registry-to=http://127.0.0.1:5000", "while registry-addr is off"),
		images("RegistryTo", "a path", "without a path", "--registry-to=http://127.0.0.1:5000/v2"),
		images("RegistryTo", "itself", "listens itself", "--registry-to=http://127.0.0.1:7434"),
		images("RegistryCAFile", "missing", "no such file", "--registry-to=https://registry.internal", "--registry-ca-file="+at("none.pem")),
		images("RegistryCAFile", "no certificate", "no PEM block", "--registry-to=https://registry.internal", "--registry-ca-file="+at("callers.yaml")),
		images("RegistryCAFile", "no TLS", "registry-to is not https", "--registry-ca-file="+at("ca.pem")),
		one("RegistryCAFile", "--registry-ca-file="+at("ca.pem"), "while registry-addr is off"),
		images("RegistryURL", "no URL", "must be https://host", "--registry-url=registry.example"),
		one("RegistryURL", "--registry-url=https://registry.example", "while registry-addr is off"),
		images("RegistryService", "a space", "printable ASCII", "--registry-service=a b"),
		images("RegistryIssuer", "none", "1 to 255", "--registry-issuer="),
		images("RegistryKeyFile", "none", "registry-keys DIR", "--registry-key-file="),
		images("RegistryKeyFile", "of another certificate", "cannot be used with certificate", "--registry-key-file="+at("client.key")),
		images("RegistryKeyFile", "readable by others", "run chmod 600", "--registry-key-file="+at("open.key")),
		images("RegistryCertFile", "missing", "no such file", "--registry-cert-file="+at("none.pem")),
		images("RegistryCertFile", "expired", "expired at", "--registry-cert-file="+at("old.pem"), "--registry-key-file="+at("old.key")),
		images("RegistryTokenTTL", "short", "not between", "--registry-token-ttl=1s"),
		images("RegistryTokenTTL", "long", "not between", "--registry-token-ttl=2h"),

		one("WhenUnavailable", "--when-unavailable=allow", "must be one of"),
		one("MaxEntries", "--max-entries=999", "not between"),
		one("MaxEntries", "--max-entries=10000001", "not between"),
		one("MaxCacheSize", "--max-cache-size=1KiB", "not between"),
		one("MaxCacheSize", "--max-cache-size=1TiB", "not between"),
		one("MemoryLimit", "--memory-limit=1MiB", "at least 16MiB"),
		one("MaxMessageSize", "--max-message-size=1KiB", "not between"),
		one("MaxStreams", "--max-streams=0", "above zero"),
		one("MaxConnectionAge", "--max-connection-age=1s", "less than 1m"),
		one("ShutdownDelay", "--shutdown-delay=-1s", "not between"),
		one("ShutdownGrace", "--shutdown-grace=0s", "not above zero"),
		one("LogFormat", "--log-format=xml", "must be one of"),
		one("LogLevel", "--log-level=loud", "loud"),
	}
}

// TestRefusals gives the program each wrong setting: it names what is wrong, ends with the code for that, and makes no state directory.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	makeFiles(t, dir)
	for _, r := range refusals(dir) {
		t.Run(r.field+" "+r.what, func(t *testing.T) {
			state := filepath.Join(t.TempDir(), "state")
			args := append([]string{"--state-dir=" + state}, r.args...)
			for _, verb := range []string{"serve", "config check"} {
				code, out, errs := sidecar(nil, append(args, strings.Fields(verb)...)...)
				if code != settings.ExitRefused || !strings.Contains(errs, r.want) || !strings.Contains(errs, "sidecar: refused: ") {
					t.Errorf("%s: code %d, said %q, want %q", verb, code, errs, r.want)
				}
				if out != "" {
					t.Errorf("%s: standard output has %q", verb, out)
				}
			}
			if _, err := os.Stat(state); err == nil {
				t.Error("the state directory was made")
			}
		})
	}
}

// TestGood takes the ways in which sidecars are meant to be set up.
func TestGood(t *testing.T) {
	dir := t.TempDir()
	makeFiles(t, dir)
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, args := range map[string][]string{
		"development":              {},
		"development, PDP by TLS":  {"--development", "--pdp-addr=pdp.example:7420", "--pdp-bearer-key-file=" + at("good.jobk")},
		"registry":                 {"--registry-addr=127.0.0.1:7434", "--registry-to=http://127.0.0.1:5000", "--registry-cert-file=" + at("server.pem"), "--registry-key-file=" + at("server.key")},
		"socket, PDP by key":       {"--listen=unix:" + at("s"), "--trust-socket-mode", "--pdp-addr=pdp.example:7420", "--pdp-bearer-key-file=" + at("good.jobk")},
		"socket, certificate":      {"--listen=unix:" + at("s"), "--trust-socket-mode", "--pdp-addr=pdp.example:7420", "--pdp-cert-file=" + at("client.pem"), "--pdp-key-file=" + at("client.key")},
		"TLS, PDP on a local port": {"--listen=:7430", "--health-addr=:7431", "--listen-cert-file=" + at("server.pem"), "--listen-key-file=" + at("server.key"), "--listen-callers-file=" + at("callers.yaml"), "--pdp-ca-file=" + at("ca.pem"), "--pdp-bearer-key-file=" + at("good.jobk")},
		"HTTP doors on loopback, TLS to the PDP": {"--listen=unix:" + at("s"), "--trust-socket-mode", "--pdp-addr=pdp.example:7420", "--pdp-bearer-key-file=" + at("good.jobk"),
			"--http-addr=127.0.0.1:7432", "--proxy-addr=[::1]:7433", "--proxy-to=unix:" + at("service")},
		"HTTP doors for all": {"--listen=:7430", "--listen-cert-file=" + at("server.pem"), "--listen-key-file=" + at("server.key"), "--listen-callers-file=" + at("callers.yaml"),
			"--pdp-ca-file=" + at("ca.pem"), "--pdp-bearer-key-file=" + at("good.jobk"), "--http-addr=:7432", "--proxy-addr=:7433", "--proxy-to=https://service.example", "--proxy-ca-file=" + at("ca.pem"), "--trusted-proxies=10.0.0.0/8,fd00::/8,192.0.2.1"},
	} {
		if code, _, errs := sidecar(nil, append([]string{"config", "check"}, args...)...); code != settings.ExitOK {
			t.Errorf("%s: %s", name, errs)
		}
	}
}

// makeFiles makes the files that refusals names.
func makeFiles(t *testing.T, dir string) {
	key, hash := identity.NewKey()
	callers := "keys:\n  - name: docs\n    sha256: " + hash + "\n    roles: [service]\n"
	for name, text := range map[string]string{
		"unknown.yaml": "max-entries: 2000\nmax-entriez: 3\n", "pdp.yaml": "data-dir: /var/lib/jobward\n", "routes.yaml": "routes:\n  - methods: [GET]\n    patterns: [/store/*rest]\n    permission: READ\n    project: 7\n", "callers.yaml": callers, "good.jobk": key + "\n",
	} {
		files.Write(t, filepath.Join(dir, name), text, 0o600)
	}
	files.Write(t, filepath.Join(dir, "open.yaml"), callers, 0o644)
	files.Write(t, filepath.Join(dir, "open.jobk"), key, 0o644)
	ca := certs.New(t, dir)
	ca.Issue(dir, "server", "", time.Now().Add(time.Hour))
	ca.Issue(dir, "client", "spiffe://forge.example/sidecar/1", time.Now().Add(time.Hour))
	ca.Issue(dir, "old", "spiffe://forge.example/sidecar/1", time.Now().Add(-time.Minute))
	data, err := os.ReadFile(filepath.Join(dir, "client.key"))
	if err != nil {
		t.Fatal(err)
	}
	files.Write(t, filepath.Join(dir, "open.key"), string(data), 0o644)
}

// TestAllFindings wants everything that is wrong in one go.
func TestAllFindings(t *testing.T) {
	_, _, errs := sidecar(nil, "config", "check", "--listen=:1", "--max-entries=1", "--pdp-timeout=1h", "--listen-mode=0")
	for _, want := range []string{"listen: ", "max-entries: ", "pdp-timeout: ", "listen-mode: "} {
		if !strings.Contains(errs, "sidecar: refused: "+want) {
			t.Errorf("no complaint about %s in\n%s", want, errs)
		}
	}
}

// TestEnvironment starts in the environment of a PDP, and beside a Kubernetes service.
func TestEnvironment(t *testing.T) {
	for _, c := range []struct{ variable, want string }{
		{"JOBWARD_MAX_ENTRIEZ=1", "did you mean JOBWARD_MAX_ENTRIES?"},
		{"JOBWARD_MAX_ENTRIES=1", "max-entries: 1 is not between"},
		{"JOBWARD_MAX_ENTRIEZ=", ""}, // set and empty counts as not set
		{"OTEL_TRACES_EXPORTER=carrier-pigeon", "environment variable OTEL_TRACES_EXPORTER"},
		{"JOBWARD_GRPC_ADDR=0.0.0.0:7420", ""},
		{"JOBWARD_ADMIN_ADDR=0.0.0.0:7421", ""},
		{"JOBWARD_TLS_CERT_FILE=/etc/jobward/server.pem", ""},
		{"JOBWARD_ADDRESS=127.0.0.1:1", ""},
		{"JOBWARD_CI=1", ""},
	} {
		code, _, errs := sidecar([]string{c.variable}, "config", "check")
		if c.want == "" && code != settings.ExitOK || c.want != "" && (code != settings.ExitRefused || !strings.Contains(errs, c.want)) {
			t.Errorf("%s: code %d, said %q, want %q", c.variable, code, errs, c.want)
		}
	}
	// The PDP's variables that are settings here, too, have to be meant for both.
	shared := map[string]bool{"CONFIG": true, "DEVELOPMENT": true, "LOG_FORMAT": true, "LOG_LEVEL": true, "MAX_CONNECTION_AGE": true, "MAX_MESSAGE_SIZE": true,
		"MAX_STREAMS": true, "REFLECTION": true, "SHUTDOWN_DELAY": true, "SHUTDOWN_GRACE": true}
	for _, name := range settings.KnownTo("pdp") {
		if mine := slices.Contains(settings.KnownTo("sidecar"), name); mine != shared[name] {
			t.Errorf("%s is known to both: %t", name, mine)
		}
	}
}

// TestOwnVariables keeps the table true that the other programs go by.
func TestOwnVariables(t *testing.T) {
	got, err := program().Variables(&commands{})
	if err != nil {
		t.Fatal(err)
	}
	if want := settings.KnownTo("sidecar"); !slices.Equal(got, want) {
		t.Errorf("write into internal/settings/variables.go, for sidecar:\n%s\nit has\n%s", strings.Join(got, " "), strings.Join(want, " "))
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"version", settings.ExitOK, "sidecar "},
		{"--help", settings.ExitOK, "JOBWARD_SOME_NAME"},
		{"config check", settings.ExitOK, "the settings are good"},
		{"nonsense", settings.ExitRefused, "unexpected argument nonsense"},
		{"--listn=x", settings.ExitRefused, `did you mean "--listen"`},
	} {
		code, out, errs := sidecar(nil, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("%s: code %d\n%s%s", c.args, code, out, errs)
		}
	}
}
