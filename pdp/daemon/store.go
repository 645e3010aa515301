package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/jobward/jobward/internal/serving"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/badgerstore"
	"github.com/jobward/jobward/pdp/state/etcdstore"
)

// startStore opens the store, and tells whether it has never held anything.
func (d *daemon) startStore(ctx context.Context) (fresh bool, err error) {
	dir, err := filepath.Abs(d.DataDir)
	if err != nil {
		return false, fmt.Errorf("data-dir: %w", err)
	}
	d.phase.Set("opening the store")
	if d.etcd == nil {
		err = d.openBadger(ctx, dir)
	} else {
		err = d.openEtcd(ctx, dir)
	}
	if err != nil {
		return false, err
	}
	d.stops.Add(d.store.Close)
	mark, _ := d.store.Head()
	return mark.Revision == 0, nil
}

func (d *daemon) openBadger(ctx context.Context, dir string) error {
	if err := noSeen(dir); err != nil {
		return fmt.Errorf("data-dir: %w", err)
	}
	d.log.Info("opening the store", "dir", dir)
	store, err := badgerstore.Open(ctx, badgerstore.Options{
		Dir: dir, Logger: d.log, Memtable: int64(d.MemtableSize), History: d.History, Reserve: int64(d.MinFreeDisk), Ballast: int64(d.Ballast),
		Fault: d.fault,
	})
	if err != nil {
		return err
	}
	d.store = store
	return nil
}

// openEtcd waits for the cluster, as long as it takes: etcd may well start after its PDPs. Whoever stops the PDP meanwhile ends the wait.
func (d *daemon) openEtcd(ctx context.Context, dir string) error {
	var err error
	if d.seen, err = openSeen(dir); err != nil {
		return fmt.Errorf("data-dir: %w", err)
	}
	d.stops.Add(d.seen.close)
	for _, files := range d.etcd.tls {
		d.stops.Background(func(ctx context.Context) {
			files.Run(ctx, serving.ReloadEvery, serving.Reloaded(d.log, "TLS files for etcd"))
		})
	}
	d.phase.Set("waiting for etcd")
	d.log.Info("opening the store", "etcd", d.etcd.endpoints, "prefix", d.etcd.prefix, "tls", len(d.etcd.tls) > 0, "seen", d.seen.last.String())
	store, err := etcdstore.Open(ctx, d.etcd.options(d.plan, d.seen.last, d.log))
	if err != nil {
		return err
	}
	d.store, d.shared = store, store
	return nil
}

// options are those to open the store with.
func (c *cluster) options(p *plan, seen state.Mark, log *slog.Logger) etcdstore.Options {
	return etcdstore.Options{
		Endpoints: c.endpoints, Prefix: c.prefix, TLS: c.config(log), Username: c.username, Password: c.password,
		Seen: seen, Timeout: p.EtcdTimeout, History: p.History, Logger: log,
	}
}

// startSeen keeps the highest mark from now on: the view has been loaded, so the history has been looked at.
func (d *daemon) startSeen() {
	if d.seen == nil {
		return
	}
	head := func() state.Mark { mark, _ := d.store.Head(); return mark }
	d.stops.Background(func(ctx context.Context) {
		d.seen.follow(ctx, head, func(err error) {
			d.log.Error("the highest mark seen could not be written; should the cluster be replaced by an older one, the next start may not notice", "error", err)
		})
	})
}
