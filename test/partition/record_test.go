package partition

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// recorder keeps a history of what clients did and were told, on one monotonic clock.
type recorder struct {
	t       *testing.T
	pdps    []*pdp
	sides   []*side
	targets []*target
	began   time.Time
	waits   time.Duration // for an answer
	stop    chan struct{}
	wg      sync.WaitGroup

	mu      sync.Mutex
	tokens  []*token
	ops     int // calls that were recorded
	vague   int // calls without an answer: of checks they are in no history
	wrong   []string
	pending int // receipts that were not effective
}

// target is a project with a list that is edited. One client edits it, one edit after the other.
type target struct {
	id    int64
	scope *jobwardv1.Scope
	edits []porcupine.Operation
}

// token is one incarnation of a job.
type token struct {
	job, text string
	life      []porcupine.Operation
	vague     bool                    // a call that kills it had no answer
	checks    [][]porcupine.Operation // by target
}

func newRecorder(t *testing.T, d *pdp, sides ...*side) *recorder {
	return &recorder{
		t: t, pdps: []*pdp{d}, sides: sides, began: time.Now(), waits: 2 * time.Second, stop: make(chan struct{}),
		targets: []*target{{id: api, scope: &jobwardv1.Scope{GroupId: web}}, {id: deploy, scope: &jobwardv1.Scope{ProjectId: shop}}},
	}
}

// somePDP gives one, and who it is in histories.
func (r *recorder) somePDP(rnd *rand.Rand) (d *pdp, is observer) {
	i := rnd.IntN(len(r.pdps))
	return r.pdps[i], thePDP - observer(i)
}

func (r *recorder) now() int64 { return int64(time.Since(r.began)) }

const ever = math.MaxInt64 / 2

func (r *recorder) over() bool {
	select {
	case <-r.stop:
		return true
	default:
		return false
	}
}

func (r *recorder) pause(rnd *rand.Rand, most int) {
	time.Sleep(time.Duration(rnd.IntN(most*1000)) * time.Microsecond)
}

func (r *recorder) complain(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

// start begins: coordinators that issue, issue again and revoke; one editor for each target; checkers.
func (r *recorder) start(seed uint64, coordinators, checkers int) {
	for i := range coordinators {
		r.wg.Go(func() { r.coordinate(rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	for i, g := range r.targets {
		r.wg.Go(func() { r.edit(g, rand.New(rand.NewPCG(seed, uint64(100+i)))) })
	}
	for i := range checkers {
		r.wg.Go(func() { r.check(rand.New(rand.NewPCG(seed, uint64(200+i)))) })
	}
}

func (r *recorder) coordinate(rnd *rand.Rand) {
	for !r.over() {
		job := fmt.Sprintf("job-%x", rnd.Uint64())
		k := r.issue(rnd, job, nil)
		for k != nil && !r.over() {
			r.pause(rnd, 200)
			if rnd.IntN(3) > 0 {
				break
			}
			k = r.issue(rnd, job, k)
		}
		if k == nil {
			r.pause(rnd, 50)
			continue
		}
		wait := untilEffective
		if rnd.IntN(3) == 0 {
			wait = untilDurable
		}
		for tries := 0; tries < 30 && !r.revoke(rnd, k, wait); tries++ {
			r.pause(rnd, 100)
			if rnd.IntN(2) == 0 {
				wait = untilEffective
			}
		}
	}
}

// issue makes a token; before, if not nil, is that of the same job, which dies of it. It is nil when the PDP did not say that it did.
func (r *recorder) issue(rnd *rand.Rand, job string, before *token) *token {
	d, by := r.somePDP(rnd)
	ctx, cancel := context.WithTimeout(r.t.Context(), r.waits)
	defer cancel()
	call := r.now()
	resp, err := jobwardv1.NewTokenServiceClient(d.conn).Issue(ctx, &jobwardv1.IssueRequest{JobId: job, ProjectId: shop, UserId: dana})
	ret := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops++
	if before != nil {
		r.died(before, by, call, ret, resp.GetReceipt(), err)
	}
	if err != nil {
		r.vague++
		return nil
	}
	k := &token{job: job, text: resp.Token, checks: make([][]porcupine.Operation, len(r.targets))}
	k.life = append(k.life, porcupine.Operation{Call: call, Return: ret, Input: action{deed: issued}})
	r.tokens = append(r.tokens, k)
	return k
}

// died notes a call that kills a token. Its caller holds mu.
func (r *recorder) died(k *token, by observer, call, ret int64, receipt *jobwardv1.Receipt, err error) {
	note := func(d deed, until int64) {
		k.life = append(k.life, porcupine.Operation{Call: call, Return: until, Input: action{deed: d, by: by}})
	}
	switch {
	case err != nil && k.vague: // it may happen at any time from the first on, or never
	case err != nil:
		k.vague = true
		note(dying, ever)
	case receipt.GetEffective():
		note(dying, ret)
		note(gone, ret)
	default:
		r.pending++
		note(dying, ret)
		note(durable, ret)
	}
}

// revoke reports whether the receipt was effective.
func (r *recorder) revoke(rnd *rand.Rand, k *token, wait jobwardv1.ReceiptWait) bool {
	d, by := r.somePDP(rnd)
	ctx, cancel := context.WithTimeout(r.t.Context(), r.waits)
	defer cancel()
	call := r.now()
	resp, err := jobwardv1.NewTokenServiceClient(d.conn).Revoke(ctx, &jobwardv1.RevokeRequest{JobIds: []string{k.job}, ReceiptWait: wait})
	ret := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops++
	if err != nil {
		r.vague++
	}
	r.died(k, by, call, ret, resp.GetReceipt(), err)
	return resp.GetReceipt().GetEffective()
}

// edit takes the entry out and puts it back. Each edit is repeated, under one request id, until its receipt is effective.
func (r *recorder) edit(g *target, rnd *rand.Rand) {
	listed := true
	for n := 0; !r.over(); n++ {
		r.pause(rnd, 400)
		listed = !listed
		id := fmt.Sprintf("edit-%d-%d-%x", g.id, n, rnd.Uint64())
		first, settledAt := r.now(), int64(ever)
		for tries := 0; tries < 60; tries++ {
			call := r.now()
			d, by := r.somePDP(rnd)
			receipt, err := r.change(d, g, id, listed)
			ret := r.now()
			r.mu.Lock()
			r.ops++
			switch {
			case err != nil:
				r.vague++
			case receipt.GetEffective():
				settledAt = ret
			default:
				r.pending++
				g.edits = append(g.edits, porcupine.Operation{Call: call, Return: ret, Input: action{deed: edited, value: listed, by: by}})
			}
			r.mu.Unlock()
			if settledAt != ever {
				break
			}
			r.pause(rnd, 100)
		}
		r.mu.Lock()
		g.edits = append(g.edits, porcupine.Operation{Call: first, Return: settledAt, Input: action{deed: editing, value: listed}})
		if settledAt != ever {
			g.edits = append(g.edits, porcupine.Operation{Call: first, Return: settledAt, Input: action{deed: settled, value: listed}})
		}
		r.mu.Unlock()
		if settledAt == ever {
			r.complain("an edit of %d was not effective in 60 tries\n%s", g.id, r.pdps[0].log.Tail())
			return
		}
	}
}

func (r *recorder) change(d *pdp, g *target, id string, listed bool) (*jobwardv1.Receipt, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), r.waits)
	defer cancel()
	lists := jobwardv1.NewAllowlistServiceClient(d.conn)
	if listed {
		entry := &jobwardv1.AllowlistEntry{Scope: g.scope, DefaultPermissions: true}
		resp, err := lists.AddEntry(ctx, &jobwardv1.AddEntryRequest{
			ProjectId: g.id, ActingUserId: erin, Direction: jobwardv1.Direction_DIRECTION_INBOUND, Entry: entry, RequestId: id,
		})
		return resp.GetReceipt(), err
	}
	resp, err := lists.RemoveEntry(ctx, &jobwardv1.RemoveEntryRequest{
		ProjectId: g.id, ActingUserId: erin, Direction: jobwardv1.Direction_DIRECTION_INBOUND, Scope: g.scope, RequestId: id,
	})
	return resp.GetReceipt(), err
}

// check asks about one of the newest tokens, some sidecar or the PDP.
func (r *recorder) check(rnd *rand.Rand) {
	for !r.over() {
		r.pause(rnd, 40)
		r.mu.Lock()
		if len(r.tokens) == 0 {
			r.mu.Unlock()
			continue
		}
		k := r.tokens[len(r.tokens)-1-rnd.IntN(min(len(r.tokens), 6))]
		r.mu.Unlock()
		d, by := r.somePDP(rnd)
		conn := d.conn
		if i := rnd.IntN(len(r.sides) + len(r.pdps)); i < len(r.sides) {
			by, conn = observer(i), r.sides[i].conns[rnd.IntN(len(r.sides[i].conns))]
		}
		at := rnd.IntN(len(r.targets))
		ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Second)
		call := r.now()
		resp, err := jobwardv1.NewDecisionServiceClient(conn).Check(ctx, question(k.text, r.targets[at].id))
		ret := r.now()
		cancel()
		v := judge(resp.GetDecision(), err)
		r.mu.Lock()
		r.ops++
		switch v {
		case undecided:
			r.vague++ // it says nothing, and changes nothing
		case unknown, odd:
			r.wrong = append(r.wrong, fmt.Sprintf("%s, asked of %d: %v", k.job, by, resp.GetDecision()))
		default:
			k.checks[at] = append(k.checks[at], porcupine.Operation{Call: call, Return: ret, Input: action{deed: checked, by: by, what: v}})
		}
		r.mu.Unlock()
	}
}
