package cli

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// What the jobs of the demonstration ask, on the sample world that a new PDP has in development mode.
const (
	demoProject    = "acme/web/shop"
	demoUser       = "dana"
	demoTarget     = "acme/platform/api"
	demoPermission = "read_packages"
)

// demoLimit bounds the demonstration once its programs are there. On an idle machine it takes a third of that.
const demoLimit = 30 * time.Second

// demoAfter is how long clients go on asking after a receipt, and after a sidecar goes on.
const demoAfter = 400 * time.Millisecond

type demoCmd struct {
	Quick    bool   `help:"Leave out what takes long: the frozen sidecar, or with --replicas everything after the first lost PDP."`
	Replicas int    `placeholder:"N" help:"Show N PDPs, 2 to 5, on an etcd cluster of three members, and kill, freeze and restart them under load."`
	PDP      string `name:"pdp" placeholder:"FILE" help:"The program pdp. Default: it is looked for, or built."`
	Sidecar  string `placeholder:"FILE" help:"The program sidecar. Default: it is looked for, or built."`
	Etcd     string `placeholder:"FILE" help:"With --replicas, a member of etcd made for tests. Default: it is looked for as etcd-member, or built."`
}

// Help explains what the flags cannot.
func (*demoCmd) Help() string {
	return `A PDP and two sidecars are started as processes of their own, in a temporary directory and on Unix sockets in it, so nothing that runs
already is touched. At the end, also after Ctrl-C or a failure, they are killed and the directory is removed. It takes about ten seconds.

The programs are those that --pdp and --sidecar name, or that stand beside pdpctl; in a checkout of Jobward they are built with "go build"
first; else they are looked for in PATH.

With --replicas N there are N PDPs on a real etcd cluster of three members, and as many sidecars, on loopback. Jobs come and go all the time, while
members of etcd and PDPs are killed, frozen and restarted. It takes about a minute. What is needed is a checkout of Jobward and Go, since the member of
etcd is built from its own module (test/etcd/member, and what that needs is fetched once); or --etcd with such a program that was built before.

A check that was begun after Revoke had returned, by the clock of this process, and was allowed is a stale allow. Exit code 0: there was none,
1: there was one, 2: the demonstration could not be carried out.`
}

// Run tells the story, part by part.
func (c *demoCmd) Run(s *session) (err error) {
	ctx, stop := signal.NotifyContext(s.ctx, syscall.SIGHUP) // the terminal was closed; main takes the other signals
	defer stop()
	runtime.LockOSThread() // for dieWithParent
	defer runtime.UnlockOSThread()
	if c.Replicas != 0 && (c.Replicas < 2 || c.Replicas > 5) {
		return fmt.Errorf("--replicas is 2 to 5, not %d", c.Replicas)
	}
	d := &demo{session: s, quick: c.Quick, replicas: c.Replicas}
	defer func() {
		err = errors.Join(err, d.rig.clear())
		if ctx.Err() != nil {
			err = errors.New("interrupted: what was started is stopped and removed")
		}
	}()
	if err := d.rig.find(ctx, c, s.err); err != nil {
		return err
	}
	d.began = time.Now() // building does not count
	limit, play := demoLimit, d.play
	if d.replicas > 0 {
		limit, play = demoReplicasLimit, d.playReplicas
	}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := play(bounded); err != nil {
		if bounded.Err() != nil {
			err = fmt.Errorf("it took longer than %v, as on a machine with no time for it", limit)
		}
		return fmt.Errorf("the demonstration broke off: %w%s", s.words(err), d.rig.lastWords())
	}
	if err := d.rig.clear(); err != nil {
		return err
	}
	if d.replicas > 0 {
		return d.sumReplicas()
	}
	return d.sum()
}

// demo is one demonstration.
type demo struct {
	*session
	quick    bool
	replicas int
	rig      demoRig
	began    time.Time
	report   demoReport
	cluster  demoReplicasReport // instead, with replicas
}

func (d *demo) play(ctx context.Context) error {
	if err := d.rig.start(ctx); err != nil {
		return err
	}
	d.tell(demoTitle)
	q, err := d.showCached(ctx, "build-1")
	if err != nil {
		return err
	}
	if err := d.showRevoked(ctx, "build-1", q); err != nil || d.quick {
		return err
	}
	return d.showFrozen(ctx, "build-2")
}

// showCached issues a token and asks each sidecar about it, once and then again.
func (d *demo) showCached(ctx context.Context, job string) (*jobwardv1.CheckRequest, error) {
	d.tell(demoCachedTitle, demoUser, job, demoProject, demoPermission, demoTarget)
	q, asked, err := d.askTwice(ctx, job)
	if err != nil {
		return nil, err
	}
	d.report.Cached = asked
	d.draw(func(t *table) { t.cached(asked) })
	return q, nil
}

// showRevoked revokes the job while clients ask both sidecars about it.
func (d *demo) showRevoked(ctx context.Context, job string, q *jobwardv1.CheckRequest) error {
	d.tell(demoRevokedTitle, len(d.rig.sidecars)*demoClients)
	h := hammer(ctx, d.rig.sidecars, q)
	defer h.stop()
	if err := h.warm(ctx); err != nil {
		return err
	}
	receipt, err := d.revoke(ctx, job)
	returned := h.now() // a check that begins later has to be denied
	if err != nil {
		return err
	}
	if err := pause(ctx, demoAfter); err != nil {
		return err
	}
	h.stop()
	r := &demoRevocation{Receipt: receipt, Seconds: h.now().Seconds(), Sidecars: h.tallies(returned)}
	d.report.Revoked = r
	d.draw(func(t *table) { t.revoked(r) })
	return ctx.Err()
}

// showFrozen revokes a job while a sidecar that has it in its cache cannot be told.
func (d *demo) showFrozen(ctx context.Context, job string) error {
	q, _, err := d.askTwice(ctx, job)
	if err != nil {
		return err
	}
	frozen := d.rig.sidecars[len(d.rig.sidecars)-1]
	d.tell(demoFrozenTitle, frozen.name, job)
	if err := frozen.freeze(ctx); err != nil {
		return err
	}
	receipt, err := d.revoke(ctx, job)
	if err != nil {
		return err
	}
	h := hammer(ctx, d.rig.sidecars, q) // all of it begins after the receipt
	defer h.stop()
	if err := pause(ctx, demoAfter/2); err != nil { // so that checks wait at the frozen one when it goes on
		return err
	}
	if err := frozen.goOn(); err != nil {
		return err
	}
	if err := pause(ctx, demoAfter); err != nil {
		return err
	}
	h.stop()
	r := &demoRevocation{Receipt: receipt, Seconds: h.now().Seconds(), Sidecars: h.tallies(-1), Frozen: frozen.name, FirstAnswer: h.first(frozen)}
	d.report.Frozen = r
	d.draw(func(t *table) { t.frozen(r) })
	return ctx.Err()
}

// askTwice issues the token of a job, and asks each sidecar about it for the first time, and then again.
func (d *demo) askTwice(ctx context.Context, job string) (*jobwardv1.CheckRequest, []demoAsked, error) {
	q, err := d.issue(ctx, job)
	if err != nil {
		return nil, nil, err
	}
	var all []demoAsked
	for _, p := range d.rig.sidecars {
		asked, err := askTwice(ctx, p, q)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, asked)
	}
	return q, all, nil
}

// issue gives the question of a new job.
func (d *demo) issue(ctx context.Context, job string) (*jobwardv1.CheckRequest, error) {
	s := &session{ctx: ctx, in: d.in, out: d.out, err: d.err, globals: d.globals, conn: d.rig.pdp.conns[0]}
	project, err := s.projectID(demoProject)
	if err != nil {
		return nil, err
	}
	user, err := s.userID(demoUser)
	if err != nil {
		return nil, err
	}
	tokens, err := s.tokens()
	if err != nil {
		return nil, err
	}
	resp, err := call(s, tokens.Issue, &jobwardv1.IssueRequest{JobId: job, ProjectId: project, UserId: user})
	if err != nil {
		return nil, err
	}
	return &jobwardv1.CheckRequest{Token: resp.GetToken(), TargetProjectPath: demoTarget, Permission: demoPermission}, nil
}

// revoke ends a job and waits until that is in force everywhere.
func (d *demo) revoke(ctx context.Context, job string) (*demoReceipt, error) {
	began := time.Now()
	resp, err := jobwardv1.NewTokenServiceClient(d.rig.pdp.conns[0]).Revoke(ctx, &jobwardv1.RevokeRequest{
		JobIds: []string{job}, Outcome: jobwardv1.Outcome_OUTCOME_CANCELED,
	})
	took := time.Since(began)
	if err != nil {
		return nil, err
	}
	r := resp.GetReceipt()
	if !r.GetEffective() {
		return nil, errNotEffective(r.GetRevision())
	}
	return receiptOf(r, took), nil
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
