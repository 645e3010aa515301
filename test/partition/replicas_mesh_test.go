package partition

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// mesh is a network namespace for each machine, all on one bridge: any two can be parted, one way or both.
type mesh struct {
	spaces
	machines []string // namespaces
}

func newMesh(t *testing.T, n int) *mesh {
	t.Helper()
	needNamespaces(t)
	m := &mesh{spaces: spaces{t}}
	hub := hold(t)
	m.in(hub, "", "ip", "link", "add", "hub", "type", "bridge")
	m.in(hub, "", "ip", "link", "set", "hub", "up")
	for i := range n {
		ns := hold(t)
		m.machines = append(m.machines, ns)
		port := fmt.Sprint("port", i)
		m.in(hub, "", "ip", "link", "add", port, "type", "veth", "peer", "name", "net", "netns", strings.Split(ns, "/")[2])
		m.in(hub, "", "ip", "link", "set", port, "master", "hub", "up")
		m.in(ns, "", "ip", "addr", "add", m.ip(i).String()+"/24", "dev", "net")
		m.in(ns, "", "ip", "link", "set", "net", "up")
		m.in(ns, "", "ip", "link", "set", "lo", "up")
		m.filter(ns)
	}
	return m
}

func (m *mesh) ip(i int) net.IP { return net.IPv4(10, 98, 0, byte(10+i)) }

// ips are the addresses of some machines.
func (m *mesh) ips(some ...int) (all []net.IP) {
	for _, i := range some {
		all = append(all, m.ip(i))
	}
	return all
}

// deaf drops what comes from some of the others; which is what they say, and not what they hear.
func (m *mesh) deaf(i int, to ...int) {
	m.t.Helper()
	var from []string
	for _, ip := range m.ips(to...) {
		from = append(from, ip.String())
	}
	m.rule(m.machines[i], "ip saddr { "+strings.Join(from, ", ")+" } drop")
}

// part parts each of some machines from each of some others.
func (m *mesh) part(some, others []int) {
	m.t.Helper()
	for _, i := range some {
		m.deaf(i, others...)
	}
	for _, i := range others {
		m.deaf(i, some...)
	}
}

// lossy loses a share of all packets to and from a machine.
func (m *mesh) lossy(i, percent int) {
	m.t.Helper()
	some := fmt.Sprintf("numgen random mod 100 < %d drop", percent)
	for j, ns := range m.machines {
		if j == i {
			m.rule(ns, `iifname "net" `+some)
		} else {
			m.rule(ns, fmt.Sprintf("ip saddr %v %s", m.ip(i), some))
		}
	}
}

func (m *mesh) heal() { m.clear(m.machines...) }
