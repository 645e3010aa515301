package daemon

import (
	"log/slog"
	"time"

	"github.com/jobward/jobward/internal/settings"
)

// Config is every setting of the sidecar, and its manual. A setting named max-entries can be given as the flag --max-entries, as the environment
// variable JOBWARD_MAX_ENTRIES, or as the line "max-entries: 50000" of the YAML file that --config names; the first of these counts. What no
// setting is called is refused, wherever it stands. An environment variable that is set and empty counts as not set.
//
// A PDP and a sidecar can have one environment. What has to differ between them has different names: listen and not grpc-addr, health-addr
// and not admin-addr. What both know, such as log-level, means the same to both. Only config is for one program: a file of the other one's
// settings is refused.
//
// Durations are written 10s, 5m; sizes 64KiB, 32MiB. Settings never hold a secret: those are in files that settings name. Telemetry is configured
// by OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_ENDPOINT and so on); nothing is exported until one is set.
//
// What the sidecar does when something fails is one table, in the package comment. The term of the lease, which is how long cached answers
// outlive the PDP, is the PDP's setting.
type Config struct {
	// ConfigFile is read before anything else. There is no default place: what is not named is not read.
	ConfigFile string `name:"config" placeholder:"FILE" group:"Start" help:"YAML file with settings."`
	// Name is what the sidecar is called by operators: in "pdpctl sidecars", in the PDP's logs and metrics. At most 128 printable characters without
	// spaces. It has no meaning for who may do what, and two may have the same. Left out, it is the name of the host.
	Name string `placeholder:"NAME" group:"Start" help:"What operators call this sidecar. Default: the host's name."`
	// Development takes and makes connections without TLS, on loopback addresses and Unix sockets only, and says so at every start. Left out, it
	// is on exactly when nothing of TLS is configured. On, it can still use TLS to a PDP. Off, the PDP is called over TLS, addresses with a
	// port are TLS, and Unix sockets are TLS too unless trust-socket-mode says otherwise.
	Development *bool `negatable:"" group:"Start" help:"No TLS, no authentication, loopback and Unix sockets only. Default: on exactly when nothing of TLS is configured."`
	// StateDir keeps the highest mark of the PDP's history that was ever seen, a few hundred bytes: with it the sidecar refuses a PDP that was
	// put back to an older state (P6), also after a restart. It is made, for its owner only, if it is not there. Keep it through restarts. One
	// sidecar at a time uses it.
	StateDir string `default:"sidecar-data" placeholder:"DIR" group:"Start" help:"Directory of what is kept through restarts."`

	// PDPAddr is where the policy decision points are: host:port, or unix:PATH. A name stands for all addresses that it has in the DNS. Of several the sidecar
	// holds to one, chosen at random, and goes to another when that one is lost, stops, or may not answer; where the PDPs share a store, what is in the cache
	// goes with it.
	PDPAddr []string `name:"pdp-addr" default:"127.0.0.1:7420" placeholder:"ADDR" group:"PDP" help:"Where the policy decision points are: host:port or unix:PATH, several with commas."`
	// PDPCAFile holds the certificates that the PDP's certificate is verified against, PEM. Left out, those of the system are used. It and the other
	// files of this group are read again when they change; what cannot be used then is reported and the last good one stays in force.
	PDPCAFile string `name:"pdp-ca-file" placeholder:"FILE" group:"PDP" help:"CA certificates for the PDP's certificate, PEM. Setting any of this group turns development mode off."`
	// PDPCertFile is this sidecar's certificate for the PDP, which must have the role sidecar there.
	PDPCertFile string `name:"pdp-cert-file" placeholder:"FILE" group:"PDP" help:"Client certificate for the PDP, PEM."`
	// PDPKeyFile is its private key, in a file that others can neither read nor write.
	PDPKeyFile string `name:"pdp-key-file" placeholder:"FILE" group:"PDP" help:"Private key of the client certificate, PEM."`
	// PDPBearerKeyFile holds a key that "pdp keys new NAME --role=sidecar" made, for a sidecar without a client certificate. It is read again for
	// each connection, and goes over TLS only.
	PDPBearerKeyFile string `name:"pdp-bearer-key-file" placeholder:"FILE" group:"PDP" help:"File with a bearer key for the PDP, instead of a client certificate."`
	// PDPServerName is the name that the PDP's certificate has to be for. Left out, it is the host of the address.
	PDPServerName string `name:"pdp-server-name" placeholder:"NAME" group:"PDP" help:"Name in the PDP's certificate. Default: the host of the address."`
	// PDPTimeout is how long an answer of the PDP may take before the question counts as not decided. A caller's own deadline counts when it
	// is nearer. 10ms to 1m.
	PDPTimeout time.Duration `name:"pdp-timeout" default:"2s" placeholder:"DURATION" group:"PDP" help:"How long one question to the PDP may take."`

	// Listen is where services ask: host:port, or unix:PATH. Several may be given. Port 0 takes a free one.
	Listen []string `default:"127.0.0.1:7430" placeholder:"ADDR" group:"Listeners" help:"Where calls are taken: host:port or unix:PATH, several with commas."`
	// HealthAddr is where /livez, /readyz, /startupz and /metrics are served over HTTP: host:port, unix:PATH, or "off". On an address that other
	// machines can reach it is HTTPS with the sidecar's certificate, and asks for no client certificate.
	HealthAddr string `default:"127.0.0.1:7431" placeholder:"ADDR" group:"Listeners" help:"Where health and metrics are served over HTTP: host:port, unix:PATH or off."`
	// ListenMode is the mode of the Unix sockets' files, 0600 to 0777. A socket that was left behind is replaced; one on which somebody listens is not.
	ListenMode settings.FileMode `default:"0660" placeholder:"MODE" group:"Listeners" help:"File mode of Unix sockets."`
	// TrustSocketMode serves Unix sockets without TLS outside development mode: whoever may open the file has the role service. It is an
	// operator's decision and not the default, because a mode is easily wider than it looks, in a shared volume for example. A caller may
	// show a bearer key all the same, and is then who the key says.
	TrustSocketMode bool `group:"Listeners" help:"Outside development mode, serve Unix sockets without TLS to whoever may open the file."`
	// Reflection tells clients such as grpcurl which calls there are. It reveals the API, which is public, and no data.
	Reflection bool `default:"true" negatable:"" group:"Listeners" help:"Serve gRPC reflection."`
	// ExtAuthz answers Envoy's ext_authz filter on the listeners, to callers with the role service. It tells no more than Check does, and needs
	// nothing; deploy/envoy has the recipe.
	ExtAuthz bool `default:"true" negatable:"" group:"Listeners" help:"Answer Envoy's ext_authz filter."`

	// ListenCertFile is the sidecar's certificate for services, with its intermediates, PEM. It and the other files of this group are read
	// again when they change. TLS is 1.3 or nothing.
	ListenCertFile string `placeholder:"FILE" group:"Doors" help:"Server certificate, PEM. Setting it turns development mode off."`
	// ListenKeyFile is its private key, PEM, in a file that others can neither read nor write.
	ListenKeyFile string `placeholder:"FILE" group:"Doors" help:"Private key of the server certificate, PEM."`
	// ListenClientCAFile holds the certificates that services' certificates are verified against, PEM. Left out, they are not asked for any and all show
	// bearer keys.
	ListenClientCAFile string `name:"listen-client-ca-file" placeholder:"FILE" group:"Doors" help:"CA certificates for client certificates, PEM."`
	// ListenCallersFile says which certificates and bearer keys have which roles; a service has the role service. Its form is the PDP's callers
	// file's, in the package comment of internal/identity. Needed as soon as a listener has TLS.
	ListenCallersFile string `placeholder:"FILE" group:"Doors" help:"Who may call: certificates and bearer keys with their roles, YAML."`

	// HTTPAddr is where reverse proxies ask before they pass a request on, GET /auth (Traefik, Caddy) and GET /auth/nginx: host:port, unix:PATH, or "off".
	// Only who is in TrustedProxies is answered, since who asks tells what is judged; over a Unix socket, whoever may open the file, in
	// development mode or with trust-socket-mode. Nobody shows a certificate or a key here. Recipes are in deploy/.
	//
	// It and proxy-addr are served without TLS on loopback addresses and Unix sockets, in development mode or not: who stands beside the
	// sidecar calls over these. On other addresses they are HTTPS with the sidecar's certificate, and there is no start without one.
	HTTPAddr string `name:"http-addr" default:"off" placeholder:"ADDR" group:"HTTP doors" help:"Where reverse proxies ask (forward-auth): host:port, unix:PATH or off."`
	// ProxyAddr is where clients' requests are taken, judged, and passed on to ProxyTo, for a service that has no proxy before it: host:port, unix:PATH, or
	// "off". Everybody may connect: each request shows its own token. It goes on judging while a transfer is under way, and breaks the transfer off when
	// the job may not do it any more. Package sidecar/proxy says what is passed on, and what is not.
	ProxyAddr string `default:"off" placeholder:"ADDR" group:"HTTP doors" help:"Where requests are judged and passed on to proxy-to: host:port, unix:PATH or off."`
	// ProxyTo is the service: http://host:port, https://host:port, or unix:PATH. Nobody else should be able to reach it: it has to believe the headers
	// Jobward-Job, Jobward-Project and Jobward-User. Proxies of the environment are not used.
	ProxyTo string `placeholder:"URL" group:"HTTP doors" help:"The service behind proxy-addr: http://host:port, https://host:port or unix:PATH."`
	// ProxyCAFile holds the certificates that the certificate of an https ProxyTo is verified against, PEM. Left out, those of the system are used. It is
	// read again when it changes.
	ProxyCAFile string `name:"proxy-ca-file" placeholder:"FILE" group:"HTTP doors" help:"CA certificates for the certificate of proxy-to, PEM."`
	// RoutesFile adds routes of other services to the built-in ones of a forge, YAML; package sidecar/route says how they are written. It is read at the
	// start. It is for all doors that judge requests, ext-authz too, and so are WithoutToken, OwnerURL and TellReason.
	RoutesFile string `placeholder:"FILE" group:"HTTP doors" help:"Routes of other services, YAML."`
	// WithoutToken is what becomes of requests that show no job token where their route has one: judge lets through what an anonymous visitor may do, and
	// answers 401 to the rest; pass leaves them to the service, which has other ways to know people; deny answers 401.
	WithoutToken string `default:"judge" enum:"judge,pass,deny" group:"HTTP doors" help:"Requests without a job token: judge (what anybody may do), pass (the service decides) or deny."`
	// OwnerURL is asked for the project that owns what a path names, where the path does not tell (package files of a group): a GET with the headers
	// Jobward-Method and Jobward-Path, answered within 2s by {"project_id": 7}, {"project_path": "group/project"} or 404. Left out, such requests are
	// refused. The certificate of an https address is verified against those of the system.
	OwnerURL string `name:"owner-url" placeholder:"URL" group:"HTTP doors" help:"Who is asked which project owns what a path names."`
	// TrustedProxies are the addresses, or ranges of addresses, of the proxies that may ask at http-addr, and whose X-Forwarded headers proxy-addr
	// believes and passes on. X-Forwarded headers of others are replaced.
	TrustedProxies []string `default:"127.0.0.0/8,::1" placeholder:"CIDR" group:"HTTP doors" help:"Addresses of proxies that may ask at http-addr and are believed, several with commas."`
	// RefuseQueryTokens refuses with 400, at http-addr, what would be allowed by a job token in the query: for a proxy that cannot take it out before it
	// passes the request on, as Caddy before 2.8 and Traefik cannot.
	RefuseQueryTokens bool `group:"HTTP doors" help:"Refuse job tokens in queries at http-addr."`
	// TellReason puts the reason of a refusal into the header Jobward-Reason. It tells whoever has a job token more than the answer does, such as that a
	// project exists.
	TellReason bool `group:"HTTP doors" help:"Tell the reason of refusals in the header Jobward-Reason."`

	// RegistryAddr is where docker, skopeo and crane find the container registry: /v2/ is passed on to RegistryTo and judged while it flows, /jwt/auth
	// gives tokens to jobs, and /jwt/jwks has the keys: host:port, unix:PATH, or "off". TLS is as for http-addr. Package sidecar/registry says what
	// is asked; deploy/registry/ has the configuration of the registry behind.
	RegistryAddr string `default:"off" placeholder:"ADDR" group:"Registry" help:"Where clients find the container registry: host:port, unix:PATH or off."`
	// RegistryTo is the registry: http://host:port, https://host:port, or unix:PATH. Nobody else should be able to reach it: it honours a token for a minute
	// after its end, and asks nobody whether the job still lives.
	RegistryTo string `placeholder:"URL" group:"Registry" help:"The registry behind registry-addr: http://host:port, https://host:port or unix:PATH."`
	// RegistryCAFile holds the certificates that the certificate of an https RegistryTo is verified against, PEM. Left out, those of the system are used. It is
	// read again when it changes.
	RegistryCAFile string `name:"registry-ca-file" placeholder:"FILE" group:"Registry" help:"CA certificates for the certificate of registry-to, PEM."`
	// RegistryURL is how clients reach RegistryAddr, where something stands between or it is not a loopback address. Left out, it is that address.
	RegistryURL string `name:"registry-url" placeholder:"URL" group:"Registry" help:"Where clients find the registry: https://host or https://host:port."`
	// RegistryService and RegistryIssuer must be auth.token.service and auth.token.issuer in the registry's configuration.
	RegistryService string `default:"container_registry" placeholder:"NAME" group:"Registry" help:"Service of registry tokens, as in the registry's configuration."`
	// RegistryIssuer is who gives the tokens out.
	RegistryIssuer string `default:"jobward" placeholder:"NAME" group:"Registry" help:"Issuer of registry tokens, as in the registry's configuration."`
	// RegistryKeyFile is the private key that registry tokens are signed with, PEM: ECDSA on P-256, or RSA of 2048 bits or more, in a file that others can
	// neither read nor write. "sidecar registry-keys DIR" makes it and the certificate, and makes new ones under the same CA when it is run
	// again. Both are read again when they change.
	RegistryKeyFile string `placeholder:"FILE" group:"Registry" help:"Private key for registry tokens, PEM."`
	// RegistryCertFile is its certificate with its intermediates, PEM, which the registry's rootcertbundle leads to. Certificates behind it that are no CA's
	// are those of other signers of this registry: tokens signed by them are taken too.
	RegistryCertFile string `placeholder:"FILE" group:"Registry" help:"Certificate of the key for registry tokens, PEM."`
	// RegistryTokenTTL is how long registry tokens live, 1m to 1h; no longer than the job's own token has left, and a minute at least, which clients count on. The
	// job is asked about on each request all the same.
	RegistryTokenTTL time.Duration `name:"registry-token-ttl" default:"5m" placeholder:"DURATION" group:"Registry" help:"How long registry tokens live."`

	// WhenUnavailable is what callers get when the lease has lapsed and no PDP answers: deny is a decision with the reason lease_lapsed, which
	// a service needs no code for; error is UNAVAILABLE, which lets it tell "no" from "could not decide". Neither is ever an allow.
	WhenUnavailable string `default:"deny" enum:"deny,error" group:"Cache" help:"When nothing can be decided: deny (with the reason lease_lapsed) or error."`
	// MaxEntries is how many decisions are kept, 1000 to 10000000; those used least recently make room.
	MaxEntries int `default:"100000" placeholder:"N" group:"Cache" help:"Decisions kept."`
	// MaxCacheSize bounds the memory that they take, about, 1MiB to 16GiB. A decision takes some 60 bytes, and what is kept of a token, of a kind of
	// question and of a project once for all that share it, some 100 to 300 bytes each.
	MaxCacheSize settings.Size `default:"32MiB" placeholder:"SIZE" group:"Cache" help:"Memory of the decisions kept, about."`
	// Canary lets the PDP measure through this sidecar how long a dead token lives: it issues a job of its own now and then, asks about it
	// here, revokes it, and asks until it is denied.
	Canary bool `default:"true" negatable:"" group:"Cache" help:"Answer the PDP's canary questions, which measure the time from revoking to denying."`
	// MemoryLimit is what the process is told to stay below: the collector works harder when it comes near. It is a wish, not a bound. 0 leaves
	// it to GOMEMLIMIT, which also goes before a limit given here.
	MemoryLimit settings.Size `default:"0" placeholder:"SIZE" group:"Cache" help:"Memory to stay below if possible, at least 16MiB; 0: none."`

	// MaxMessageSize bounds what one call may send, 64KiB to 64MiB.
	MaxMessageSize settings.Size `default:"2MiB" placeholder:"SIZE" group:"Limits" help:"Largest message taken from a caller."`
	// MaxStreams bounds the calls under way on one connection.
	MaxStreams uint32 `default:"1000" placeholder:"N" group:"Limits" help:"Calls under way on one connection."`
	// MaxConnectionAge ends connections after about so long, so that changed certificates take effect. Calls under way have ShutdownGrace to
	// finish; streams that are held longer are cut then, and their callers open them again. 0 lets connections live.
	MaxConnectionAge time.Duration `default:"1h" placeholder:"DURATION" group:"Limits" help:"End connections after about so long; 0: never."`

	// ShutdownDelay is how long the sidecar goes on serving after it has said that it is not ready, so that who watches it notices. Development
	// mode does not wait.
	ShutdownDelay time.Duration `default:"5s" placeholder:"DURATION" group:"Stop" help:"Serve on for so long after saying not ready."`
	// ShutdownGrace is how long calls, requests and transfers under way have to finish before they are cut off, and how long giving back the lease may take.
	ShutdownGrace time.Duration `default:"10s" placeholder:"DURATION" group:"Stop" help:"Time for calls and transfers under way to finish."`

	// LogFormat is text, json, or auto: text on a terminal and JSON otherwise. Logs go to standard error.
	LogFormat string `default:"auto" enum:"auto,text,json" group:"Logs" help:"auto (text on a terminal, else json), text or json."`
	// LogLevel is debug, info, warn or error.
	LogLevel slog.Level `default:"INFO" placeholder:"LEVEL" group:"Logs" help:"debug, info, warn or error."`
}
