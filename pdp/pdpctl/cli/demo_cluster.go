package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// etcdMember is the program that is one member of etcd.
const etcdMember = "etcd-member"

// Settings of the PDPs of a demonstration with replicas: shorter than those of a real one, so that the bounds of receipts can be seen in a minute.
const (
	demoFence = time.Second
	demoTerm  = 2 * time.Second
)

// startCluster starts etcd, the PDPs on it, and as many sidecars.
func (g *demoRig) startCluster(ctx context.Context, replicas int) error {
	endpoints, err := g.startEtcd()
	if err != nil {
		return err
	}
	var sockets []string
	for i := 1; i <= replicas; i++ {
		name := fmt.Sprintf("pdp-%d", i)
		p, err := g.run(name, name, g.pdpProgram, "--store=etcd://"+endpoints+"/demo", "--data-dir="+g.file(name), "--replica-name="+name,
			"--grpc-addr="+g.socket(name)+",127.0.0.1:0", "--admin-addr=off", "--replica-fence="+demoFence.String(), "--lease-term="+demoTerm.String())
		if err != nil {
			return err
		}
		g.pdps, sockets = append(g.pdps, p), append(sockets, g.socket(name))
		if i == 1 { // which loads the sample world
			if err := p.serves(ctx); err != nil {
				return err
			}
		}
	}
	g.pdp = g.pdps[0]
	for i := 1; i <= replicas; i++ {
		name := string(rune('A' + i - 1))
		p, err := g.run(name, "sidecar "+name, g.sidecarProgram, "--state-dir="+g.file(name), "--pdp-addr="+strings.Join(sockets, ","),
			"--listen="+g.socket(name), "--health-addr=off", "--name=sidecar-"+name)
		if err != nil {
			return err
		}
		g.sidecars = append(g.sidecars, p)
	}
	for _, list := range [][]*demoProcess{g.pdps, g.sidecars} {
		for _, p := range list {
			if err := p.serves(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// startEtcd starts three members and gives where clients find them. PDPs wait for them.
func (g *demoRig) startEtcd() (endpoints string, err error) {
	const members = 3
	ports, err := freePorts(2 * members)
	if err != nil {
		return "", err
	}
	var all, clients []string
	for i := range members {
		all = append(all, fmt.Sprintf("etcd-%d=http://%s", i+1, ports[2*i+1]))
		clients = append(clients, ports[2*i])
	}
	for i := range members {
		name := fmt.Sprintf("etcd-%d", i+1)
		p := &demoProcess{name: name, title: name, log: g.file(name + ".log"), program: g.etcdProgram, args: []string{
			"-name", name, "-dir", g.file(name), "-token", "demo", "-client", "http://" + ports[2*i], "-peer", "http://" + ports[2*i+1], "-cluster", strings.Join(all, ","),
		}}
		if err := g.launch(p); err != nil {
			return "", err
		}
		g.etcd = append(g.etcd, p)
	}
	return strings.Join(clients, ","), nil
}

// freePorts finds addresses on loopback that nobody listens at.
func freePorts(n int) (addrs []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

// kill ends a process as a power cut would.
func (p *demoProcess) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

// stop ends a process in order, and waits for it.
func (p *demoProcess) stop(ctx context.Context) error {
	if err := p.cmd.Process.Signal(os.Signal(syscall.SIGTERM)); err != nil {
		return err
	}
	select {
	case <-p.ended:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("%s ended with code %d when it was told to stop", p.title, code)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
