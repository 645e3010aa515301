package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/badgerstore"
	"github.com/jobward/jobward/pdp/state/etcdstore"
)

// errDamaged ends fsck when the report has problems.
var errDamaged = errors.New("the store has problems; nothing was changed. Restore a backup into another directory, and keep this one to find out what happened")

// errDamagedCluster is that for a store in etcd.
var errDamagedCluster = errors.New("the store has problems; nothing was changed. Restore a backup below another prefix, and keep this one to find out what happened")

// fsck looks at every byte of a store, changes nothing, and prints what there is and what is wrong.
func fsck(ctx context.Context, c *Config, stdout, stderr io.Writer) error {
	p := &plan{Config: *c}
	f := &settings.Findings{}
	p.checkStore(f)
	if err := f.Err(); err != nil {
		return settings.Refuse(err)
	}
	if p.etcd != nil {
		return p.fsckEtcd(ctx, stdout, slog.New(slog.NewTextHandler(stderr, nil)))
	}
	report, err := badgerstore.Check(ctx, p.DataDir)
	if report == nil {
		return settings.Refuse(fmt.Errorf("data-dir: %w", err)) // there is no store, or a PDP has it open
	}
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stdout, "store %s\n%v", p.DataDir, report); err != nil {
		return err
	}
	if len(report.Problems) > 0 {
		return errDamaged
	}
	return nil
}

// fsckEtcd reads everything that a start and the readers of history read, each of it with its checksum, and compares the two. PDPs may go on
// meanwhile: what they commit is followed.
func (p *plan) fsckEtcd(ctx context.Context, stdout io.Writer, log *slog.Logger) error {
	opts := p.etcd.options(p, state.Mark{}, log)
	opts.Look = true
	store, err := etcdstore.Open(ctx, opts)
	if problem := asProblem(err); problem != nil {
		return report(stdout, p.Store, "", problem)
	}
	if authz.KindOf(err) == authz.KindNotFound {
		return settings.Refuse(fmt.Errorf("store: %w", err))
	}
	if err != nil {
		return err
	}
	defer store.Close()
	all := &census{changed: map[state.Key]authz.Revision{}}
	said, err := all.take(ctx, store)
	if problem := asProblem(err); problem != nil {
		return report(stdout, p.Store, said, problem)
	}
	if err != nil {
		return err
	}
	return report(stdout, p.Store, said, all.problems...)
}

// asProblem tells what is wrong with the store from what is wrong with the way to it.
func asProblem(err error) error {
	var known *authz.Error
	if errors.As(err, &known) && (known.Code == "STORE_DAMAGED" || known.Code == "OTHER_HISTORY") {
		return err
	}
	return nil
}

// report prints like the embedded store's.
func report(w io.Writer, name, said string, problems ...error) error {
	text := fmt.Sprintf("store %s\n%s", name, said)
	for _, p := range problems {
		text += fmt.Sprintf("PROBLEM: %v\n", p)
	}
	if len(problems) == 0 {
		text += "no problems\n"
	}
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	if len(problems) > 0 {
		return errDamagedCluster
	}
	return nil
}
