package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// handshake lets client and server meet and returns the server's view of the connection, and what either end had to complain of. After it both
// ends have said something, since in TLS 1.3 a client believes itself connected before the server has looked at its certificate.
func handshake(server, client *tls.Config) (state tls.ConnectionState, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // not net.Pipe: the two may both be writing, and a pipe holds nothing
	if err != nil {
		return state, err
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		c, err := tls.Dial("tcp", l.Addr().String(), client)
		if err == nil {
			_, err = c.Read(make([]byte, 1))
			c.Close()
		}
		done <- err
	}()
	conn, err := l.Accept()
	if err != nil {
		return state, err
	}
	s := tls.Server(conn, server)
	if err = s.Handshake(); err == nil {
		state = s.ConnectionState()
		_, err = s.Write([]byte{1})
	}
	conn.Close()
	return state, errors.Join(err, <-done)
}

// installation is a server with a client CA and a client with a certificate of it, in files.
type installation struct {
	dir
	serverCA, clientCA *authority
	server             ServerFiles
	client             ClientFiles
}

func newInstallation(t testing.TB) *installation {
	d := newDir(t)
	in := &installation{dir: d, serverCA: newAuthority(t, "servers"), clientCA: newAuthority(t, "clients")}
	in.server = ServerFiles{Cert: d.name("server.crt"), Key: d.name("server.key"), ClientCA: d.put("clients.crt", in.clientCA.pem)}
	in.client = ClientFiles{Cert: d.name("client.crt"), Key: d.name("client.key"), CA: d.put("servers.crt", in.serverCA.pem), ServerName: "pdp.example"}
	in.newServerCert(in.serverCA)
	in.newClientCert(in.clientCA, uris("spiffe://td/runner/7"))
	return in
}

func (in *installation) newServerCert(a *authority, change ...func(*x509.Certificate)) {
	in.t.Helper()
	cert, key := a.leaf(in.t, change...)
	in.put("server.crt", cert)
	in.put("server.key", key)
}

func (in *installation) newClientCert(a *authority, change ...func(*x509.Certificate)) {
	in.t.Helper()
	cert, key := a.leaf(in.t, change...)
	in.put("client.crt", cert)
	in.put("client.key", key)
}

func (in *installation) load() (*ServerTLS, *ClientTLS) {
	in.t.Helper()
	s, err := LoadServerTLS(in.server, "h2")
	must(in.t, err)
	c, err := LoadClientTLS(in.client)
	must(in.t, err)
	return s, c
}

// unchecked loads a client certificate that LoadClientTLS would refuse.
func (in *installation) unchecked() *tls.Config {
	in.t.Helper()
	pair, err := tls.LoadX509KeyPair(in.client.Cert, in.client.Key)
	must(in.t, err)
	pool := x509.NewCertPool()
	pool.AddCert(in.serverCA.cert)
	return &tls.Config{RootCAs: pool, ServerName: "pdp.example", NextProtos: []string{"h2"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }}
}

func TestHandshake(t *testing.T) {
	in := newInstallation(t)
	s, c := in.load()
	state, err := handshake(s.Config(), c.Config("h2"))
	must(t, err)
	if state.Version != tls.VersionTLS13 || state.NegotiatedProtocol != "h2" || len(state.VerifiedChains) != 1 {
		t.Errorf("version %x, protocol %q, %d chains", state.Version, state.NegotiatedProtocol, len(state.VerifiedChains))
	}
	id, err := certificateID(state.PeerCertificates[0])
	if err != nil || id != "spiffe://td/runner/7" {
		t.Errorf("the client is %q, %v", id, err)
	}
	_, hash := NewKey()
	callers, err := LoadCallers(in.put("callers.yaml", keysFile("a", hash)))
	must(t, err)
	if p, err := callers.Authenticate(&state, nil); err != nil || p != (Principal{Name: "spiffe://td/runner/7"}) {
		t.Errorf("the caller is %+v, %v", p, err)
	}

	old := c.Config("h2")
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if _, err := handshake(s.Config(), old); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.2: %v", err)
	}
}

func TestClientCertificates(t *testing.T) {
	in := newInstallation(t)
	optional, c := in.load()
	in.server.RequireClientCert = true
	required, _ := in.load()
	in.server.RequireClientCert, in.server.ClientCA = false, ""
	none, _ := in.load()
	in.client.Cert, in.client.Key = "", ""
	_, without := in.load()
	in.client.Cert, in.client.Key = in.name("client.crt"), in.name("client.key")

	for name, row := range map[string]struct {
		server *ServerTLS
		client *ClientTLS
		certs  int // that the server sees; -1: refused
	}{
		"optional, with": {optional, c, 1}, "optional, without": {optional, without, 0}, "required, with": {required, c, 1},
		"required, without": {required, without, -1}, "not asked": {none, c, 0},
	} {
		state, err := handshake(row.server.Config(), row.client.Config("h2"))
		if (err != nil) != (row.certs < 0) || err == nil && len(state.PeerCertificates) != row.certs {
			t.Errorf("%s: %d certificates, %v", name, len(state.PeerCertificates), err)
		}
	}
	for name, make := range map[string]func(){
		"another CA": func() { in.newClientCert(newAuthority(t, "clients"), uris("spiffe://td/runner/7")) },
		"self-made":  func() { in.newClientCert(nil, uris("spiffe://td/runner/7")) },
		"server's":   func() { in.newClientCert(in.clientCA, use(x509.ExtKeyUsageServerAuth)) },
		"expired":    func() { in.newClientCert(in.clientCA, expired) },
		"not yet":    func() { in.newClientCert(in.clientCA, notYet) },
	} {
		make()
		for kind, server := range map[string]*ServerTLS{"optional": optional, "required": required} {
			if _, err := handshake(server.Config(), in.unchecked()); err == nil {
				t.Errorf("%s: a client certificate that is not good passed where one is %s", name, kind)
			}
		}
	}
}

func TestServerCertificates(t *testing.T) {
	in := newInstallation(t)
	for name, row := range map[string]struct {
		serverName string
		change     func(*x509.Certificate)
		authority  *authority
		want       string
	}{
		"name":              {"pdp.example", func(*x509.Certificate) {}, in.serverCA, ""},
		"address":           {"127.0.0.1", func(*x509.Certificate) {}, in.serverCA, ""},
		"another name":      {"other.example", func(*x509.Certificate) {}, in.serverCA, "not other.example"},
		"another address":   {"127.0.0.2", func(*x509.Certificate) {}, in.serverCA, "not 127.0.0.2"},
		"address, no SAN":   {"127.0.0.1", func(c *x509.Certificate) { c.IPAddresses = nil }, in.serverCA, "127.0.0.1"},
		"only a name":       {"pdp.example", func(c *x509.Certificate) { c.DNSNames = nil; c.Subject.CommonName = "pdp.example" }, in.serverCA, "pdp.example"},
		"another CA":        {"pdp.example", func(*x509.Certificate) {}, newAuthority(t, "servers"), "unknown authority"},
		"CA of the clients": {"pdp.example", func(*x509.Certificate) {}, in.clientCA, "unknown authority"},
		"expired":           {"pdp.example", expired, in.serverCA, "expired"},
		"client's":          {"pdp.example", use(x509.ExtKeyUsageClientAuth), in.serverCA, "incompatible key usage"},
	} {
		in.client.ServerName = row.serverName
		c, err := LoadClientTLS(in.client)
		must(t, err)
		cert, key := row.authority.leaf(t, row.change)
		pair, err := tls.X509KeyPair(cert, key)
		must(t, err)
		_, err = handshake(&tls.Config{Certificates: []tls.Certificate{pair}}, c.Config())
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", name, err, row.want)
		}
	}
}

func TestIntermediates(t *testing.T) {
	in := newInstallation(t)
	middle := &authority{}
	template := *in.serverCA.cert
	template.Subject.CommonName = "middle"
	middle.cert, middle.key, middle.pem = sign(t, &template, in.serverCA)
	cert, key := middle.leaf(t)
	in.put("server.crt", append(cert, middle.pem...))
	in.put("server.key", key)
	s, c := in.load()
	if _, err := handshake(s.Config(), c.Config("h2")); err != nil {
		t.Error(err)
	}
}

func TestTLSReload(t *testing.T) {
	in := newInstallation(t)
	s, c := in.load()
	server, client := s.Config(), c.Config("h2") // taken once, as servers and clients do
	var reports []error
	look := func() {
		reports = nil
		s.source.lookAndReport(func(err error) { reports = append(reports, err) })
		c.source.lookAndReport(func(err error) { reports = append(reports, err) })
	}
	meet := func(step string, want string) {
		t.Helper()
		if _, err := handshake(server, client); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", step, err, want)
		}
	}
	meet("at first", "")

	// The certificate comes before its key: bad for a moment, and the old pair serves on.
	newCA := newAuthority(t, "servers 2")
	cert, key := newCA.leaf(t)
	in.put("server.crt", cert)
	look()
	if len(reports) != 1 || reports[0] == nil || !strings.Contains(reports[0].Error(), "private key does not match") {
		t.Errorf("half a pair: %v", reports)
	}
	meet("half a pair", "")
	in.put("server.key", key)
	look()
	if len(reports) != 1 || reports[0] != nil {
		t.Errorf("the pair: %v", reports)
	}
	meet("a server of an unknown CA", "unknown authority")
	in.put("servers.crt", append(in.serverCA.pem, newCA.pem...))
	look()
	meet("the client knows the CA", "")

	in.newServerCert(newCA, expired)
	look()
	if len(reports) != 1 || reports[0] == nil || !strings.Contains(reports[0].Error(), "expired at") {
		t.Errorf("expired: %v", reports)
	}
	meet("the expired one is not taken", "")

	in.put("clients.crt", newAuthority(t, "clients 2").pem)
	in.newServerCert(newCA)
	look()
	meet("clients of the old CA", "unknown certificate authority")
	in.put("clients.crt", in.clientCA.pem)
	look()
	meet("clients of the old CA again", "")
	must(t, os.Remove(in.name("clients.crt")))
	look()
	meet("the CA file is gone, its content in force", "")

	in.newClientCert(newAuthority(t, "unknown"), uris("spiffe://td/a"))
	look()
	meet("the client's new certificate", "unknown certificate authority")
}

// TestNoResumption: a resumed session would carry a client past a CA that was taken away.
func TestNoResumption(t *testing.T) {
	in := newInstallation(t)
	s, c := in.load()
	server, client := s.Config(), c.Config("h2")
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for range 2 {
		if state, err := handshake(server, client); err != nil || state.DidResume {
			t.Errorf("resumed %v, %v", state.DidResume, err)
		}
	}
}

// TestReloadUnderHandshakes: two good pairs, each with its own CA, are swapped as fast as they are noticed, while clients that trust both connect.
func TestReloadUnderHandshakes(t *testing.T) {
	in := newInstallation(t)
	ca2 := newAuthority(t, "servers 2")
	in.put("servers.crt", append(in.serverCA.pem, ca2.pem...))
	s, c := in.load()
	server, client := s.Config(), c.Config("h2")
	ctx, cancel := context.WithCancel(context.Background())
	var loops, clients sync.WaitGroup
	noticed := make(chan struct{}, 1)
	report := func(err error) {
		if err == nil {
			select {
			case noticed <- struct{}{}:
			default:
			}
		}
	}
	loops.Go(func() { s.Run(ctx, time.Millisecond, report) })
	loops.Go(func() { c.Run(ctx, time.Millisecond, func(error) {}) })
	var met atomic.Int64
	for range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				if _, err := handshake(server, client); err != nil {
					t.Error(err)
					return
				}
				met.Add(1)
			}
		})
	}
	for i := range 20 {
		in.newServerCert([]*authority{ca2, in.serverCA}[i%2])
		in.newClientCert(in.clientCA, uris("spiffe://td/runner/7"))
		<-noticed
	}
	for met.Load() < 50 && !t.Failed() {
		time.Sleep(time.Millisecond) // only for more of the same; nothing is decided by it
	}
	cancel()
	clients.Wait()
	loops.Wait()
}

func TestServerFilesRefused(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*installation)
		want   string
	}{
		"no certificate":      {func(in *installation) { in.server.Cert = "" }, "needs both"},
		"no key":              {func(in *installation) { in.server.Key = "" }, "needs both"},
		"required, no CA":     {func(in *installation) { in.server.ClientCA = ""; in.server.RequireClientCert = true }, "no client CA file"},
		"certificate missing": {func(in *installation) { must(in.t, os.Remove(in.server.Cert)) }, "server certificate file: stat {server.crt}: no such file"},
		"key missing":         {func(in *installation) { must(in.t, os.Remove(in.server.Key)) }, "server private key file: stat {server.key}: no such file"},
		"CA missing":          {func(in *installation) { must(in.t, os.Remove(in.server.ClientCA)) }, "client CA file: stat {clients.crt}: no such file"},
		"certificate empty":   {func(in *installation) { in.put("server.crt", nil) }, "server certificate file {server.crt}: is empty"},
		"certificate a folder": {func(in *installation) {
			must(in.t, os.Remove(in.server.Cert))
			must(in.t, os.Mkdir(in.server.Cert, 0o700))
		}, "{server.crt}: is not a regular file"},
		"certificate no PEM":  {func(in *installation) { in.put("server.crt", []byte("hello")) }, "server certificate file {server.crt}: has no PEM block of type CERTIFICATE"},
		"certificate damaged": {func(in *installation) { in.put("server.crt", pemBlock("CERTIFICATE", "x")) }, "{server.crt}: certificate number 1 in it is damaged"},
		"certificate expired": {func(in *installation) { in.newServerCert(in.serverCA, expired) }, "{server.crt}: the certificate expired at 2"},
		"certificate early":   {func(in *installation) { in.newServerCert(in.serverCA, notYet) }, "{server.crt}: the certificate is not valid before 2"},
		"for clients only":    {func(in *installation) { in.newServerCert(in.serverCA, use(x509.ExtKeyUsageClientAuth)) }, "{server.crt}: its extended key usage does not allow use as a TLS server"},
		"key empty":           {func(in *installation) { in.put("server.key", nil) }, "server private key file {server.key}: is empty"},
		"key no PEM":          {func(in *installation) { in.put("server.key", []byte("hello")) }, "{server.key}: has no PEM block"},
		"key damaged":         {func(in *installation) { in.put("server.key", pemBlock("PRIVATE KEY", "x")) }, "{server.key}: cannot be used with certificate file {server.crt}"},
		"key encrypted":       {func(in *installation) { in.put("server.key", pemBlock("ENCRYPTED PRIVATE KEY", "x")) }, "{server.key}: cannot be used with"},
		"key of another": {func(in *installation) {
			_, key := in.serverCA.leaf(in.t)
			in.put("server.key", key)
		}, "{server.key}: cannot be used with certificate file {server.crt}: tls: private key does not match public key"},
		"files swapped": {func(in *installation) { in.server.Cert, in.server.Key = in.server.Key, in.server.Cert }, "{server.key}: has no PEM block of type CERTIFICATE"},
		"key public":    {func(in *installation) { must(in.t, os.Chmod(in.server.Key, 0o644)) }, "{server.key}: has mode 0644"},
		"CA empty":      {func(in *installation) { in.put("clients.crt", nil) }, "client CA file {clients.crt}: is empty"},
		"CA no PEM":     {func(in *installation) { in.put("clients.crt", []byte("hello")) }, "client CA file {clients.crt}: has no PEM block"},
		"CA is a key":   {func(in *installation) { in.server.ClientCA = in.server.Key }, "client CA file {server.key}: has no PEM block of type CERTIFICATE"},
		"CA expired":    {func(in *installation) { in.put("clients.crt", newAuthority(in.t, "old", expired).pem) }, "{clients.crt}: no certificate in it is valid now: the certificate expired at"},
		"CA half broken": {func(in *installation) {
			in.put("clients.crt", append(in.clientCA.pem, pemBlock("CERTIFICATE", "x")...))
		}, "{clients.crt}: certificate number 2 in it is damaged"},
		"CA too large": {func(in *installation) { in.put("clients.crt", make([]byte, maxFile+1)) }, "{clients.crt}: is larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			in := newInstallation(t)
			row.change(in)
			_, err := LoadServerTLS(in.server, "h2")
			in.complains(err, row.want)
		})
	}
	in := newInstallation(t)
	in.put("clients.crt", append(newAuthority(t, "old", expired).pem, in.clientCA.pem...))
	s, c := in.load()
	if _, err := handshake(s.Config(), c.Config("h2")); err != nil {
		t.Errorf("an expired CA beside a good one: %v", err)
	}
	in.newServerCert(in.serverCA, use())
	if _, err := LoadServerTLS(in.server, "h2"); err != nil {
		t.Errorf("a certificate with no list of uses: %v", err)
	}
}

func TestClientFilesRefused(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*installation)
		want   string
	}{
		"no name":             {func(in *installation) { in.client.ServerName = "" }, "needs the name or the address"},
		"half a pair":         {func(in *installation) { in.client.Key = "" }, "needs both"},
		"other half":          {func(in *installation) { in.client.Cert = "" }, "needs both"},
		"CA missing":          {func(in *installation) { must(in.t, os.Remove(in.client.CA)) }, "CA file: stat {servers.crt}: no such file"},
		"CA no PEM":           {func(in *installation) { in.put("servers.crt", []byte("hello")) }, "CA file {servers.crt}: has no PEM block"},
		"certificate missing": {func(in *installation) { must(in.t, os.Remove(in.client.Cert)) }, "client certificate file: stat {client.crt}: no such file"},
		"certificate expired": {func(in *installation) { in.newClientCert(in.clientCA, expired) }, "{client.crt}: the certificate expired"},
		"for servers only":    {func(in *installation) { in.newClientCert(in.clientCA, use(x509.ExtKeyUsageServerAuth)) }, "{client.crt}: its extended key usage does not allow use as a TLS client"},
		"key of another": {func(in *installation) {
			_, key := in.clientCA.leaf(in.t)
			in.put("client.key", key)
		}, "client private key file {client.key}: cannot be used with certificate file {client.crt}"},
		"key public": {func(in *installation) { must(in.t, os.Chmod(in.client.Key, 0o604)) }, "{client.key}: has mode 0604"},
	} {
		t.Run(name, func(t *testing.T) {
			in := newInstallation(t)
			row.change(in)
			_, err := LoadClientTLS(in.client)
			in.complains(err, row.want)
		})
	}
	// With no files at all the roots are the system's, which have never heard of our servers.
	in := newInstallation(t)
	in.client = ClientFiles{ServerName: "pdp.example"}
	s, c := in.load()
	if _, err := handshake(s.Config(), c.Config("h2")); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("the system's roots: %v", err)
	}
}

// complains checks an error against want, where {NAME} stands for the path of a file.
func (in *installation) complains(err error, want string) {
	in.t.Helper()
	want = strings.NewReplacer("{", in.path+"/", "}", "").Replace(want)
	if err == nil || !strings.Contains(err.Error(), want) {
		in.t.Errorf("%v; want %q", err, want)
	}
	if err != nil && strings.Contains(err.Error(), "PRIVATE KEY") {
		in.t.Errorf("the error quotes a key file: %v", err)
	}
}

func pemBlock(kind, content string) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(content)})
}
