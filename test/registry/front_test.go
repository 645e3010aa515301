package registry

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/test/certs"
	"github.com/jobward/jobward/test/programs"
)

// TestNginx is the README with nginx before the sidecar.
func TestNginx(t *testing.T) {
	programs.Find(t, "skopeo")
	w := start(t, programs.Find(t, "docker-registry"), nginx).world() // pushes
	w.overTLS(t)
	t.Run("pull cut", w.pullCut)
	t.Run("push cut", w.pushCut)
	w.silent(w.shop, w.api, w.site, w.warehouse)
}

// TestTLS is the recipe with nothing before the sidecar, which then has TLS to the PDP too.
func TestTLS(t *testing.T) {
	programs.Find(t, "skopeo")
	w := start(t, programs.Find(t, "docker-registry"), ownTLS).world()
	w.overTLS(t)
	t.Run("pull cut", w.pullCut) // over HTTP/2
	t.Run("push cut", w.pushCut)
	w.silent(w.shop, w.api, w.site, w.warehouse)
}

// overTLS pulls and pushes once more, and is refused once.
func (w *world) overTLS(t *testing.T) {
	out, err := w.copy(w.shop, w.at("acme/web/shop:1"), "oci:"+t.TempDir())
	want(t, "pull", "", out, err)
	out, err = w.copy(w.shop, w.at("acme/platform/api:1"), w.at("acme/web/shop/api:1"))
	want(t, "pull and push", "", out, err)
	out, err = w.copy(w.shop, w.at("acme/web/shop:1"), w.at("acme/platform/api:2"))
	want(t, "push elsewhere", "denied", out, err)
}

// secure makes a CA and a server's certificate, and lets clients know the CA.
func (r *rig) secure() (cert, key string) {
	r.t.Helper()
	r.scheme, r.certs = "https", filepath.Join(r.dir, "certs.d")
	if err := os.Mkdir(r.certs, 0o700); err != nil {
		r.t.Fatal(err)
	}
	ca := certs.New(r.t, r.dir)
	r.ca = ca.File
	if err := os.Link(ca.File, filepath.Join(r.certs, "ca.crt")); err != nil {
		r.t.Fatal(err)
	}
	config := ca.Client("", "")
	config.ServerName = "localhost"
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	r.t.Cleanup(transport.CloseIdleConnections)
	r.client = &http.Client{Transport: transport}
	return ca.Issue(r.dir, "registry.example.com", "", time.Now().Add(time.Hour))
}

// secureLink starts the PDP again with TLS; only in development mode it makes the sample world. It gives what the reader of the recipe changes, and more
// settings of the sidecar.
func (r *rig) secureLink(pdp string, launch func(...string)) (link, more []string) {
	r.t.Helper()
	r.conn.Close()
	r.logs["pdp"].Cmd.Process.Signal(syscall.SIGTERM)
	if code := r.logs["pdp"].End(); code != 0 {
		r.t.Fatalf("the PDP ended with %d: %s", code, r.logs["pdp"].Log.Tail())
	}
	cert, key := r.secure()
	bearer, hash := identity.NewKey()
	in := func(name, text string) string {
		write(r.t, filepath.Join(r.dir, name), text)
		return filepath.Join(r.dir, name)
	}
	launch("--tls-cert-file="+cert, "--tls-key-file="+key,
		"--callers-file="+in("callers.yaml", "keys:\n  - {name: all, sha256: "+hash+", roles: [runner, sidecar, maintainer, directory]}\n"))
	config := r.client.Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = nil
	r.dial(pdp, grpc.WithTransportCredentials(credentials.NewTLS(config)), grpc.WithPerRPCCredentials(bearerKey(bearer)))
	callers := in("services.yaml", "keys:\n  - {name: nobody, sha256: "+hash+", roles: [service]}\n")
	return []string{"/etc/jobward/pdp.jobk", in("pdp.jobk", bearer)}, []string{"--pdp-ca-file=" + r.ca, "--pdp-server-name=localhost",
		"--listen-cert-file=" + cert, "--listen-key-file=" + key, "--listen-callers-file=" + callers}
}

// bearerKey goes with every call to the PDP.
type bearerKey string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (k bearerKey) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(k)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (k bearerKey) RequireTransportSecurity() bool { return true }

// url is where clients find the registry.
func (r *rig) url() string { return r.scheme + "://" + r.host }

// tls are skopeo's settings for the places that begin so.
func (r *rig) tls(places ...string) (args []string) {
	for _, p := range places {
		if r.certs == "" {
			args = append(args, p+"tls-verify=false")
		} else {
			args = append(args, p+"cert-dir="+r.certs)
		}
	}
	return args
}

// nginx starts nginx with the recipe's file before the sidecar, and gives its address.
func (r *rig) nginx(door string) (at string) {
	r.t.Helper()
	program, at := programs.Find(r.t, "nginx"), freeAddress(r.t)
	cert, key := r.secure()
	server := filepath.Join(r.dir, "registry.conf")
	write(r.t, server, recipe(r.t, "nginx.conf", "listen 443 ssl", "listen "+at+" ssl", "127.0.0.1:7434", door,
		"/etc/nginx/tls/registry.example.com.pem", cert, "/etc/nginx/tls/registry.example.com.key", key))
	conf := "worker_processes 1;\ndaemon off;\npid nginx.pid;\nerror_log stderr warn;\nevents {}\nhttp {\n  access_log access.log;\n"
	if os.Geteuid() == 0 {
		conf = "user root;\n" + conf // the folders of tests are nobody else's
	}
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		conf += fmt.Sprintf("  %s_temp_path %s/%s;\n", kind, r.dir, kind)
	}
	write(r.t, filepath.Join(r.dir, "nginx.conf"), conf+"  include "+server+";\n}\n")
	p := programs.Launch(r.t, r.dir, nil, program, "-p", r.dir+"/", "-c", "nginx.conf")
	r.logs["nginx"] = p
	r.t.Cleanup(func() {
		p.Cmd.Process.Signal(os.Interrupt) // its workers end with it
		p.End()
		if r.t.Failed() {
			r.t.Logf("nginx:\n%s", p.Log.Tail())
		}
	})
	programs.Eventually(r.t, "nginx", func() bool {
		c, err := net.Dial("tcp", at)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return at
}
