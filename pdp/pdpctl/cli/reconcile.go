package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

type reconcileCmd struct {
	File    string `arg:"" help:"File with the ids of all running jobs, one on a line, or - for standard input."`
	AsOf    uint64 `required:"" placeholder:"REVISION" help:"The PDP's revision before the list was made; \"pdpctl health\" tells it. Younger jobs are left alone."`
	Runner  string `help:"The list covers the jobs of this runner only."`
	Outcome string `enum:"success,failed,skipped,canceled,erased" default:"canceled" help:"How the jobs that are not listed ended."`
	DryRun  bool   `help:"Show the difference and change nothing."`
	waitFlag
}

// Run streams the list and prints the difference.
func (c *reconcileCmd) Run(s *session) error {
	in := s.in
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	tokens, err := s.tokens()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.globals.Timeout)
	defer cancel()
	stream, err := tokens.Reconcile(ctx)
	if err != nil {
		return err
	}
	header := &jobwardv1.ReconcileHeader{AsOfRevision: c.AsOf, RunnerId: c.Runner, Outcome: outcomes[c.Outcome], ValidateOnly: c.DryRun, ReceiptWait: c.receiptWait()}
	if err := stream.Send(&jobwardv1.ReconcileRequest{Part: &jobwardv1.ReconcileRequest_Header{Header: header}}); err != nil && err != io.EOF {
		return err
	}
	if err := sendJobs(stream.Send, in); err != nil && err != io.EOF { // io.EOF: the PDP has refused, and says why at the end
		return err
	}
	resp, err := stream.CloseAndRecv()
	if err != nil {
		return err
	}
	err = s.print(resp, func(t *table) {
		t.row("confirmed", resp.GetConfirmed())
		t.row("finished", resp.GetFinished())
		t.row("younger, left alone", resp.GetYounger())
		t.row("listed, but not live here", resp.GetNotLive())
		for _, id := range resp.GetFinishedJobIds() {
			t.row("- finished", id)
		}
		for _, id := range resp.GetNotLiveJobIds() {
			t.row("! not live", id)
		}
		if !c.DryRun && resp.GetFinished() > 0 {
			t.receipt(resp.GetReceipt())
		}
	})
	return errors.Join(err, c.notEffective(c.DryRun, resp.GetReceipt()))
}

func sendJobs(send func(*jobwardv1.ReconcileRequest) error, in io.Reader) error {
	var ids []string
	flush := func() error {
		if len(ids) == 0 {
			return nil
		}
		err := send(&jobwardv1.ReconcileRequest{Part: &jobwardv1.ReconcileRequest_Running{Running: &jobwardv1.JobIds{JobIds: ids}}})
		ids = nil
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		id := strings.TrimSpace(lines.Text())
		if id == "" {
			continue
		}
		if ids = append(ids, id); len(ids) == 10_000 {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return flush()
}
