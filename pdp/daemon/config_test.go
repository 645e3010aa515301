package daemon

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/test/certs"
	"github.com/jobward/jobward/test/files"
)

// pdp runs the program to its end and gives what it said.
func pdp(environ []string, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = Main(context.Background(), args, environ, &out, &err)
	return code, out.String(), err.String()
}

func TestPrecedence(t *testing.T) {
	file := files.Write(t, filepath.Join(t.TempDir(), "pdp.yaml"), "max-streams: 3\nhistory: 30000\naudit-sample: 30\n", 0o600)
	env := []string{"HOME=/", "JOBWARD_MAX_STREAMS=2", "JOBWARD_HISTORY=20000", "JOBWARD_LOG_LEVEL=", "JOBWARD_CONFIG=" + file}
	code, out, errs := pdp(env, "config", "show", "--max-streams=1")
	if code != settings.ExitOK {
		t.Fatal(errs)
	}
	lines := fields(out)
	for _, want := range []string{
		"max-streams: 1 # flag --max-streams", "history: 20000 # environment variable JOBWARD_HISTORY",
		"audit-sample: 30 # line 3 of " + file, "log-level: INFO # default", "# config: " + file + " # environment variable JOBWARD_CONFIG",
	} {
		if !strings.Contains(lines, want+"\n") {
			t.Errorf("no line %q in\n%s", want, lines)
		}
	}
}

// fields has single spaces between the words of each line.
func fields(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.Join(strings.Fields(line), " ") + "\n")
	}
	return b.String()
}

// TestShowRoundTrip writes a settings file with "config show", reads it back, and gets the same settings.
func TestShowRoundTrip(t *testing.T) {
	args := []string{"config", "show", "--grpc-addr=[::1]:0,unix:/tmp/a b.sock", "--no-development", "--socket-mode=0600", "--min-free-disk=1536KiB",
		"--older-token-prefixes=old-,older-", "--max-timeout=1h30m", "--default-timeout=90s", "--log-level=debug", "--data-dir=a: 'b' # \"c\"", "--tls-cert-file=yes"}
	_, out, errs := pdp(nil, args...)
	file := files.Write(t, filepath.Join(t.TempDir(), "pdp.yaml"), out, 0o600)
	want, _, _, err := parse(args, nil, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err, errs)
	}
	got, _, _, err := parse([]string{"config", "show", "--config", file}, nil, &bytes.Buffer{})
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got.ConfigFile = ""
	if !reflect.DeepEqual(got.Config, want.Config) {
		t.Errorf("read back from\n%s\n%+v\nwas\n%+v", out, got.Config, want.Config)
	}
}

// TestEveryFieldHasATest keeps the refusals complete: a new setting needs a row there, or a reason why it cannot be wrong.
func TestEveryFieldIsRefused(t *testing.T) {
	cannotBeWrong := map[string]bool{
		"SampleWorld": true, "Reflection": true, // yes or no
		"MaxStreams": false,
	}
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
	tls := func(field, what, want string, more ...string) refusal {
		return refusal{field, what, append([]string{"--tls-cert-file=" + at("server.pem"), "--tls-key-file=" + at("server.key"), "--callers-file=" + at("callers.yaml")}, more...), want}
	}
	long := strings.Repeat("x", 120)
	const here = "--store=etcd://127.0.0.1:2379/jobward"
	etcd := func(field, want string, more ...string) refusal {
		return refusal{field, strings.Join(more, " "), append([]string{here}, more...), want}
	}
	peers := func(field, what, want string, more ...string) refusal {
		return tls(field, what, want, append([]string{here, "--tls-client-ca-file=" + at("ca.pem"), "--callers-file=" + at("peers.yaml")}, more...)...)
	}
	return []refusal{
		one("ConfigFile", "--config="+at("none.yaml"), "no such file"),
		one("ConfigFile", "--config="+dir, "not a regular file"),
		one("ConfigFile", "--config="+at("unknown.yaml"), `line 2 of `+at("unknown.yaml")+`: "max-timeot" is no setting; did you mean max-timeout?`),
		one("ConfigFile", "--config="+at("nested.yaml"), `"grpc" is no setting`),
		one("ConfigFile", "--config="+at("deep.yaml"), "line 1 of "+at("deep.yaml")+": history: takes a plain value"),
		one("ConfigFile", "--config="+at("twice.yaml"), "history"),
		one("ConfigFile", "--config="+at("two.yaml"), "more than one YAML document"),
		one("ConfigFile", "--config="+at("list.yaml"), `write settings as "name: value"`),
		one("ConfigFile", "--config="+at("null.yaml"), "has no value"),
		one("ConfigFile", "--config="+at("self.yaml"), `"config" is no setting`),
		one("ConfigFile", "--config="+at("value.yaml"), "line 1 of "+at("value.yaml")+": --max-timeout"),
		one("ConfigFile", "--config="+at("broken.yaml"), "broken.yaml"),

		one("Development", "--no-development", "without TLS there is no start"),
		tls("Development", "on with TLS", "development mode serves without TLS", "--development"),
		one("DataDir", "--data-dir=", "must name a directory"),
		one("MinFreeDisk", "--min-free-disk=1MiB", "at least 16MiB"),
		one("MinFreeDisk", "--min-free-disk=10MB", "10MiB"[2:]),
		one("MinFreeDisk", "--min-free-disk=-1", "no size"),
		one("MinFreeDisk", "--min-free-disk=99999999999TiB", "no size"),
		one("Ballast", "--ballast=1MiB", "at least 16MiB"),
		one("History", "--history=9999", "at least 10000"),
		one("MemtableSize", "--memtable-size=31MiB", "not between 32MiB and 1GiB"),
		one("MemtableSize", "--memtable-size=2GiB", "not between 32MiB and 1GiB"),
		one("CatalogueFile", "--catalogue-file="+at("none.json"), "no such file"),
		one("CatalogueFile", "--catalogue-file="+at("callers.yaml"), "catalogue-file: "),

		one("Store", "--store=", "is no store: write badger, or etcd://"),
		one("Store", "--store=etcds://a:2379/jobward", "is no store"),
		one("Store", "--store=https://a:2379/jobward", "is no store"),
		one("Store", "--store=etcd://127.0.0.1:2379", "names no prefix"),
		one("Store", "--store=etcd://127.0.0.1:2379/", "names no prefix"),
		one("Store", "--store=etcd://127.0.0.1:2379/a//b", "the prefix"),
		one("Store", "--store=etcd://127.0.0.1:2379/a?b=c", "the prefix"),
		one("Store", "--store=etcd:///jobward", "is no member"),
		one("Store", "--store=etcd://127.0.0.1,127.0.0.1:2379/jobward", "is there twice"),
		one("Store", "--store=etcd://127.0.0.1:0/jobward", "is no member"),
		one("Store", "--store=etcd://127.0.0.1:x/jobward", "has no port"),
		one("Store", "--store=etcd://me:secret@127.0.0.1:2379/jobward", "set etcd-username"),
		one("Store", "--store=etcd://10.0.0.1/jobward", "whoever is on the way"),
		one("Store", "--store=etcd://127.0.0.1,etcd.example/jobward", "whoever is on the way"),
		etcd("MinFreeDisk", "etcd has no use for it", "--min-free-disk=1GiB"),
		etcd("Ballast", "etcd has no use for it", "--ballast=1GiB"),
		etcd("MemtableSize", "etcd has no use for it", "--memtable-size=64MiB"),
		one("EtcdCAFile", "--etcd-ca-file="+at("ca.pem"), "store is badger"),
		etcd("EtcdCAFile", "no such file", "--etcd-ca-file="+at("none.pem")),
		one("EtcdCertFile", "--etcd-cert-file="+at("server.pem"), "store is badger"),
		etcd("EtcdCertFile", "needs its private key", "--etcd-cert-file="+at("server.pem")),
		etcd("EtcdCertFile", "expired at", "--etcd-cert-file="+at("old.pem"), "--etcd-key-file="+at("old.key")),
		one("EtcdKeyFile", "--etcd-key-file="+at("server.key"), "store is badger"),
		etcd("EtcdKeyFile", "needs a certificate", "--etcd-key-file="+at("server.key")),
		etcd("EtcdKeyFile", "run chmod 600", "--etcd-cert-file="+at("server.pem"), "--etcd-key-file="+at("open.key")),
		one("EtcdUsername", "--etcd-username=jobward", "store is badger"),
		etcd("EtcdUsername", "or neither", "--etcd-username=jobward"),
		one("EtcdPasswordFile", "--etcd-password-file="+at("password"), "store is badger"),
		etcd("EtcdPasswordFile", "or neither", "--etcd-password-file="+at("password")),
		etcd("EtcdPasswordFile", "no such file", "--etcd-username=jobward", "--etcd-password-file="+at("none")),
		etcd("EtcdPasswordFile", "holds no password", "--etcd-username=jobward", "--etcd-password-file="+at("empty")),
		etcd("EtcdPasswordFile", "holds no password", "--etcd-username=jobward", "--etcd-password-file="+at("callers.yaml")),
		etcd("EtcdPasswordFile", "run chmod 600", "--etcd-username=jobward", "--etcd-password-file="+at("open.key")),
		one("EtcdInsecure", "--etcd-insecure", "store is badger"),
		etcd("EtcdInsecure", "take one of them away", "--etcd-insecure", "--etcd-ca-file="+at("ca.pem")),
		one("EtcdTimeout", "--etcd-timeout=4s", "store is badger"),
		etcd("EtcdTimeout", "not between 500ms and 30s", "--etcd-timeout=100ms"),
		one("ReplicaName", "--replica-name=a", "store is badger"),
		etcd("ReplicaName", "is no name", "--replica-name=a b"),
		one("PeerAddress", "--peer-address=127.0.0.1:1", "store is badger"),
		etcd("PeerAddress", "is no address", "--peer-address=here"),
		etcd("PeerAddress", "cannot call a Unix socket", "--peer-address=unix:/tmp/pdp"),
		etcd("PeerAddress", "cannot call a Unix socket", "--grpc-addr=unix:/tmp/pdp"),
		etcd("PeerAddress", "no address that the other PDPs can call", "--peer-address=0.0.0.0:7420"),
		etcd("PeerAddress", "no address that the other PDPs can call", "--peer-address=:0"),
		peers("PeerAddress", "a wildcard", "no address that the other PDPs can call", "--grpc-addr=[::]:7420"),
		etcd("PeerAddress", "called from this machine only", "--store=etcd://10.0.0.1/jobward", "--etcd-insecure"),
		one("PeerCAFile", "--peer-ca-file="+at("ca.pem"), "store is badger"),
		etcd("PeerCAFile", "without TLS", "--peer-ca-file="+at("ca.pem")),
		peers("PeerCAFile", "missing", "no such file", "--peer-ca-file="+at("none.pem")),
		one("PeerCertFile", "--peer-cert-file="+at("server.pem"), "store is badger"),
		etcd("PeerCertFile", "without TLS", "--peer-cert-file="+at("server.pem"), "--peer-key-file="+at("server.key")),
		peers("PeerCertFile", "without key", "go together", "--peer-cert-file="+at("server.pem")),
		peers("PeerCertFile", "expired", "expired at", "--peer-cert-file="+at("old.pem"), "--peer-key-file="+at("old.key")),
		peers("PeerCertFile", "for servers only", "does not allow use as a TLS client"),
		peers("PeerCertFile", "without the role", "has the roles", "--peer-cert-file="+at("runner.pem"), "--peer-key-file="+at("runner.key")),
		peers("PeerCertFile", "of another CA", "would not take the client certificate", "--peer-cert-file="+at("stranger.pem"), "--peer-key-file="+at("stranger.key")),
		one("PeerKeyFile", "--peer-key-file="+at("server.key"), "store is badger"),
		peers("PeerKeyFile", "of another certificate", "cannot be used with", "--peer-cert-file="+at("peer.pem"), "--peer-key-file="+at("server.key")),
		tls("TLSClientCAFile", "none with etcd", "know each other by client certificates", here),
		one("ReplicaFence", "--replica-fence=4s", "store is badger"),
		etcd("ReplicaFence", "not between 1s and 30s", "--replica-fence=999ms"),
		etcd("ReplicaFence", "not between 1s and 30s", "--replica-fence=31s"),

		one("GRPCAddr", "--grpc-addr=", "at least one address"),
		one("GRPCAddr", "--grpc-addr=127.0.0.1", "no address"),
		one("GRPCAddr", "--grpc-addr=127.0.0.1:x", "no port"),
		one("GRPCAddr", "--grpc-addr=127.0.0.1:65536", "no port"),
		one("GRPCAddr", "--grpc-addr=127.0.0.1:1,127.0.0.1:1", "is there twice"),
		one("GRPCAddr", "--grpc-addr=127.0.0.1:7421", "is there twice"),
		one("GRPCAddr", "--grpc-addr=:7420", "without TLS only loopback"),
		one("GRPCAddr", "--grpc-addr=0.0.0.0:7420", "without TLS only loopback"),
		one("GRPCAddr", "--grpc-addr=[::]:7420", "without TLS only loopback"),
		one("GRPCAddr", "--grpc-addr=192.0.2.1:7420", "without TLS only loopback"),
		one("GRPCAddr", "--grpc-addr=pdp.example:7420", "without TLS only loopback"),
		one("GRPCAddr", "--grpc-addr=127.0.0.1:1,10.0.0.1:1", "10.0.0.1:1 can be reached"),
		one("GRPCAddr", "--grpc-addr=unix:", "names no file"),
		one("GRPCAddr", "--grpc-addr=unix:@pdp", "names no file"),
		one("GRPCAddr", "--grpc-addr=unix:/"+long, "at most 107 bytes"),
		one("AdminAddr", "--admin-addr=0.0.0.0:7421", "without TLS only loopback"),
		one("AdminAddr", "--admin-addr=none", "no address"),
		one("RESTAddr", "--rest-addr=0.0.0.0:7422", "without TLS only loopback"),
		one("RESTAddr", "--rest-addr=none", "no address"),
		one("RESTAddr", "--rest-addr=127.0.0.1:7420", "is there twice"),
		one("ExternalURL", "--external-url=forge.example", "write the address"),
		one("ExternalURL", "--external-url=ftp://forge.example", "write the address"),
		one("ExternalURL", "--external-url=https://user:secret@forge.example", "write the address"),
		one("ExternalURL", "--external-url=https://forge.example/?a=b", "write the address"),
		one("SocketMode", "--socket-mode=0444", "own user out"),
		one("SocketMode", "--socket-mode=rw", "no file mode"),
		one("SocketMode", "--socket-mode=1777", "no file mode"),

		{"TLSCertFile", "key without certificate", []string{"--tls-key-file=" + at("server.key")}, "needs a certificate beside it"},
		tls("TLSCertFile", "missing", "no such file", "--tls-cert-file="+at("none.pem")),
		tls("TLSCertFile", "expired", "expired at", "--tls-cert-file="+at("old.pem"), "--tls-key-file="+at("old.key")),
		tls("TLSCertFile", "no certificate", "no PEM block", "--tls-cert-file="+at("callers.yaml")),
		{"TLSKeyFile", "certificate without key", []string{"--tls-cert-file=" + at("server.pem")}, "needs its private key"},
		tls("TLSKeyFile", "of another certificate", "cannot be used with certificate", "--tls-key-file="+at("other.key")),
		tls("TLSKeyFile", "readable by others", "run chmod 600", "--tls-key-file="+at("open.key")),
		one("TLSClientCAFile", "--tls-client-ca-file="+at("ca.pem"), "without TLS nobody is asked"),
		tls("TLSClientCAFile", "missing", "no such file", "--tls-client-ca-file="+at("none.pem")),
		tls("TLSClientCAFile", "empty", "is empty", "--tls-client-ca-file="+at("empty")),
		one("TLSRequireClientCert", "--tls-require-client-cert", "there is no TLS"),
		tls("TLSRequireClientCert", "without CA", "needs tls-client-ca-file", "--tls-require-client-cert"),
		one("CallersFile", "--callers-file="+at("callers.yaml"), "without TLS nobody is asked"),
		{"CallersFile", "none with TLS", []string{"--tls-cert-file=" + at("server.pem"), "--tls-key-file=" + at("server.key")}, "has to say who may call"},
		tls("CallersFile", "missing", "no such file", "--callers-file="+at("none.yaml")),
		tls("CallersFile", "world-readable", "so others can read", "--callers-file="+at("open.yaml")),
		tls("CallersFile", "with a key in clear", "holds a key in clear", "--callers-file="+at("clear.yaml")),
		tls("CallersFile", "unknown role", "no role is called", "--callers-file="+at("role.yaml")),

		one("TokenPrefix", "--token-prefix=", "token-prefix"),
		one("TokenPrefix", "--token-prefix=job_", "letters, digits and dashes"),
		one("OlderTokenPrefixes", "--older-token-prefixes=ok-,-no", "begins with a dash"),
		one("MaxTimeout", "--max-timeout=1", "missing unit"),
		one("MaxTimeout", "--max-timeout=-1h", "not between"),
		one("MaxTimeout", "--max-timeout=745h", "not between"),
		one("DefaultTimeout", "--default-timeout=0s", "not above zero"),
		one("DefaultTimeout", "--default-timeout=169h", "at most max-timeout, which is 168h"),
		one("Retention", "--retention=-1h", "less than twice"),
		one("Retention", "--retention=335h", "less than twice max-timeout (336h)"),
		one("AuditRetention", "--audit-retention=1m", "less than 1h"),
		one("AuditSample", "--audit-sample=-1", "is negative"),
		one("LeaseTerm", "--lease-term=999ms", "not between 1s and 1m"),
		one("LeaseTerm", "--lease-term=61s", "not between 1s and 1m"),
		one("MaxInterest", "--max-interest=999", "at least 1000"),
		one("LeaseQueue", "--lease-queue=15", "at least 16"),
		one("MaxSidecars", "--max-sidecars=0", "not above zero"),
		one("CanaryProject", "--canary-project=1", "set canary-project and canary-user, or neither"),
		one("CanaryProject", "--canary-project=-1", "no project id"),
		one("CanaryUser", "--canary-user=1", "set canary-project and canary-user, or neither"),
		one("CanaryUser", "--canary-user=9007199254740992", "no user id"),
		one("CanaryEvery", "--canary-every=10ms", "not between 1s and 1h"),
		one("MaxMessageSize", "--max-message-size=1KiB", "not between"),
		one("MaxMessageSize", "--max-message-size=65MiB", "not between"),
		one("MaxUnknownTokens", "--max-unknown-tokens=0", "not above zero"),
		one("MaxStreams", "--max-streams=0", "above zero"),
		one("MaxConnectionAge", "--max-connection-age=1s", "less than 1m"),
		one("ShutdownDelay", "--shutdown-delay=-1s", "not between"),
		one("ShutdownGrace", "--shutdown-grace=0s", "not above zero"),
		one("LogFormat", "--log-format=xml", "must be one of"),
		one("LogLevel", "--log-level=loud", "loud"),
	}
}

// TestRefusals gives the program each wrong setting: it names what is wrong, ends with the code for that, and makes no data directory.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	makeFiles(t, dir)
	for _, r := range refusals(dir) {
		t.Run(r.field+" "+r.what, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			args := append([]string{"--data-dir=" + data}, r.args...)
			for _, verb := range []string{"serve", "config check"} {
				code, out, errs := pdp(nil, append(args, strings.Fields(verb)...)...)
				if code != settings.ExitRefused || !strings.Contains(errs, r.want) || !strings.Contains(errs, "pdp: refused: ") {
					t.Errorf("%s: code %d, said %q, want %q", verb, code, errs, r.want)
				}
				if out != "" {
					t.Errorf("%s: standard output has %q", verb, out)
				}
			}
			if _, err := os.Stat(data); err == nil {
				t.Error("the data directory was made")
			}
		})
	}
}

// peerID is whom the callers file of a test gives the role peer.
const peerID = "spiffe://forge.example/pdp"

// TestStoreOnEtcd: what the settings of several PDPs come to.
func TestStoreOnEtcd(t *testing.T) {
	dir := t.TempDir()
	makeFiles(t, dir)
	at := func(name string) string { return filepath.Join(dir, name) }
	doors := []string{"--tls-cert-file=" + at("server.pem"), "--tls-key-file=" + at("server.key"), "--tls-client-ca-file=" + at("ca.pem"), "--callers-file=" + at("peers.yaml"),
		"--peer-cert-file=" + at("peer.pem"), "--peer-key-file=" + at("peer.key")}
	for _, c := range []struct {
		args                    []string
		endpoints, prefix, peer string
	}{
		{[]string{"--store=etcd://127.0.0.1:1,127.0.0.2,[::1]/a/b/"}, "http://127.0.0.1:1 http://127.0.0.2:2379 http://[::1]:2379", "/a/b/", "127.0.0.1:7420"},
		{append(doors, "--store=etcd://e1,e2:2/x", "--etcd-ca-file="+at("ca.pem"), "--grpc-addr=unix:/a,0.0.0.0:0", "--peer-address=pdp-0.example:0"), "https://e1:2379 https://e2:2", "/x/", "pdp-0.example:4711"},
		{append(doors, "--store=etcd://e1/x", "--etcd-insecure", "--grpc-addr=10.0.0.1:7420"), "http://e1:2379", "/x/", "10.0.0.1:7420"},
	} {
		config, err := Parse(c.args, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := config.check()
		if err != nil {
			t.Errorf("%q: %v", c.args, err)
			continue
		}
		peer := p.replica.address([]net.Addr{&net.UnixAddr{}, &net.TCPAddr{Port: 4711}})
		if got := strings.Join(p.etcd.endpoints, " "); got != c.endpoints || p.etcd.prefix != c.prefix || peer != c.peer || (p.etcd.config(slog.Default()) != nil) != strings.HasPrefix(got, "https") {
			t.Errorf("%q: %s, %s, %s", c.args, got, p.etcd.prefix, peer)
		}
	}
}

// makeFiles makes the files that refusals names.
func makeFiles(t *testing.T, dir string) {
	key, hash := identity.NewKey()
	callers := "keys:\n  - name: forge\n    sha256: " + hash + "\n    roles: [admin]\n"
	for name, text := range map[string]string{
		"unknown.yaml": "history: 20000\nmax-timeot: 1h\n", "nested.yaml": "grpc:\n  addr: 127.0.0.1:1\n", "deep.yaml": "history: {least: 3}\n", "twice.yaml": "history: 20000\nhistory: 30000\n",
		"two.yaml": "history: 20000\n---\nhistory: 20000\n", "list.yaml": "- history\n", "null.yaml": "history:\n", "self.yaml": "config: other.yaml\n",
		"value.yaml": "max-timeout: soon\n", "broken.yaml": "a: [\n", "empty": "", "callers.yaml": callers,
		"clear.yaml": strings.Replace(callers, hash, key, 1), "role.yaml": strings.Replace(callers, "admin", "boss", 1),
	} {
		files.Write(t, filepath.Join(dir, name), text, 0o600)
	}
	files.Write(t, filepath.Join(dir, "open.yaml"), callers, 0o644)
	ca := certs.New(t, dir)
	ca.Issue(dir, "server", "", time.Now().Add(time.Hour))
	ca.Issue(dir, "other", "", time.Now().Add(time.Hour))
	ca.Issue(dir, "old", "", time.Now().Add(-time.Minute))
	ca.Issue(dir, "peer", peerID, time.Now().Add(time.Hour))
	ca.Issue(dir, "runner", "spiffe://forge.example/runner", time.Now().Add(time.Hour))
	certs.New(t, t.TempDir()).Issue(dir, "stranger", peerID, time.Now().Add(time.Hour))
	files.Write(t, filepath.Join(dir, "peers.yaml"), "certificates:\n  - uri: "+peerID+"\n    roles: [peer]\n  - uri: spiffe://forge.example/runner\n    roles: [runner]\n", 0o600)
	files.Write(t, filepath.Join(dir, "password"), "a long one\n", 0o600)
	data, err := os.ReadFile(filepath.Join(dir, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	files.Write(t, filepath.Join(dir, "open.key"), string(data), 0o644)
}

// TestAllFindings wants everything that is wrong in one go.
func TestAllFindings(t *testing.T) {
	_, _, errs := pdp(nil, "config", "check", "--grpc-addr=:1", "--history=1", "--max-timeout=1s", "--socket-mode=0")
	for _, want := range []string{"grpc-addr: ", "history: ", "max-timeout: ", "socket-mode: "} {
		if !strings.Contains(errs, "pdp: refused: "+want) {
			t.Errorf("no complaint about %s in\n%s", want, errs)
		}
	}
}

func TestEnvironment(t *testing.T) {
	for _, c := range []struct{ variable, want string }{
		{"JOBWARD_MAX_TIMEOT=1h", "did you mean JOBWARD_MAX_TIMEOUT?"},
		{"JOBWARD_WHATEVER_THIS_IS=1", "is no setting; see pdp --help"},
		{"JOBWARD_HELP=1", "is no setting"},
		{"JOBWARD_PORT_7420_TCP=tcp://10.0.0.1:7420", "is no setting"},
		{"JOBWARD_HISTORY=1", "history: 1 revisions are too few"},
		{"JOBWARD_DEVELOPMENT=maybe", "JOBWARD_DEVELOPMENT"},
		{"JOBWARD_MAX_TIMEOT=", ""}, // set and empty counts as not set
		{"OTEL_TRACES_EXPORTER=carrier-pigeon", "environment variable OTEL_TRACES_EXPORTER"},
		{"JOBWARD_CI=1", ""},
		{"JOBWARD_ADDRESS=127.0.0.1:1", ""},
		{"OTHER=1", ""},
	} {
		code, _, errs := pdp([]string{c.variable}, "config", "check")
		if c.want == "" && code != settings.ExitOK || c.want != "" && (code != settings.ExitRefused || !strings.Contains(errs, c.want)) {
			t.Errorf("%s: code %d, said %q, want %q", c.variable, code, errs, c.want)
		}
	}
	// What Kubernetes puts into every container beside a service called jobward, and one called jobward-pdp.
	code, _, errs := pdp([]string{"KUBERNETES_SERVICE_HOST=10.0.0.1", "JOBWARD_SERVICE_HOST=10.0.0.2", "JOBWARD_SERVICE_PORT=7420", "JOBWARD_SERVICE_PORT_GRPC=7420",
		"JOBWARD_PORT=tcp://10.0.0.2:7420", "JOBWARD_PORT_7420_TCP_ADDR=10.0.0.2", "JOBWARD_PDP_SERVICE_HOST=10.0.0.3", "JOBWARD_PDP_PORT=tcp://10.0.0.3:1"}, "config", "check")
	if code != settings.ExitOK {
		t.Error(errs)
	}
}

// TestMasked pastes secrets into settings that are no place for them.
func TestMasked(t *testing.T) {
	key, _ := identity.NewKey()
	_, out, _ := pdp(nil, "config", "show", "--callers-file="+key, "--data-dir=/x/"+key+"/y")
	if strings.Contains(out, key[6:]) || strings.Count(out, "[REDACTED]") != 2 {
		t.Errorf("printed:\n%s", strings.ReplaceAll(out, key, "THE KEY"))
	}
}

// TestOwnVariables keeps the table true that the other programs go by.
func TestOwnVariables(t *testing.T) {
	got, err := program().Variables(&commands{})
	if err != nil {
		t.Fatal(err)
	}
	if want := settings.KnownTo("pdp"); !slices.Equal(got, want) {
		t.Errorf("write into internal/settings/variables.go, for pdp:\n%s\nit has\n%s", strings.Join(got, " "), strings.Join(want, " "))
	}
}

// TestOthersVariables reads pdpctl's variables out of its source: a PDP that is started in the shell of somebody who uses them must start, and must
// not take one for a setting.
func TestOthersVariables(t *testing.T) {
	files, err := filepath.Glob("../pdpctl/cli/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("pdpctl's source is not there", err)
	}
	found := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`env:"(JOBWARD_[A-Z_]+)"`).FindAllStringSubmatch(string(data), -1) {
			found++
			if code, out, errs := pdp([]string{m[1] + "=x"}, "config", "show"); code != settings.ExitOK || strings.Contains(out, m[1]) {
				t.Errorf("%s: code %d\n%s%s", m[1], code, out, errs)
			}
		}
	}
	if found == 0 {
		t.Error("pdpctl has no variables: is this test still looking in the right place?")
	}
}
