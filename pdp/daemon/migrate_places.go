package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/badgerstore"
	"github.com/jobward/jobward/pdp/state/etcdstore"
)

// place is one side of a migration.
type place interface {
	fmt.Stringer
	same(place) bool
	// look tells what an import would find; check looks at every byte, as fsck does.
	look(context.Context) (state.Target, error)
	check(context.Context) error
	// open opens the store for reading, begin begins an import.
	open(context.Context) (state.Store, error)
	begin(context.Context) (state.Import, error)
	// takes is about what the place would need for a copy, in bytes; fits whether it has that,
	// and space says what it has.
	takes(*state.Contents) int64
	fits(t state.Target, takes int64) bool
	space(state.Target) string
}

// place reads badger:DIR or etcd://HOST:PORT,.../PREFIX. How etcd is called is what the settings say.
func (c *Config) place(text string, fault badgerstore.Fault, log *slog.Logger) (place, error) {
	if dir, ok := strings.CutPrefix(text, embedded+":"); ok && !strings.HasPrefix(dir, "//") {
		if dir == "" {
			return nil, errors.New("badger: names no directory: write badger:DIR, with the data-dir of the PDP")
		}
		return &folder{dir: dir, memtable: int64(c.MemtableSize), fault: fault, log: log}, nil
	}
	if !strings.HasPrefix(text, "etcd://") {
		return nil, fmt.Errorf("%q is no store: write badger:DIR, or etcd://HOST:PORT,HOST:PORT,HOST:PORT/PREFIX", text)
	}
	base, err := Parse(nil, nil)
	if err != nil {
		return nil, err
	}
	p := &plan{Config: *c}
	// These are for the other side.
	p.Store, p.MinFreeDisk, p.Ballast, p.MemtableSize = text, base.MinFreeDisk, base.Ballast, base.MemtableSize
	f := &settings.Findings{}
	p.checkStore(f)
	return &prefix{p: p, log: log}, f.Err()
}

// folder is that of an embedded store.
type folder struct {
	dir      string
	memtable int64
	fault    badgerstore.Fault
	log      *slog.Logger
}

func (d *folder) String() string { return embedded + ":" + d.dir }

func (d *folder) same(o place) bool {
	other, ok := o.(*folder)
	return ok && real(d.dir) == real(other.dir)
}

// real gives the one name of a directory.
func real(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return dir
	}
	if linked, err := filepath.EvalSymlinks(abs); err == nil {
		return linked
	}
	return abs
}

func (d *folder) look(context.Context) (state.Target, error) { return badgerstore.Look(d.dir) }

func (d *folder) check(ctx context.Context) error {
	report, err := badgerstore.Check(ctx, d.dir)
	if err != nil {
		return err
	}
	if n := len(report.Problems); n > 0 {
		return damaged(d, n+report.More, report.Problems[0])
	}
	return nil
}

func damaged(p place, n int, first string) error {
	return authz.Errorf(authz.KindPrecondition, "STORE_DAMAGED", "%s is damaged: %d problems, the first: %s; see all with pdp fsck; a damaged store is not moved", p, n, first)
}

// options leave no ballast where a migration reads or writes: the first start makes it.
func (d *folder) options() badgerstore.Options {
	return badgerstore.Options{Dir: d.dir, Memtable: d.memtable, Ballast: -1, Fault: d.fault, Logger: d.log}
}

func (d *folder) open(ctx context.Context) (state.Store, error) {
	s, err := badgerstore.Open(ctx, d.options())
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (d *folder) begin(ctx context.Context) (state.Import, error) {
	im, err := badgerstore.OpenImport(ctx, d.options())
	if err != nil {
		return nil, err
	}
	return im, nil
}

// takes counts everything twice, as Badger does when it writes tables anew, and its buffers.
func (d *folder) takes(c *state.Contents) int64 {
	return 2*int64(c.Bytes+c.EventBytes+48*c.Total()+32*c.Events) + 4*d.memtable
}

func (d *folder) fits(t state.Target, takes int64) bool { return t.Room >= takes }

func (d *folder) space(t state.Target) string {
	return fmt.Sprintf("and the disk has %s", mib(t.Room))
}

// prefix is that of a store in etcd.
type prefix struct {
	p   *plan
	log *slog.Logger
}

func (e *prefix) String() string { return e.p.Store }

// same takes two prefixes for one when a member is in both lists: who writes one cluster in two ways finds that it is not empty.
func (e *prefix) same(o place) bool {
	other, ok := o.(*prefix)
	return ok && e.p.etcd.prefix == other.p.etcd.prefix &&
		slices.ContainsFunc(e.p.etcd.endpoints, func(m string) bool { return slices.Contains(other.p.etcd.endpoints, m) })
}

func (e *prefix) options() etcdstore.Options { return e.p.etcd.options(e.p, state.Mark{}, e.log) }

func (e *prefix) look(ctx context.Context) (state.Target, error) {
	return etcdstore.LookAt(ctx, e.options())
}

func (e *prefix) open(ctx context.Context) (state.Store, error) {
	opts := e.options()
	opts.Look = true
	s, err := etcdstore.Open(ctx, opts)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (e *prefix) check(ctx context.Context) error {
	s, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	all := &census{changed: map[state.Key]authz.Revision{}}
	if _, err := all.take(ctx, s.(*etcdstore.Store)); err != nil {
		return err
	}
	if n := len(all.problems); n > 0 {
		return damaged(e, n, all.problems[0].Error())
	}
	return nil
}

func (e *prefix) begin(ctx context.Context) (state.Import, error) {
	im, err := etcdstore.OpenImport(ctx, e.options())
	if err != nil {
		return nil, err
	}
	return im, nil
}

func (e *prefix) takes(c *state.Contents) int64 {
	return int64(c.Bytes + c.EventBytes + etcdRecord*c.Total() + etcdEvent*c.Events)
}

// What etcd's database takes for a record and for an event, in bytes beside their own, as measured.
const (
	etcdRecord = 120
	etcdEvent  = 100
)

// fits leaves the tenth of the quota that is kept for urgent changes.
func (e *prefix) fits(t state.Target, takes int64) bool {
	return t.Room == 0 || t.Used+takes <= t.Room-t.Room/10
}

func (e *prefix) space(t state.Target) string {
	if t.Room == 0 {
		return "and etcd does not tell its quota"
	}
	return fmt.Sprintf("and etcd uses %s of its quota of %s, of which a tenth is kept free (--quota-backend-bytes)", mib(t.Used), mib(t.Room))
}

// stopped refuses an old store that PDPs run on. It gives the registrations of those that no longer do: they stand still for as long as a PDP may answer without renewing.
// The embedded store is locked by its PDP.
func (v *mover) stopped(ctx context.Context) (gone map[state.Incarnation]uint64, err error) {
	s, err := v.from.open(ctx)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	shared, ok := s.(state.Shared)
	if !ok {
		return nil, nil
	}
	list, err := shared.Registry().List(ctx)
	if err != nil {
		return nil, err
	}
	gone = make(map[state.Incarnation]uint64)
	var wait time.Duration
	for _, r := range list.Live {
		gone[r.Incarnation] = r.Version
		wait = max(wait, r.Fence)
	}
	if len(gone) == 0 {
		return gone, nil
	}
	v.tell("%d PDPs are registered on %s; waiting %s to see whether they still run", len(gone), v.from, settings.Brief(wait))
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return nil, state.ErrCanceled(ctx)
	}
	return gone, unchanged(ctx, shared, gone)
}

// unchanged refuses a store of which a PDP has renewed its registration, or registered.
func unchanged(ctx context.Context, s state.Store, gone map[state.Incarnation]uint64) error {
	shared, ok := s.(state.Shared)
	if !ok {
		return nil
	}
	list, err := shared.Registry().List(ctx)
	if err != nil {
		return err
	}
	for _, r := range list.Live {
		if version, ok := gone[r.Incarnation]; !ok || version != r.Version {
			return authz.Errorf(authz.KindPrecondition, "STORE_IN_USE", "the PDP %q at %s runs on it: stop all PDPs first", r.Name, r.Address)
		}
	}
	return nil
}
