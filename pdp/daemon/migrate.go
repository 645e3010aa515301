package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/badgerstore"
)

// migrate is the verb of that name.
type migrate struct {
	From string `required:"" placeholder:"STORE" help:"Where everything is now: badger:DIR, or etcd://HOST:PORT,.../PREFIX."`
	To   string `required:"" placeholder:"STORE" help:"Where it is to be: the same forms. Nothing may be there."`
	Yes  bool   `help:"Do it. Without, only what would be moved is shown, and nothing is written."`
}

// mover carries a migration out.
type mover struct {
	from, to       place
	stdout, stderr io.Writer
}

// run shows what would be moved, and with Yes moves it: everything that the old store holds, live tokens included, with the revisions that it has there.
// The copy has a new epoch. It is not a store before its last step, and is read back and compared at the end. The old store is left as it is.
func (m *migrate) run(ctx context.Context, c *Config, fault badgerstore.Fault, stdout, stderr io.Writer) error {
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	f := &settings.Findings{}
	from, err := c.place(m.From, fault, log)
	f.Failed("from", err)
	to, err := c.place(m.To, fault, log)
	f.Failed("to", err)
	if f.Err() == nil {
		f.Need(!from.same(to), "to", "%s is where everything is already", m.To)
	}
	if err := f.Err(); err != nil {
		return settings.Refuse(err)
	}
	v := &mover{from: from, to: to, stdout: stdout, stderr: stderr}
	gone, err := v.plan(ctx)
	if err != nil {
		return refuse(err)
	}
	if !m.Yes {
		_, err := fmt.Fprintln(stdout, "\nnothing was written; add --yes to do it, while no PDP runs on either store")
		return err
	}
	return refuse(v.move(ctx, gone))
}

// refuse tells what is wrong with the stores from what went wrong on the way.
func refuse(err error) error {
	switch authz.KindOf(err) {
	case authz.KindPrecondition, authz.KindNotFound, authz.KindExhausted, authz.KindInvalid:
		return settings.Refuse(err)
	}
	return err
}

// plan shows what there is on both sides, and refuses what cannot be done. It gives the registrations on the old store of PDPs that no longer run.
func (v *mover) plan(ctx context.Context) (gone map[state.Incarnation]uint64, err error) {
	target, err := v.to.look(ctx)
	if err != nil {
		return nil, fmt.Errorf("to: %w", err)
	}
	v.tell("checking all of %s", v.from)
	if err := v.from.check(ctx); err != nil {
		return nil, fmt.Errorf("from: %w", err)
	}
	if gone, err = v.stopped(ctx); err != nil {
		return nil, fmt.Errorf("from: %w", err)
	}
	had, err := v.read(ctx, v.from)
	if err != nil {
		return nil, fmt.Errorf("from: %w", err)
	}
	grows := v.to.takes(had)
	var b strings.Builder
	fmt.Fprintf(&b, "from  %s\n%s", v.from, contents(had))
	fmt.Fprintf(&b, "to    %s\n", v.to)
	fmt.Fprintf(&b, "      holds %s\n", nothing(target.Holds))
	fmt.Fprintf(&b, "      about %s are needed, %s\n", mib(grows), v.to.space(target))
	fmt.Fprintf(&b, "      would begin at epoch %d revision %d: new to every sidecar and replica, which start over with it and refuse the old store from then on\n",
		had.Mark.Epoch.Counter+1, had.Mark.Revision)
	b.WriteString("      its first PDP has no effective receipts before the leases of the old ones have ended, about a minute\n")
	if _, err := io.WriteString(v.stdout, b.String()); err != nil {
		return nil, err
	}
	switch {
	case target.Holds != "" && !target.Unfinished:
		return nil, fmt.Errorf("to: %w", state.ErrNotEmpty(v.to.String(), target.Holds))
	case !v.to.fits(target, grows):
		return nil, fmt.Errorf("to: %w", authz.Errorf(authz.KindExhausted, "DISK_LOW", "%s has no room for it: about %s are needed, %s", v.to, mib(grows), v.to.space(target)))
	}
	return gone, nil
}

func nothing(holds string) string {
	if holds == "" {
		return "nothing"
	}
	return holds
}

// contents is what a store holds, for people.
func contents(c *state.Contents) string {
	var b strings.Builder
	fmt.Fprintf(&b, "      at %v, %s\n", c.Mark, c.Stamp.Time().Format("2006-01-02 15:04:05 MST"))
	for kind := state.Kind(1); int(kind) < state.NumKinds; kind++ {
		switch n := c.Records[kind]; {
		case n > 0 && kind == state.KindJob:
			fmt.Fprintf(&b, "%10d %v, of which nothing has ended %d\n", n, kind, c.Alive)
		case n > 0:
			fmt.Fprintf(&b, "%10d %v\n", n, kind)
		}
	}
	fmt.Fprintf(&b, "%10d events\n      %s of records, %s of events\n", c.Events, mib(c.Bytes), mib(c.EventBytes))
	return b.String()
}

// mib gives a size for people.
func mib[T int64 | uint64](n T) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// move copies, and compares what the new store then holds.
func (v *mover) move(ctx context.Context, gone map[state.Incarnation]uint64) error {
	had, begins, err := v.copy(ctx, gone)
	if err != nil {
		return fmt.Errorf("%w\nwhat was copied so far is no store: a PDP refuses it, and the next pdp migrate begins anew. %s is as it was", err, v.from)
	}
	v.tell("reading %s back", v.to)
	has, err := v.read(ctx, v.to)
	if err != nil {
		return fmt.Errorf("the copy in %s was finished and could not be read back: %w", v.to, err)
	}
	if wrong := had.Differences(begins, has); len(wrong) > 0 {
		return fmt.Errorf("the copy in %s is not what %s holds, which is as it was; do not use the copy: %s", v.to, v.from, strings.Join(wrong, "; "))
	}
	_, err = fmt.Fprintf(v.stdout, "\nmoved, and read back: %d records with the revisions that changed them and %d events are the same on both sides\n"+
		"      SHA-256 over all of them %x\n"+
		"      the new store is at %v\n"+
		"start PDPs on %s alone; %s is left as it was, and whoever has seen the new one refuses it\n",
		has.Total(), has.Events, has.Digest(), has.Mark, v.to, v.from)
	return err
}

func (v *mover) copy(ctx context.Context, gone map[state.Incarnation]uint64) (had *state.Contents, begins state.Beginning, err error) {
	from, err := v.from.open(ctx)
	if err != nil {
		return nil, begins, fmt.Errorf("from: %w", err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := v.to.begin(ctx)
	if err != nil {
		return nil, begins, fmt.Errorf("to: %w", err)
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	v.tell("copying")
	t := &state.Transfer{From: from, To: to, Progress: v.progress, Ready: func(ctx context.Context) error { return unchanged(ctx, from, gone) }}
	return t.Run(ctx)
}

// read reads all of a store.
func (v *mover) read(ctx context.Context, p place) (c *state.Contents, err error) {
	s, err := p.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return state.Read(ctx, s, v.progress)
}

// tell writes to standard error what takes its time.
func (v *mover) tell(format string, args ...any) { fmt.Fprintf(v.stderr, format+"\n", args...) }

// progressEvery is how many records and events there are between two lines.
const progressEvery = 1 << 18

func (v *mover) progress(c *state.Contents) {
	if n := c.Total() + c.Events; n%progressEvery == 0 {
		v.tell("%d records, %d events", c.Total(), c.Events)
	}
}
