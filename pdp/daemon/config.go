package daemon

import (
	"log/slog"
	"time"

	"github.com/jobward/jobward/internal/settings"
)

// defaultGRPCAddr is where pdpctl looks for a PDP by itself.
const defaultGRPCAddr = "127.0.0.1:7420"

// Config is every setting of the PDP, and its manual. A setting named max-timeout can be given as the flag --max-timeout, as the environment
// variable JOBWARD_MAX_TIMEOUT, or as the line "max-timeout: 24h" of the YAML file that --config names; the first of these counts. What no
// setting is called is refused, wherever it stands. An environment variable that is set and empty counts as not set.
//
// Durations are written 10s, 5m, 168h; sizes 64KiB, 32MiB, 2GiB. Settings never hold a secret: those are in files that settings name.
// Telemetry is configured by OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_ENDPOINT and so on); nothing is exported until one is set.
//
// The settings of the installation itself, such as public_scope and the limits of allowlists, are not here: they belong to the
// history that decisions are judged on, and are changed through the API.
type Config struct {
	// ConfigFile is read before anything else. There is no default place: what is not named is not read.
	ConfigFile string `name:"config" placeholder:"FILE" group:"Start" help:"YAML file with settings."`

	// Development lets everybody who can connect do everything, without TLS. It works on loopback addresses and Unix sockets
	// only, and says so at every start. Left out, it is on exactly when no TLS certificate is configured. Off without TLS is refused,
	// and so is on with TLS.
	Development *bool `negatable:"" group:"Start" help:"No TLS, no authentication, loopback and Unix sockets only. Default: on exactly when no TLS certificate is configured."`
	// SampleWorld loads a small world of groups, projects and users into a new store in development mode, to try things with. A store that
	// has anything in it is left alone, and outside development mode nothing is ever loaded.
	SampleWorld bool `default:"true" negatable:"" group:"Start" help:"In development mode, fill a new store with a small sample world."`

	// Store is where the history is. "badger" is the embedded store: everything is in the data directory, and there is one PDP.
	// etcd://HOST:PORT,HOST:PORT,HOST:PORT/PREFIX is an etcd cluster that any number of PDPs share, each a replica: name all members (port 2379 if left
	// out), and the same prefix, which nothing else uses, for every PDP of one installation. The scheme is etcd:// with TLS and without: TLS is spoken
	// exactly when etcd-ca-file or etcd-cert-file is set, so that no letter in an address decides it. Without TLS only members on loopback addresses are
	// called, unless etcd-insecure is set. Start with a new prefix; there is no way from one store to the other but a migration.
	Store string `default:"badger" placeholder:"STORE" group:"Store" help:"Where the history is: badger (in the data directory), or etcd://HOST:PORT,.../PREFIX, shared by several PDPs."`
	// DataDir holds everything durable of the embedded store. It is made, for its owner only, if it is not there. One PDP at a time uses it: a second one is
	// refused. It needs a local disk whose fsync can be believed; network file systems are known to lie. With etcd it has one small file, the highest point
	// of the history that this replica has seen: a cluster that is behind it, or has another history, is refused at the next start. A replica may lose it,
	// and each needs its own.
	DataDir string `default:"pdp-data" placeholder:"DIR" group:"Store" help:"Directory of the store; with etcd, of the highest mark seen."`
	// MinFreeDisk is how much of the disk stays free, beside what the store may need next: below it changes are refused, except those that only take
	// rights away. At least 16MiB. A disk that others fill to the last byte all the same kills the process; nothing acknowledged is lost, and the next
	// start says what is wrong. Not for etcd, whose own quota is what counts.
	MinFreeDisk settings.Size `default:"64MiB" placeholder:"SIZE" group:"Store" help:"Refuse changes when less than this is free on the disk; revocations still go through."`
	// Ballast is the size of a file that only takes up space, and is given up for revocations when the disk is full. At least 16MiB. Not for etcd.
	Ballast settings.Size `default:"64MiB" placeholder:"SIZE" group:"Store" help:"Space set aside for revocations on a full disk."`
	// History is how many revisions can be read back one by one, by whoever follows the changes and has been away. What is older is gone from
	// the history, not from the state. At least 10000. In etcd they are kept with their contents, and count against its quota.
	History int `default:"100000" placeholder:"N" group:"Store" help:"Revisions that can be read back one by one."`
	// MemtableSize is the store's write buffer; up to three of them are held in memory. Between 32MiB, which takes the largest change there can
	// be, and 1GiB. Larger makes bulk imports faster. Not for etcd.
	MemtableSize settings.Size `default:"32MiB" placeholder:"SIZE" group:"Store" help:"Write buffer of the store."`
	// CatalogueFile is a JSON document that adds permissions to the built-in catalogue. At a start it is committed into the store if it differs from
	// what is there, and from then on it is part of the history. Left out, the store keeps what it has; an empty list of permissions takes the additions away.
	CatalogueFile string `placeholder:"FILE" group:"Store" help:"JSON document of permissions to add to the built-in ones."`

	// EtcdCAFile holds the certificates that those of etcd's members are verified against, PEM; setting it means TLS. Each member's certificate has to be for
	// one of the hosts that store names. For a cluster with certificates that everybody trusts, name the system's bundle. Read again when it changes.
	EtcdCAFile string `name:"etcd-ca-file" placeholder:"FILE" group:"etcd" help:"CA certificates for etcd's members, PEM. Setting it means TLS to etcd."`
	// EtcdCertFile is the certificate that the PDP shows to etcd, PEM; setting it means TLS. Read again when it changes.
	EtcdCertFile string `name:"etcd-cert-file" placeholder:"FILE" group:"etcd" help:"Client certificate for etcd, PEM. Setting it means TLS to etcd."`
	// EtcdKeyFile is its private key, PEM, in a file that others can neither read nor write.
	EtcdKeyFile string `name:"etcd-key-file" placeholder:"FILE" group:"etcd" help:"Private key of the client certificate for etcd, PEM."`
	// EtcdUsername is for a cluster with authentication by password. The user needs readwrite on the prefix. Left out, etcd knows the PDP by its certificate
	// or not at all.
	EtcdUsername string `name:"etcd-username" placeholder:"NAME" group:"etcd" help:"User of etcd, for authentication by password."`
	// EtcdPasswordFile holds the password and nothing else, in a file that others can neither read nor write. It is read at the start: a password that was
	// changed takes a restart, one replica after the other.
	EtcdPasswordFile string `name:"etcd-password-file" placeholder:"FILE" group:"etcd" help:"File with the password of etcd-username."`
	// EtcdInsecure calls etcd without TLS on addresses other than loopback. Whoever is on the way can then read what is in the store, which has no token in
	// clear, and change what is allowed: it is for networks that encrypt by themselves.
	EtcdInsecure bool `name:"etcd-insecure" group:"etcd" help:"Call etcd without TLS on other machines, too."`
	// EtcdTimeout bounds one try of one call to etcd, 500ms to 30s. Writes are tried again until their outcome is known. Less than etcd needs to elect a
	// leader (about 1s with its own settings) makes more tries out of an election.
	EtcdTimeout time.Duration `name:"etcd-timeout" default:"3s" placeholder:"DURATION" group:"etcd" help:"Time for one try of one call to etcd."`

	// ReplicaName is what the others' receipts and logs call this PDP, 1 to 253 letters, digits, dots, dashes and underscores. Left out, it is the host's
	// name. It need not be unique: every start draws a number of its own.
	ReplicaName string `placeholder:"NAME" group:"Replicas" help:"Name of this PDP on receipts, with etcd. Default: the host's name."`
	// PeerAddress is where the other PDPs call this one, as host:port. Left out, it is the first TCP address of grpc-addr, which must not be a wildcard
	// then. Port 0 is the port that grpc-addr really took. The others verify the server's certificate against its host.
	PeerAddress string `placeholder:"ADDR" group:"Replicas" help:"Where the other PDPs call this one: host:port. Default: the first grpc-addr."`
	// PeerCAFile holds the certificates that those of the other PDPs are verified against, PEM. Left out, it is tls-client-ca-file.
	PeerCAFile string `name:"peer-ca-file" placeholder:"FILE" group:"Replicas" help:"CA certificates for the other PDPs, PEM. Default: tls-client-ca-file."`
	// PeerCertFile is the certificate that this PDP shows to the others, PEM. Left out, it is the server's, which has to be good for clients, too, then. The callers file has to give it the
	// role peer, here and at the others.
	PeerCertFile string `placeholder:"FILE" group:"Replicas" help:"Client certificate towards the other PDPs, PEM. Default: the server's."`
	// PeerKeyFile is its private key, PEM, in a file that others can neither read nor write.
	PeerKeyFile string `placeholder:"FILE" group:"Replicas" help:"Private key of peer-cert-file, PEM."`
	// ReplicaFence is how long this PDP goes on answering when it cannot renew its registration in etcd, and how long the others' receipts wait for a word
	// of it before they shut it out, 1s to 30s. Shorter, and receipts come sooner when a PDP has died; longer, and PDPs outlast longer elections of etcd. A
	// receipt takes at most twice as long, and lease-term, while etcd has a quorum.
	ReplicaFence time.Duration `default:"5s" placeholder:"DURATION" group:"Replicas" help:"How long a PDP answers without etcd, and receipts wait for a PDP that is silent."`

	// GRPCAddr is where calls are taken: host:port, or unix:PATH. Several may be given. Port 0 takes a free one. Outside development mode all of them are
	// TLS, Unix sockets too, so that callers come with the same certificates and keys everywhere.
	GRPCAddr []string `name:"grpc-addr" default:"127.0.0.1:7420" placeholder:"ADDR" group:"Listeners" help:"Where calls are taken: host:port or unix:PATH, several with commas."`
	// AdminAddr is where /livez, /readyz, /startupz and /metrics are served over HTTP: host:port, unix:PATH, or "off". On an address that other machines can reach
	// it is HTTPS with the server's certificate, and asks for no client certificate.
	AdminAddr string `default:"127.0.0.1:7421" placeholder:"ADDR" group:"Listeners" help:"Where health and metrics are served over HTTP: host:port, unix:PATH or off."`
	// RESTAddr is where GitLab's REST API of allowlists is served, for clients that know it, such as GitLab's own libraries and Terraform: host:port, unix:PATH, or "off".
	// Package pdp/gitlab says what is there, and with which keys. Outside development mode it is HTTPS with the server's certificate. Requests wait at most 10s for
	// the receipt of a change; bodies have at most 64KiB.
	RESTAddr string `name:"rest-addr" default:"off" placeholder:"ADDR" group:"Listeners" help:"Where GitLab's REST API of allowlists is served: host:port, unix:PATH or off."`
	// ExternalURL is where people find the forge's pages. Answers of the REST API link to it; left out, their links are null.
	ExternalURL string `name:"external-url" placeholder:"URL" group:"Listeners" help:"Address of the forge's own pages, for links in answers of the REST API."`
	// SocketMode is the mode of the Unix sockets' files, 0600 to 0777. A socket that was left behind is replaced; one on which somebody listens is not.
	SocketMode settings.FileMode `default:"0660" placeholder:"MODE" group:"Listeners" help:"File mode of Unix sockets."`
	// Reflection tells clients such as grpcurl which calls there are. It reveals the API, which is public, and no data.
	Reflection bool `default:"true" negatable:"" group:"Listeners" help:"Serve gRPC reflection."`

	// TLSCertFile is the server's certificate with its intermediates, PEM. It and the other TLS files are read again when they change; what cannot be
	// used then is reported and the last good one stays in force. TLS is 1.3 or nothing.
	TLSCertFile string `placeholder:"FILE" group:"Doors" help:"Server certificate, PEM. Setting it turns development mode off."`
	// TLSKeyFile is its private key, PEM, in a file that others can neither read nor write.
	TLSKeyFile string `placeholder:"FILE" group:"Doors" help:"Private key of the server certificate, PEM."`
	// TLSClientCAFile holds the certificates that clients' certificates are verified against, PEM. Left out, clients are not asked for any and
	// all show bearer keys.
	TLSClientCAFile string `name:"tls-client-ca-file" placeholder:"FILE" group:"Doors" help:"CA certificates for client certificates, PEM."`
	// TLSRequireClientCert refuses connections without a client certificate, also those of callers who would show a bearer key.
	TLSRequireClientCert bool `group:"Doors" help:"Refuse TLS connections without a client certificate."`
	// CallersFile says which certificates and bearer keys have which roles (make keys with "pdp keys new"); its form is in the package comment of
	// internal/identity. Needed as soon as TLS is configured. It is read again when it changes.
	CallersFile string `placeholder:"FILE" group:"Doors" help:"Who may call: certificates and bearer keys with their roles, YAML."`

	// TokenPrefix begins every new job token, so that scanners and maskers know one by looking: 1 to 16 lower-case letters and digits that
	// end in a dash.
	TokenPrefix string `default:"jobt-" placeholder:"PREFIX" group:"Tokens" help:"Prefix of new job tokens."`
	// OlderTokenPrefixes are still known for tokens that were issued before TokenPrefix was changed.
	OlderTokenPrefixes []string `placeholder:"PREFIX" group:"Tokens" help:"Earlier prefixes, still accepted."`
	// MaxTimeout is the longest life of a token that an Issue may ask for, 1 minute to 31 days.
	MaxTimeout time.Duration `default:"168h" placeholder:"DURATION" group:"Tokens" help:"Longest life of a job token."`
	// DefaultTimeout is the life of a token whose Issue does not say, at most MaxTimeout.
	DefaultTimeout time.Duration `default:"1h" placeholder:"DURATION" group:"Tokens" help:"Life of a job token whose issue does not say."`
	// Retention is how long ended jobs are remembered, for explanations and so that nothing that arrives late revives them. At least twice MaxTimeout,
	// which is also what 0 means.
	Retention time.Duration `default:"0" placeholder:"DURATION" group:"Tokens" help:"How long ended jobs are remembered. 0: twice max-timeout."`

	// AuditRetention is how long audit events are kept, at least 1h.
	AuditRetention time.Duration `default:"2160h" placeholder:"DURATION" group:"Audit" help:"How long audit events are kept."`
	// AuditSample keeps one of so many allowed decisions in the audit log; 0 keeps none. Changes and denials are always kept. Answers that a sidecar gave
	// from its cache are decisions too, and so is every look at a transfer under way at its proxy-addr or registry-addr, one for each 32KiB.
	AuditSample int `default:"0" placeholder:"N" group:"Audit" help:"Keep one of N allowed decisions; 0: none. Changes and denials are always kept."`

	// LeaseTerm is how long a sidecar may believe its cache without hearing from the PDP, 1s to 60s. Longer, and what a sidecar has cached is answered for
	// longer when the PDP is gone; but the receipt of a revocation waits for so long for a sidecar that is silent, and so does every receipt after the PDP
	// was killed.
	LeaseTerm time.Duration `default:"5s" placeholder:"DURATION" group:"Sidecars" help:"How long a sidecar may believe its cache without hearing from the PDP: longer is more availability, and slower receipts when one is silent."`
	// MaxInterest is how many things that cached answers rest on are remembered of one sidecar, one by one, at least 1000. Each takes about 100 bytes. A
	// sidecar that holds more is told of changes by 4096 buckets of each kind: it drops more than it would have to, never less.
	MaxInterest int `default:"500000" placeholder:"N" group:"Sidecars" help:"Dependencies remembered of one sidecar one by one; more are kept in buckets."`
	// LeaseQueue is how many messages may wait for a sidecar, and how many invalidations it may leave unconfirmed, at least 16. One that is slower is cut
	// off: its lease runs out, and it starts anew.
	LeaseQueue int `default:"4096" placeholder:"N" group:"Sidecars" help:"Messages that may wait for one sidecar before it is cut off."`
	// MaxSidecars bounds the leases that live at one time. A sidecar that connects again has two until its old one has ended.
	MaxSidecars int `default:"20000" placeholder:"N" group:"Sidecars" help:"Leases that live at one time."`
	// CanaryProject and CanaryUser, when both are set, switch the canary on: for each sidecar that takes part the PDP issues a token for a job of
	// this project, caused by this user, which can ask about its own job and do nothing else; sees it allowed from the sidecar's cache; revokes it; and measures
	// until it is denied. See the metrics jobward.canary.*. Each run leaves two changes in the history.
	CanaryProject int64 `placeholder:"ID" group:"Sidecars" help:"Project of the canary's jobs. Off unless canary-user is set, too."`
	// CanaryUser is whom the canary's jobs act for; it needs no role anywhere.
	CanaryUser int64 `placeholder:"ID" group:"Sidecars" help:"User of the canary's jobs. Off unless canary-project is set, too."`
	// CanaryEvery is how often each sidecar is measured, 1s to 1h.
	CanaryEvery time.Duration `default:"30s" placeholder:"DURATION" group:"Sidecars" help:"How often the canary measures each sidecar."`

	// MaxMessageSize bounds what one call may send, 64KiB to 64MiB. Directory batches are the largest.
	MaxMessageSize settings.Size `default:"8MiB" placeholder:"SIZE" group:"Limits" help:"Largest message taken from a caller."`
	// MaxUnknownTokens is how many tokens that nobody has one caller may show in a second. Beyond it the answer is "could not decide" instead of "unknown";
	// tokens that are known are answered all the same. A door that takes tokens from the internet needs its own limit for each address before that.
	MaxUnknownTokens int `default:"10000" placeholder:"N" group:"Limits" help:"Unknown tokens that one caller may show in a second."`
	// MaxStreams bounds the calls under way on one connection.
	MaxStreams uint32 `default:"1000" placeholder:"N" group:"Limits" help:"Calls under way on one connection."`
	// MaxConnectionAge ends connections after about so long, so that callers spread over replicas and changed certificates take effect. Calls under
	// way have ShutdownGrace to finish; streams that are held longer are cut then, and their callers open them again. 0 lets connections live.
	MaxConnectionAge time.Duration `default:"1h" placeholder:"DURATION" group:"Limits" help:"End connections after about so long; 0: never."`

	// ShutdownDelay is how long the PDP goes on serving after it has said that it is not ready, so that load balancers notice. Development mode does
	// not wait.
	ShutdownDelay time.Duration `default:"5s" placeholder:"DURATION" group:"Stop" help:"Serve on for so long after saying not ready."`
	// ShutdownGrace is how long calls under way have to finish before they are cut off, and sidecars to move to another PDP or to let their leases run
	// out. When they have, the next start need not wait for leases that it knows nothing of; so it is better longer than LeaseTerm.
	ShutdownGrace time.Duration `default:"10s" placeholder:"DURATION" group:"Stop" help:"Time for calls under way to finish."`

	// LogFormat is text, json, or auto: text on a terminal and JSON otherwise. Logs go to standard error.
	LogFormat string `default:"auto" enum:"auto,text,json" group:"Logs" help:"auto (text on a terminal, else json), text or json."`
	// LogLevel is debug, info, warn or error.
	LogLevel slog.Level `default:"INFO" placeholder:"LEVEL" group:"Logs" help:"debug, info, warn or error."`
}
