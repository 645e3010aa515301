// Command member is one member of an etcd cluster, for tests: the real server, on loopback or where
// it is told, with short elections. It says "ready" on standard output and ends when it is killed or told to.
// With -join it first takes the place of a member that is lost; with -leads it only says whether the member there leads.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
)

func main() {
	cfg := embed.NewConfig()
	client := flag.String("client", "", "URL for clients")
	peer := flag.String("peer", "", "URL for peers")
	flag.StringVar(&cfg.Name, "name", "", "name of the member")
	flag.StringVar(&cfg.Dir, "dir", "", "its folder")
	flag.StringVar(&cfg.InitialCluster, "cluster", "", "name=peer URL of each member, with commas")
	flag.StringVar(&cfg.InitialClusterToken, "token", "", "tells clusters apart")
	flag.StringVar(&cfg.ClientTLSInfo.CertFile, "cert", "", "certificate for clients")
	flag.StringVar(&cfg.ClientTLSInfo.KeyFile, "key", "", "its key")
	flag.StringVar(&cfg.ClientTLSInfo.TrustedCAFile, "ca", "", "who signs the certificates of clients")
	flag.Int64Var(&cfg.QuotaBackendBytes, "quota", 0, "most bytes of the database")
	join := flag.String("join", "", "URL for clients of a member that runs: take the place of the one of this name")
	leads := flag.Bool("leads", false, "say whether the member at -client leads, and end")
	fsync := flag.Bool("fsync", true, "sync what is written")
	flag.Parse()
	if *leads {
		if err := tell(*client); err != nil {
			fail(err)
		}
		return
	}
	if *join != "" {
		if err := replace(*join, cfg.Name, *peer); err != nil {
			fail(err)
		}
		cfg.ClusterState = embed.ClusterStateFlagExisting
	}
	cfg.ClientTLSInfo.ClientCertAuth = cfg.ClientTLSInfo.TrustedCAFile != ""
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = one(*client), one(*client)
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = one(*peer), one(*peer)
	cfg.TickMs, cfg.ElectionMs = 50, 500
	cfg.UnsafeNoFsync = !*fsync
	cfg.LogLevel, cfg.LogOutputs = "error", []string{"stderr"}
	cfg.Logger = "zap"
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		fail(err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		fail(err)
	case <-time.After(time.Minute):
		fail(fmt.Errorf("%s is not ready after a minute", cfg.Name))
	}
	fmt.Println("ready")
	select {
	case <-stop:
		e.Close()
	case err := <-e.Err():
		fail(err)
	}
}

func one(text string) []url.URL {
	u, err := url.Parse(text)
	if err != nil {
		fail(err)
	}
	return []url.URL{*u}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "member:", err)
	os.Exit(1)
}

// tell says whether the member leads.
func tell(at string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{at}})
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := c.Status(ctx, at)
	if err != nil {
		return err
	}
	fmt.Println(s.Leader == s.Header.MemberId)
	return nil
}

// replace takes the member of that name off the list of the others, and puts a new one on it. Until all are well they refuse, so it is tried again.
func replace(at, name, peer string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{at}})
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		err := func() error {
			list, err := c.MemberList(ctx)
			if err != nil {
				return err
			}
			for _, m := range list.Members {
				if m.Name == name {
					if _, err := c.MemberRemove(ctx, m.ID); err != nil {
						return err
					}
				} else if m.Name == "" { // added before, by a try whose answer was lost
					return nil
				}
			}
			_, err = c.MemberAdd(ctx, []string{peer})
			return err
		}()
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}
