package partition

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/jobward/jobward/test/certs"
	"github.com/jobward/jobward/test/files"
)

// proofs are the files of what a PDP, a sidecar and the hammer are to each other. Between namespaces nothing goes without TLS.
type proofs struct {
	dir    string
	hammer *tls.Config // what the hammer calls the PDP with
}

func newProofs(t *testing.T, pdps ...net.IP) proofs {
	t.Helper()
	p := proofs{dir: shortDir(t)}
	ca, until := certs.New(t, p.dir), time.Now().Add(24*time.Hour)
	ca.IPs = pdps
	ca.Issue(p.dir, "pdp", "", until)
	ca.Issue(p.dir, "sidecar", "spiffe://test/sidecar", until)
	ca.Issue(p.dir, "peer", "spiffe://test/pdp", until)
	p.hammer = ca.Client(ca.Issue(p.dir, "hammer", "spiffe://test/hammer", until))
	files.Write(t, p.file("callers.yaml"), `certificates:
  - {uri: spiffe://test/hammer, roles: [runner, maintainer, service]}
  - {uri: spiffe://test/sidecar, roles: [sidecar]}
  - {uri: spiffe://test/pdp, roles: [peer]}
`, 0o600)
	return p
}

func (p proofs) file(name string) string { return filepath.Join(p.dir, name) }
