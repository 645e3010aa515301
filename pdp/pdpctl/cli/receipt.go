package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// durable is the other value of --wait.
const durable = "durable"

// waitFlag says how long a change waits for its receipt.
type waitFlag struct {
	Wait string `enum:"effective,durable" default:"effective" help:"What to wait for: effective (no cache answers from before the change any more) or durable (the change is stored)."`
}

func (w waitFlag) receiptWait() jobwardv1.ReceiptWait {
	if w.Wait == durable {
		return jobwardv1.ReceiptWait_RECEIPT_WAIT_DURABLE
	}
	return jobwardv1.ReceiptWait_RECEIPT_WAIT_EFFECTIVE
}

// notEffective is the error of a change that was to be in force everywhere and is not yet.
func (w waitFlag) notEffective(validateOnly bool, r *jobwardv1.Receipt) error {
	if validateOnly || w.Wait == durable || r.GetEffective() {
		return nil
	}
	return errNotEffective(r.GetRevision())
}

func errNotEffective(rev uint64) error {
	return fmt.Errorf("the change at revision %d is made and not in force everywhere yet; wait on with: pdpctl receipt await %d", rev, rev)
}

// changed is an answer with a receipt.
type changed interface {
	proto.Message
	GetReceipt() *jobwardv1.Receipt
}

// printChange prints the answer to a change, what draw says of it first.
func (s *session) printChange(resp changed, w writeFlags, draw func(*table)) error {
	r := resp.GetReceipt()
	err := s.print(resp, func(t *table) {
		if draw != nil {
			draw(t)
		}
		switch {
		case w.ValidateOnly:
			t.linef("would be accepted at revision %d; nothing was changed", r.GetRevision())
			return
		case r.GetEffective():
			t.linef("done at revision %d, in force everywhere", r.GetRevision())
		default:
			t.linef("done at revision %d, not yet in force everywhere", r.GetRevision())
		}
		t.caches(r)
	})
	return errors.Join(err, w.notEffective(w.ValidateOnly, r))
}

// receipt draws what a change did to the answers that others may still believe.
func (t *table) receipt(r *jobwardv1.Receipt) {
	word := "not effective"
	if r.GetEffective() {
		word = "effective: no check that starts from now on is answered from before"
	}
	t.linef("revision %d, %s", r.GetRevision(), word)
	t.caches(r)
}

// caches draws who has let go, where there was anybody, and the other PDPs, where there are any.
func (t *table) caches(r *jobwardv1.Receipt) {
	for _, text := range []string{cachesText(r), replicasText(r)} {
		if text != "" {
			t.linef("%s", text)
		}
	}
}

// cachesText is a line such as "caches: 2 confirmed, 1 lost its lease; waited 1.2s".
func cachesText(r *jobwardv1.Receipt) string {
	var parts []string
	for _, p := range []struct {
		n    int32
		text string
	}{{r.GetAcknowledged(), "confirmed"}, {r.GetLapsed(), "lost the lease"}, {r.GetPending(), "may still answer from before"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.text))
		}
	}
	if q := r.GetQuietRemaining(); q != nil && !r.GetEffective() {
		parts = append(parts, fmt.Sprintf("leases from before the PDP's start may run for another %v", brief(q)))
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf("caches: %s; waited %v", strings.Join(parts, ", "), brief(r.GetElapsed()))
}

// brief rounds a duration for people.
func brief(d *durationpb.Duration) time.Duration {
	switch t := d.AsDuration(); {
	case t >= time.Second:
		return t.Round(10 * time.Millisecond)
	case t >= time.Millisecond:
		return t.Round(10 * time.Microsecond)
	default:
		return t.Round(time.Microsecond)
	}
}

// isTerminal reports whether w is one.
func isTerminal(w io.Writer) bool {
	f, ok := w.(interface{ Stat() (fs.FileInfo, error) })
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&fs.ModeCharDevice != 0
}

// await waits for the receipt of a revision and calls step with each state of it. It gives the last one.
func (s *session) await(rev uint64, step func(*jobwardv1.Receipt)) (*jobwardv1.Receipt, error) {
	client, err := s.watches()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.globals.Timeout)
	defer cancel()
	stream, err := client.AwaitReceipt(ctx, &jobwardv1.AwaitReceiptRequest{Revision: rev})
	if err != nil {
		return nil, s.noPDP(err)
	}
	var last *jobwardv1.Receipt
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) && last != nil {
			return last, nil
		}
		if err != nil {
			return nil, s.noPDP(err)
		}
		last = resp.GetReceipt()
		step(last)
	}
}

// tellStep tells one state of a receipt on standard error.
func (s *session) tellStep(r *jobwardv1.Receipt) {
	word := "durable"
	if r.GetEffective() {
		word = "effective"
	}
	text := standingText(r)
	if text == "" {
		text = fmt.Sprintf("waited %v", brief(r.GetElapsed()))
	}
	fmt.Fprintf(s.err, "revision %d, %s; %s\n", r.GetRevision(), word, text)
}

// awaitAll waits for the receipts of everything that a revocation made dead or found dead, and joins them to one.
func (s *session) awaitAll(resp *jobwardv1.RevokeResponse) (*jobwardv1.Receipt, error) {
	s.tellStep(resp.GetReceipt())
	if resp.GetReceipt().GetEffective() {
		return resp.GetReceipt(), nil
	}
	revs := []uint64{resp.GetReceipt().GetRevision()}
	for _, r := range resp.GetResults() {
		if r.GetRevision() != 0 {
			revs = append(revs, r.GetRevision())
		}
	}
	slices.Sort(revs)
	began := time.Now()
	all := &jobwardv1.Receipt{Revision: resp.GetReceipt().GetRevision(), Effective: true}
	for _, rev := range slices.Compact(revs) {
		r, err := s.await(rev, s.tellStep)
		if err != nil {
			return nil, err
		}
		all.Effective = all.Effective && r.GetEffective()
		all.Acknowledged += r.GetAcknowledged()
		all.Lapsed += r.GetLapsed()
		all.Pending += r.GetPending()
		all.QuietRemaining = r.GetQuietRemaining()
		addReplicas(all, r)
	}
	all.Elapsed = durationpb.New(time.Since(began))
	return all, nil
}

// laterOn is what many changes one after another ask for: waiting for each would take as many times as long.
const laterOn = jobwardv1.ReceiptWait_RECEIPT_WAIT_DURABLE

// later remembers a change to be waited for.
func (s *session) later(validateOnly bool, r *jobwardv1.Receipt) {
	if !validateOnly && !r.GetEffective() {
		s.unsettled = append(s.unsettled, r.GetRevision())
	}
}

// settle waits for all changes that were remembered.
func (s *session) settle() error {
	slow := s.progress()
	for i, rev := range s.unsettled {
		slow.tell("waiting for caches: %d of %d changes", i, len(s.unsettled))
		r, err := s.await(rev, func(*jobwardv1.Receipt) {})
		if err != nil {
			return err
		}
		if !r.GetEffective() {
			return errNotEffective(rev)
		}
	}
	return nil
}

type receiptCmd struct {
	Await awaitCmd `cmd:"" help:"Wait until no cache answers from before a change. Exit code 2 when the deadline comes first."`
}

// Help explains what a receipt says.
func (*awaitCmd) Help() string {
	return `A receipt counts the caches of all PDPs. Where several PDPs have the store open it names the others, too: "settled" has the change, and its
sidecars have let go or lost their leases; "pending" not yet; "fenced" was silent, may answer nobody any more, and the leases that it may have granted
are waited out; "gone" was fenced, and they are over. The bound is the longest that the receipt can take while etcd can be reached.`
}

type awaitCmd struct {
	Revision uint64 `arg:"" help:"The revision of the change, from its receipt."`
	Progress bool   `help:"Tell each step on standard error. On a terminal that is done anyway."`
}

// Run is called by kong.
func (c *awaitCmd) Run(s *session) error {
	step := func(*jobwardv1.Receipt) {}
	if c.Progress || isTerminal(s.err) {
		step = s.tellStep
	}
	r, err := s.await(c.Revision, step)
	if err != nil {
		return err
	}
	if err := s.print(r, func(t *table) { t.receipt(r) }); err != nil {
		return err
	}
	return waitFlag{}.notEffective(false, r)
}
