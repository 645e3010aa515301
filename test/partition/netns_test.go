package partition

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// spaces are network namespaces. Each is held by a process that dies with this one, and has no name: nothing is left behind, however the test ends, and
// the machine's own network is not touched.
type spaces struct {
	t *testing.T
}

// network is a PDP's network namespace and one for each sidecar, each joined to the PDP's by a pair of interfaces of its own.
type network struct {
	spaces
	pdp   string   // a namespace, as nsenter takes it
	sides []string // likewise
}

// needNamespaces skips the test where there can be no namespaces. Where a package is missing that the script of the checks installs, that script sees
// a failure.
func needNamespaces(t *testing.T) {
	t.Helper()
	missing := func(format string, args ...any) {
		t.Helper()
		if os.Getenv("JOBWARD_CI") == "1" {
			t.Fatalf(format, args...)
		}
		t.Skipf(format, args...)
	}
	if os.Geteuid() != 0 {
		t.Skip("network namespaces take root")
	}
	for _, tool := range []string{"ip", "nft", "unshare", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing("no %s: install iproute2, nftables and util-linux", tool)
		}
	}
	if out, err := exec.Command("unshare", "--net", "true").CombinedOutput(); err != nil {
		t.Skipf("this machine lets root make no network namespaces: %v %s", err, out)
	}
}

func newNetwork(t *testing.T, sides int) *network {
	t.Helper()
	needNamespaces(t)
	n := &network{spaces: spaces{t}, pdp: hold(t)}
	n.in(n.pdp, "", "ip", "link", "set", "lo", "up")
	n.filter(n.pdp)
	for i := range sides {
		ns := hold(t)
		pid := strings.Split(ns, "/")[2]
		n.sides = append(n.sides, ns)
		n.in(n.pdp, "", "ip", "link", "add", n.link(i), "type", "veth", "peer", "name", "pdp", "netns", pid)
		n.in(n.pdp, "", "ip", "addr", "add", fmt.Sprintf("10.99.%d.1/24", i), "dev", n.link(i))
		n.in(n.pdp, "", "ip", "link", "set", n.link(i), "up")
		n.in(ns, "", "ip", "addr", "add", fmt.Sprintf("10.99.%d.2/24", i), "dev", "pdp")
		n.in(ns, "", "ip", "link", "set", "pdp", "up")
		n.in(ns, "", "ip", "link", "set", "lo", "up")
		n.filter(ns)
	}
	return n
}

// hold makes a namespace that lives as long as the test.
func hold(t *testing.T) (ns string) {
	t.Helper()
	cmd := exec.Command("unshare", "--net", "sleep", "infinity")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // it was killed
	})
	dir := filepath.Join("/proc", fmt.Sprint(cmd.Process.Pid))
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a namespace", func() bool {
		theirs, err := os.Readlink(filepath.Join(dir, "ns", "net"))
		return err == nil && theirs != own
	})
	return filepath.Join(dir, "ns", "net")
}

// in runs a program in a namespace.
func (n spaces) in(ns, input string, words ...string) {
	n.t.Helper()
	cmd := exec.Command("nsenter", append([]string{"--net=" + ns}, words...)...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("%v: %v\n%s", words, err, out)
	}
}

func (n spaces) filter(ns string) {
	n.t.Helper()
	n.in(ns, "add table inet jobward\nadd chain inet jobward in { type filter hook input priority 0; }\n", "nft", "-f", "-")
}

func (n *network) link(i int) string { return fmt.Sprint("side", i) }

func (n spaces) rule(ns, rule string) {
	n.t.Helper()
	n.in(ns, "add rule inet jobward in "+rule+"\n", "nft", "-f", "-")
}

// The faults. Packets vanish where they arrive, and nobody is told.

func (n *network) deafPDP(i int)  { n.rule(n.pdp, fmt.Sprintf("iifname %q drop", n.link(i))) }
func (n *network) deafSide(i int) { n.rule(n.sides[i], `iifname "pdp" drop`) }
func (n *network) drop(i int)     { n.deafPDP(i); n.deafSide(i) }

// lose loses a share of the packets, both ways.
func (n *network) lose(i, percent int) {
	some := fmt.Sprintf("numgen random mod 100 < %d drop", percent)
	n.rule(n.pdp, fmt.Sprintf("iifname %q %s", n.link(i), some))
	n.rule(n.sides[i], `iifname "pdp" `+some)
}

// heal takes all faults away.
func (n *network) heal() { n.clear(append([]string{n.pdp}, n.sides...)...) }

func (n spaces) clear(all ...string) {
	n.t.Helper()
	for _, ns := range all {
		n.in(ns, "flush chain inet jobward in\n", "nft", "-f", "-")
	}
}

// programs starts a PDP and sidecars in the namespaces, with TLS between them. The hammer reaches each by its Unix socket.
func (n *network) programs() (*pdp, []*side) {
	t := n.t
	t.Helper()
	proofs := newProofs(t)
	d := startPDP(t, plant{}) // in development mode, which makes the sample world
	d.end(t, syscall.SIGTERM)
	d.ns = n.pdp
	d.args = []string{"--grpc-addr=" + d.at + ",0.0.0.0:7420", "--tls-cert-file=" + proofs.file("pdp.pem"), "--tls-key-file=" + proofs.file("pdp.key"),
		"--tls-client-ca-file=" + proofs.file("ca.pem"), "--callers-file=" + proofs.file("callers.yaml")}
	d.conn = dial(t, d.at, proofs.hammer)
	d.start()
	var sides []*side
	for i, ns := range n.sides {
		s := newSide(t, n.link(i), fmt.Sprintf("10.99.%d.1:7420", i), plant{}, "--trust-socket-mode", "--pdp-ca-file="+proofs.file("ca.pem"),
			"--pdp-cert-file="+proofs.file("sidecar.pem"), "--pdp-key-file="+proofs.file("sidecar.key"), "--pdp-server-name=localhost")
		s.ns = ns
		s.start()
		sides = append(sides, s)
	}
	return d, sides
}
