package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	"google.golang.org/grpc/status"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

// newRunner names this run. Nobody else has the name, so nobody else's heartbeat keeps the job alive when this process is killed.
func newRunner() string {
	host, _ := os.Hostname() // only to be recognised by people
	host = regexp.MustCompile(`[^0-9A-Za-z.-]`).ReplaceAllString(host, "-")
	return "pdpctl-exec:" + host[:min(len(host), 64)] + ":" + rand.Text()
}

// beat sends heartbeats until ctx ends or the job is dead, and reports whether it is dead. sent is when the last good one was sent.
func (e *execution) beat(ctx context.Context, sent time.Time) (dead bool) {
	pause := e.Heartbeat / 3
	tellAgain := true
	for {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
		now := time.Now()
		left := e.Heartbeat - now.Sub(sent)
		if left <= 0 {
			e.tell("job %s is dead: no PDP could be told for %v that it runs", e.Job, e.Heartbeat)
			return true
		}
		one, cancel := context.WithTimeout(ctx, left)
		resp, err := e.tokens.KeepAlive(one, &jobwardv1.KeepAliveRequest{RunnerId: e.runner})
		cancel()
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil && resp.GetLiveJobs() == 0:
			e.tell("job %s is dead: %s", e.Job, e.whyDead(ctx))
			return true
		case err == nil:
			sent, pause, tellAgain = now, e.Heartbeat/3, true
		default:
			if tellAgain {
				e.tell("no heartbeat for job %s, trying again: %v", e.Job, e.s.words(e.s.noPDP(err)))
				tellAgain = false
			}
			pause = min(max(e.Heartbeat/30, 50*time.Millisecond), 2*time.Second)
		}
	}
}

// whyDead asks for the reason.
func (e *execution) whyDead(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	resp, err := e.tokens.GetJob(ctx, &jobwardv1.GetJobRequest{JobId: e.Job})
	if err != nil {
		return "the PDP no longer counts it among the living"
	}
	return reasonText(resp.GetJob().GetReason())
}

// leastRetry is how long a revocation is tried again at least: it is not the receipt that matters most.
const leastRetry = 5 * time.Second

// revoke ends the job, tries again while no PDP answers, and prints the receipt.
func (e *execution) revoke(outcome jobwardv1.Outcome) error {
	wait := jobwardv1.ReceiptWait_RECEIPT_WAIT_EFFECTIVE
	if e.ReceiptWait <= 0 {
		wait = jobwardv1.ReceiptWait_RECEIPT_WAIT_DURABLE
	}
	end := time.Now().Add(max(e.ReceiptWait, leastRetry))
	told := false
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		ctx, cancel := context.WithDeadline(e.s.ctx, end)
		resp, err := e.tokens.Revoke(ctx, &jobwardv1.RevokeRequest{JobIds: []string{e.Job}, Outcome: outcome, ReceiptWait: wait})
		cancel()
		switch {
		case err == nil:
			e.receipt(resp.GetReceipt())
			return nil
		case !mayPass(err) || time.Until(end) < pause:
			return e.s.noPDP(err)
		case !told:
			e.tell("job %s is not revoked yet, trying again: %v", e.Job, e.s.words(e.s.noPDP(err)))
			told = true
		}
		time.Sleep(pause)
	}
}

// mayPass reports whether the same call can succeed later.
func mayPass(err error) bool {
	var remote interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &remote) {
		return false
	}
	switch wire.AsError(remote.GRPCStatus().Err()).Kind {
	case authz.KindUnavailable, authz.KindExhausted, authz.KindCanceled:
		return true
	}
	return false
}

func (e *execution) receipt(r *jobwardv1.Receipt) {
	switch {
	case e.Quiet:
	case r.GetEffective():
		e.tell("job %s revoked at revision %d, effective: no check that starts from now on is allowed", e.Job, r.GetRevision())
	default:
		e.tell("job %s revoked at revision %d, not yet effective everywhere; wait on with: pdpctl receipt await %d", e.Job, r.GetRevision(), r.GetRevision())
	}
}

// fallback says what still ends the token.
func (e *execution) fallback() string {
	if e.Heartbeat > 0 {
		return fmt.Sprintf("its token dies within %v for want of heartbeats", e.Heartbeat)
	}
	return "its token lives until it expires: run pdpctl token revoke --job " + e.Job
}
