package partition

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// verdict is what a check came to.
type verdict uint8

const (
	undecided verdict = iota // an error, or that the lease has lapsed
	allowed
	dead     // the job is over, or its token was replaced
	unlisted // the allowlist does not let it in
	unknown  // the token of a job that was issued is not known: always wrong
	odd      // anything else: always wrong
)

func (v verdict) String() string {
	return [...]string{"undecided", "allowed", "dead", "unlisted", "unknown", "odd"}[v]
}

func judge(d *jobwardv1.Decision, err error) verdict {
	switch {
	case err != nil || d.GetReason() == jobwardv1.Reason_REASON_LEASE_LAPSED && !d.GetAllow():
		return undecided
	case d.GetAllow() && d.GetReason() == jobwardv1.Reason_REASON_ALLOWED_LISTED:
		return allowed
	case d.GetAllow():
		return odd
	}
	switch d.GetReason() {
	case jobwardv1.Reason_REASON_JOB_NOT_RUNNING, jobwardv1.Reason_REASON_TOKEN_REPLACED:
		return dead
	case jobwardv1.Reason_REASON_INBOUND_NOT_LISTED:
		return unlisted
	case jobwardv1.Reason_REASON_TOKEN_UNKNOWN:
		return unknown
	}
	return odd
}

// hammer asks sidecars while it issues and revokes jobs. All its times are of one monotonic clock.
type hammer struct {
	t     *testing.T
	pdps  []*pdp // of several, a job is issued at one and revoked at another
	sides []*side
	asked []door
	began time.Time
	seed  uint64

	mu   sync.Mutex
	jobs []*job

	stopping           chan struct{}
	asking             sync.WaitGroup
	working            sync.WaitGroup
	shots              [][]shot       // of each worker
	hits               []atomic.Int64 // from the cache, by door
	receipts           []received     // guarded by mu
	effective, not     atomic.Int64   // receipts
	lapsed, failed     atomic.Int64   // receipts that counted a lapse; calls that failed
	slowest            atomic.Int64   // effective receipt
	oddest             atomic.Pointer[string]
	patienceOfReceipts time.Duration
}

// door is who is asked: each sidecar, and of several PDPs each.
type door struct {
	name  string
	conns []*grpc.ClientConn
	pdp   bool
}

// received is a call of Revoke that had an answer.
type received struct {
	pdp              int
	called, returned int64
	receipt          *jobwardv1.Receipt
}

// job is one job, with its times.
type job struct {
	n         int
	id, token string
	at        int          // the PDP that issued it, or was the last to fail
	made      int64        // when Issue had returned
	acked     atomic.Bool  // a Revoke has returned
	calling   atomic.Int64 // when Revoke was first called; zero for never
	over      atomic.Int64 // when an effective receipt had returned
	looked    atomic.Int64 // checks that had an answer
}

// shot is one check.
type shot struct {
	job        int
	door       int
	start, end int64
	what       verdict
	why        error // it is undecided; nil when the lease had lapsed
}

func newHammer(t *testing.T, seed uint64, p *pdp, sides ...*side) *hammer {
	h := &hammer{
		t: t, pdps: []*pdp{p}, sides: sides, began: time.Now(), seed: seed, stopping: make(chan struct{}), shots: make([][]shot, *workers),
		hits: make([]atomic.Int64, len(sides)), patienceOfReceipts: 3 * time.Second,
	}
	for _, s := range sides {
		h.asked = append(h.asked, door{name: s.name, conns: s.conns})
	}
	return h
}

func (h *hammer) now() int64 { return int64(time.Since(h.began)) }

// start begins to ask and, with as many coordinators, to issue and revoke.
func (h *hammer) start(coordinators int) {
	for c := range coordinators {
		h.working.Go(func() { h.coordinate(rand.New(rand.NewPCG(h.seed, uint64(1000+c)))) })
	}
	for w := range h.shots {
		h.asking.Go(func() { h.ask(w, rand.New(rand.NewPCG(h.seed, uint64(w)))) })
	}
}

// run lets it go on for a while.
func (h *hammer) run(d time.Duration) {
	select {
	case <-time.After(d):
	case <-h.t.Context().Done():
	}
}

// stop ends it. Every job has an effective receipt then, and was asked about after it.
func (h *hammer) stop() count {
	h.t.Helper()
	close(h.stopping)
	h.working.Wait()
	h.run(50 * time.Millisecond) // the workers ask on, about the dead
	h.mu.Lock()
	h.jobs = append(h.jobs, nil) // the end: who picks it stops
	h.mu.Unlock()
	h.asking.Wait()
	h.mu.Lock()
	h.jobs = h.jobs[:len(h.jobs)-1]
	h.mu.Unlock()
	return h.judge()
}

func (h *hammer) stopped() bool {
	select {
	case <-h.stopping:
		return true
	default:
		return false
	}
}

// pick gives one of the newest jobs. It is nil at the end.
func (h *hammer) pick(rnd *rand.Rand) (j *job, more bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.jobs)
	if n == 0 {
		return nil, true
	}
	if h.jobs[n-1] == nil {
		return nil, false
	}
	const recent = 16
	return h.jobs[n-1-rnd.IntN(min(n, recent))], true
}

// coordinate issues jobs, lets them be asked about, and revokes them, until it is told to stop; then it sees its last one dead.
func (h *hammer) coordinate(rnd *rand.Rand) {
	for !h.stopped() {
		j := h.issue()
		if j == nil {
			h.run(20 * time.Millisecond)
			continue
		}
		if len(h.pdps) > 1 && rnd.IntN(8) == 0 {
			j.keep()
			continue
		}
		for end := time.Now().Add(time.Second); j.looked.Load() < 20 && time.Now().Before(end) && !h.stopped(); {
			h.run(time.Duration(1+rnd.IntN(20)) * time.Millisecond)
		}
		for end := time.Now().Add(patience); !h.revoke(j, h.patienceOfReceipts) && time.Now().Before(end); {
			h.run(20 * time.Millisecond)
		}
		if j.over.Load() == 0 {
			h.t.Errorf("no effective receipt for %s within %v\n%s", j.id, patience, h.pdps[0].log.Tail())
		}
	}
}

// keep has the job live on: nobody revokes it.
func (j *job) keep() { j.calling.Store(never) }

const never = 1 << 62

// issue makes a job that is asked about from now on. It is nil when no PDP said that it did.
func (h *hammer) issue() *job {
	for i, first := 0, rand.IntN(len(h.pdps)); i < len(h.pdps); i++ {
		if j := h.issueAt((first + i) % len(h.pdps)); j != nil {
			return j
		}
	}
	return nil
}

func (h *hammer) issueAt(pdp int) *job {
	id := fmt.Sprintf("job-%x-%x", h.seed&0xffff, rand.Uint64())
	ctx, cancel := context.WithTimeout(h.t.Context(), 2*time.Second)
	defer cancel()
	resp, err := jobwardv1.NewTokenServiceClient(h.pdps[pdp].conn).Issue(ctx, &jobwardv1.IssueRequest{JobId: id, ProjectId: shop, UserId: dana})
	if err != nil {
		h.failed.Add(1)
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	j := &job{n: len(h.jobs), id: id, token: resp.Token, at: pdp, made: h.now()}
	h.jobs = append(h.jobs, j)
	return j
}

// revoke reports whether the receipt is effective. Of several PDPs it asks another than the one that issued the job, or failed.
func (h *hammer) revoke(j *job, wait time.Duration) bool {
	at := j.at
	if n := len(h.pdps); n > 1 {
		at = (at + 1 + rand.IntN(n-1)) % n
	}
	return h.revokeAt(at, j, wait)
}

func (h *hammer) revokeAt(at int, j *job, wait time.Duration) bool {
	j.at = at
	ctx, cancel := context.WithTimeout(h.t.Context(), wait)
	defer cancel()
	called := h.now()
	j.calling.CompareAndSwap(0, called)
	resp, err := jobwardv1.NewTokenServiceClient(h.pdps[at].conn).Revoke(ctx, &jobwardv1.RevokeRequest{JobIds: []string{j.id}})
	returned := h.now()
	if err == nil {
		j.acked.Store(true)
		h.mu.Lock()
		h.receipts = append(h.receipts, received{at, called, returned, resp.GetReceipt()})
		h.mu.Unlock()
	}
	switch r := resp.GetReceipt(); {
	case err != nil:
		h.failed.Add(1)
		return false
	case !r.Effective:
		h.not.Add(1)
		return false
	case r.Pending > 0:
		h.t.Errorf("an effective receipt for which somebody is waited: %v", r)
	case r.Lapsed > 0:
		h.lapsed.Add(1)
	}
	h.effective.Add(1)
	for took := returned - called; ; {
		if s := h.slowest.Load(); took <= s || h.slowest.CompareAndSwap(s, took) {
			break
		}
	}
	j.over.Store(returned)
	return true
}

// ask is one worker: a third of them ask by Check, a third by BatchCheck, a third over a stream.
func (h *hammer) ask(w int, rnd *rand.Rand) {
	from := h.asked[w%len(h.asked)]
	c := jobwardv1.NewDecisionServiceClient(from.conns[w%len(from.conns)])
	how := [...]func(context.Context, jobwardv1.DecisionServiceClient, string) (*jobwardv1.Decision, error){byCheck, byBatch, new(overStream).ask}[w/len(h.asked)%3]
	for {
		j, more := h.pick(rnd)
		if !more {
			return
		}
		if j == nil {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		ctx, cancel := context.WithTimeout(h.t.Context(), 2*time.Second)
		x := shot{job: j.n, door: w % len(h.asked), start: h.now()}
		d, err := how(ctx, c, j.token)
		x.end = h.now()
		cancel()
		x.what, x.why = judge(d, err), err
		switch {
		case x.what == odd:
			text := d.String()
			h.oddest.Store(&text)
		case x.what != undecided:
			j.looked.Add(1)
			if d.Cached {
				h.hits[x.door].Add(1)
			}
		}
		h.shots[w] = append(h.shots[w], x)
		time.Sleep(time.Duration(10+rnd.IntN(60)) * time.Millisecond) // two hundred of them keep a machine busy
	}
}

func byCheck(ctx context.Context, c jobwardv1.DecisionServiceClient, token string) (*jobwardv1.Decision, error) {
	resp, err := c.Check(ctx, question(token, api))
	return resp.GetDecision(), err
}

func byBatch(ctx context.Context, c jobwardv1.DecisionServiceClient, token string) (*jobwardv1.Decision, error) {
	resp, err := c.BatchCheck(ctx, &jobwardv1.BatchCheckRequest{Token: token, Questions: []*jobwardv1.Question{{TargetProjectId: api, Permission: "read_packages"}}})
	if err != nil {
		return nil, err
	}
	return resp.Decisions[0], nil
}

// overStream asks over a stream that it keeps as long as that works.
type overStream struct {
	stream grpc.BidiStreamingClient[jobwardv1.CheckStreamRequest, jobwardv1.CheckStreamResponse]
	end    context.CancelFunc
	n      uint64
}

func (o *overStream) ask(ctx context.Context, c jobwardv1.DecisionServiceClient, token string) (d *jobwardv1.Decision, err error) {
	defer func() {
		if err != nil && o.stream != nil {
			o.end()
			o.stream = nil
		}
	}()
	if o.stream == nil {
		var life context.Context
		life, o.end = context.WithCancel(context.WithoutCancel(ctx))
		if o.stream, err = c.CheckStream(life); err != nil {
			o.end()
			o.stream = nil
			return nil, err
		}
	}
	defer context.AfterFunc(ctx, o.end)() // a stream that hangs is given up
	o.n++
	if err = o.stream.Send(&jobwardv1.CheckStreamRequest{Id: o.n, Questions: []*jobwardv1.CheckRequest{question(token, api)}}); err != nil {
		return nil, err
	}
	m, err := o.stream.Recv()
	if err != nil {
		return nil, err
	}
	if m.Id != o.n || len(m.Decisions) != 1 {
		return nil, fmt.Errorf("no answer to question %d: %v", o.n, m)
	}
	return m.Decisions[0], nil
}

// count is what a hammer saw.
type count struct {
	checks, by                     int
	kinds                          [odd + 1]int
	hits                           int64
	stale, unknown, early, oddOnes int
	after                          int // checks that began after the receipt of their job
	lag                            time.Duration
	receipts, not, lapsed, failed  int64
	slowest                        time.Duration
	first                          string // stale allow
}

// judge goes through all shots, once nothing moves any more.
func (h *hammer) judge() (c count) {
	c.lag = -time.Hour
	for _, list := range h.shots {
		for _, x := range list {
			j := h.jobs[x.job]
			called, over := j.calling.Load(), j.over.Load()
			c.checks++
			c.kinds[x.what]++
			if over > 0 && x.start > over {
				c.after++
			}
			switch x.what {
			case allowed:
				if over > 0 {
					c.lag = max(c.lag, time.Duration(x.start-over))
				}
				if over > 0 && x.start > over {
					c.stale++
					if c.first == "" {
						c.first = fmt.Sprintf("%s at %s: called %v, returned %v, asked %v, allowed %v", j.id, h.asked[x.door].name,
							time.Duration(called), time.Duration(over), time.Duration(x.start), time.Duration(x.end))
					}
				}
			case dead:
				if called == 0 || x.end < called {
					c.early++
				}
			case unknown:
				c.unknown++
			case odd, unlisted:
				c.oddOnes++
			}
		}
	}
	for i := range h.hits {
		c.hits += h.hits[i].Load()
	}
	c.by, c.receipts, c.not, c.lapsed, c.failed = len(h.asked), h.effective.Load(), h.not.Load(), h.lapsed.Load(), h.failed.Load()
	c.slowest = time.Duration(h.slowest.Load())
	return c
}

// wrong lists what must not be.
func (c count) wrong() (all []string) {
	add := func(n int, what string) {
		if n > 0 {
			all = append(all, fmt.Sprintf("%d checks %s", n, what))
		}
	}
	add(c.stale, "began after an effective receipt and were allowed: "+c.first)
	add(c.unknown, "of issued tokens were told that nobody has them")
	add(c.early, "were denied before anybody revoked")
	add(c.oddOnes, "were answered with something else")
	return all
}

func (c count) String() string {
	return fmt.Sprintf("%d checks at %d doors, %d of them after the receipt: %d allowed, %d dead, %d could not be decided; %d from the cache; "+
		"%d receipts effective (%d with a lapse, slowest %v), %d not, %d calls failed; %d stale allows, %d unknown; the last allow began %v after its receipt",
		c.checks, c.by, c.after, c.kinds[allowed], c.kinds[dead], c.kinds[undecided], c.hits, c.receipts, c.lapsed, c.slowest.Round(time.Millisecond),
		c.not, c.failed, c.stale, c.unknown, c.lag.Round(time.Microsecond))
}

// good stops the hammer and wants nothing wrong, and enough of everything.
func (h *hammer) good() count {
	h.t.Helper()
	c := h.stop()
	h.t.Log(c)
	if wrong := c.wrong(); len(wrong) > 0 {
		h.t.Error(strings.Join(wrong, "\n"))
		if o := h.oddest.Load(); o != nil {
			h.t.Error(*o)
		}
	}
	if c.kinds[allowed] == 0 || c.receipts == 0 || c.hits == 0 || c.after == 0 {
		h.t.Error("so little happened that nothing is proved")
	}
	return c
}

// recovers waits until each sidecar answers from its cache again about a fresh job.
func (h *hammer) recovers() {
	h.t.Helper()
	token := ""
	eventually(h.t, "a fresh job", func() bool {
		if j := h.issue(); j != nil {
			token = j.token
			j.keep()
		}
		return token != ""
	}, h.pdps[0].log.Tail)
	for _, s := range h.sides {
		s.holds(token)
	}
}
