// Command member is one member of an etcd cluster, for tests: the real server, on loopback, with
// short elections. It says "ready" on standard output and ends when it is killed or told to.
package main

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

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
	fsync := flag.Bool("fsync", true, "sync what is written")
	flag.Parse()
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
