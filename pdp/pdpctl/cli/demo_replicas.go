package cli

import (
	"context"
	"fmt"
	"time"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// demoReplicasLimit bounds the demonstration with replicas. On an idle machine it takes half of that.
const demoReplicasLimit = 3 * time.Minute

// demoReplicasReport is that demonstration for programs.
type demoReplicasReport struct {
	Replicas int              `json:"replicas"`
	Parts    []demoPart       `json:"parts"`
	Total    demoRoundTally   `json:"total"`
	Receipts []demoReplicated `json:"receipts"`
	Seconds  float64          `json:"seconds"`
}

// demoPart is something that happened, and what the rounds saw meanwhile.
type demoPart struct {
	Name string `json:"name"`
	demoRoundTally
}

// demoReplicated is a receipt that names replicas.
type demoReplicated struct {
	Of       string            `json:"of"`
	Receipt  *demoReceipt      `json:"receipt"`
	Replicas map[string]string `json:"replicas"`
	BoundMS  float64           `json:"bound_ms"`
}

// playReplicas tells the story with replicas.
func (d *demo) playReplicas(ctx context.Context) error {
	d.cluster.Replicas = d.replicas
	if err := d.rig.startCluster(ctx, d.replicas); err != nil {
		return err
	}
	d.tell("%d PDPs on an etcd cluster of 3 members, and %[1]d sidecars, run here as processes of their own.\n"+
		"At each sidecar jobs come and go all the time: a token is issued at one PDP, asked about at once and again,\n"+
		"revoked at another PDP, and when Revoke has returned every sidecar is asked about it once more.", d.replicas)
	project, user, err := d.who(ctx)
	if err != nil {
		return err
	}
	rounds := d.roundsOf(ctx, project, user)
	defer rounds.stop()
	steps := []struct {
		title string
		act   func(context.Context) error
	}{
		{"Nothing happens.", func(ctx context.Context) error { return pause(ctx, 3*time.Second) }},
		{"A member of etcd is killed and comes back.", d.loseEtcd},
		{"A PDP is killed, and a job is revoked at once. Nobody hears the dead one, so its leases are waited out.", d.losePDP},
		{"A PDP is frozen, a job is revoked, and the PDP goes on.", d.freezePDP},
		{"All PDPs are restarted in order, one after the other.", d.rollPDPs},
		{"Two of etcd's members are killed: nothing can be changed. They come back.", d.loseQuorum},
	}
	if d.quick {
		steps = steps[:3]
	}
	for i, s := range steps {
		d.tell("\n%d. %s", i+1, s.title)
		if err := s.act(ctx); err != nil {
			return fmt.Errorf("%s %w", s.title, err)
		}
		d.part(s.title, rounds)
	}
	rounds.stop()
	d.add(rounds.take())
	return ctx.Err()
}

// who finds whom the jobs are for.
func (d *demo) who(ctx context.Context) (project, user int64, err error) {
	s := &session{ctx: ctx, in: d.in, out: d.out, err: d.err, globals: d.globals, conn: d.rig.pdp.conns[0]}
	if project, err = s.projectID(demoProject); err == nil {
		user, err = s.userID(demoUser)
	}
	return project, user, err
}

// part says what the rounds saw since the last part.
func (d *demo) part(name string, rounds *demoRounds) {
	t := rounds.take()
	d.cluster.Parts = append(d.cluster.Parts, demoPart{name, t})
	d.add(t)
	cached := 0
	if t.Checks > 0 {
		cached = 100 * t.Cached / t.Checks
	}
	d.tell("   %d jobs came and went; %d checks, %d %% from caches; %d not decided at first; longest: check %s, receipt %s", t.Rounds, t.Checks, cached, t.NotDecided, ms(t.GapMS), ms(t.LongestMS))
	if t.StaleAllows+t.WrongDenies > 0 {
		d.tell("   %d stale allows, %d wrong denials", t.StaleAllows, t.WrongDenies)
	}
}

func (d *demo) add(t demoRoundTally) {
	all := &d.cluster.Total
	all.Rounds, all.Checks, all.Cached = all.Rounds+t.Rounds, all.Checks+t.Checks, all.Cached+t.Cached
	all.StaleAllows, all.WrongDenies = all.StaleAllows+t.StaleAllows, all.WrongDenies+t.WrongDenies
	all.NotDecided, all.Calls = all.NotDecided+t.NotDecided, all.Calls+t.Calls
	all.LongestMS, all.GapMS = max(all.LongestMS, t.LongestMS), max(all.GapMS, t.GapMS)
}

// loseEtcd kills a member, and starts it again.
func (d *demo) loseEtcd(ctx context.Context) error {
	member := d.rig.etcd[0]
	member.kill()
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	return d.rig.launch(member)
}

// losePDP kills the last PDP while every sidecar has a job in its cache, and revokes that.
func (d *demo) losePDP(ctx context.Context) error {
	last := d.rig.pdps[len(d.rig.pdps)-1]
	q, err := d.hold(ctx, "held-1")
	if err != nil {
		return err
	}
	last.kill()
	if err := d.revokeAt(ctx, "held-1", "a job revoked when "+last.name+" had been killed"); err != nil {
		return err
	}
	if err := d.denied(ctx, q, d.rig.sidecars...); err != nil {
		return err
	}
	return d.again(ctx, last)
}

// freezePDP stops a PDP that has a job in its view, revokes the job, and asks the PDP when it goes on.
func (d *demo) freezePDP(ctx context.Context) error {
	frozen := d.rig.pdps[1]
	q, err := d.hold(ctx, "held-2")
	if err != nil {
		return err
	}
	if err := frozen.freeze(ctx); err != nil {
		return err
	}
	if err := d.revokeAt(ctx, "held-2", "a job revoked while "+frozen.name+" was frozen"); err != nil {
		return err
	}
	h := hammer(ctx, []*demoProcess{frozen}, q) // all of it begins after the receipt
	defer h.stop()
	if err := pause(ctx, demoAfter); err != nil {
		return err
	}
	if err := frozen.goOn(); err != nil {
		return err
	}
	if err := pause(ctx, 2*demoAfter); err != nil {
		return err
	}
	h.stop()
	checks, stale := count(h.tallies(-1))
	d.cluster.Total.StaleAllows += stale
	d.tell("   Then it goes on, with checks waiting at it. Its first answer: %s; %d stale allows in %d checks asked of it directly", h.first(frozen), stale, checks)
	return ctx.Err()
}

// rollPDPs restarts every PDP in order.
func (d *demo) rollPDPs(ctx context.Context) error {
	for _, p := range d.rig.pdps {
		if err := p.stop(ctx); err != nil {
			return err
		}
		if err := d.again(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// loseQuorum kills two members for longer than PDPs may answer without etcd.
func (d *demo) loseQuorum(ctx context.Context) error {
	for _, m := range d.rig.etcd[1:] {
		m.kill()
	}
	if err := pause(ctx, demoFence+demoTerm+time.Second); err != nil {
		return err
	}
	for _, m := range d.rig.etcd[1:] {
		if err := d.rig.launch(m); err != nil {
			return err
		}
	}
	for _, p := range d.rig.pdps {
		if err := p.serves(ctx); err != nil {
			return err
		}
	}
	return pause(ctx, time.Second)
}

// again starts a PDP that has ended, and waits until it serves.
func (d *demo) again(ctx context.Context, p *demoProcess) error {
	if err := d.rig.launch(p); err != nil {
		return err
	}
	return p.serves(ctx)
}

// hold gives the question of a new job, which every sidecar has the answer to in its cache.
func (d *demo) hold(ctx context.Context, job string) (*jobwardv1.CheckRequest, error) {
	q, _, err := d.askTwice(ctx, job)
	return q, err
}

// revokeAt revokes a job at the first PDP, and tells the receipt.
func (d *demo) revokeAt(ctx context.Context, job, of string) error {
	began := time.Now()
	resp, err := jobwardv1.NewTokenServiceClient(d.rig.pdp.conns[0]).Revoke(ctx, &jobwardv1.RevokeRequest{
		JobIds: []string{job}, Outcome: jobwardv1.Outcome_OUTCOME_CANCELED,
	})
	if err != nil {
		return err
	}
	r := resp.GetReceipt()
	if !r.GetEffective() {
		return errNotEffective(r.GetRevision())
	}
	out := demoReplicated{Of: of, Receipt: receiptOf(r, time.Since(began)), Replicas: map[string]string{}, BoundMS: millis(r.GetBound().AsDuration())}
	for _, p := range r.GetReplicas() {
		out.Replicas[replicaName(p.GetName(), p.GetIncarnation())] = enum("REPLICA_OUTCOME", p.GetOutcome())
	}
	d.cluster.Receipts = append(d.cluster.Receipts, out)
	d.tell("   %s\n   %s", out.Receipt.text, replicasText(r))
	return nil
}

// denied asks sidecars about a job that is dead.
func (d *demo) denied(ctx context.Context, q *jobwardv1.CheckRequest, at ...*demoProcess) error {
	for _, p := range at {
		resp, err := jobwardv1.NewDecisionServiceClient(p.conns[0]).Check(ctx, q)
		if err == nil && resp.GetDecision().GetAllow() {
			d.cluster.Total.StaleAllows++
		}
	}
	return ctx.Err()
}

// sumReplicas ends the report.
func (d *demo) sumReplicas() error {
	t := &d.cluster.Total
	d.cluster.Seconds = time.Since(d.began).Round(time.Millisecond).Seconds()
	verdict := "Whatever was killed, nobody allowed a job after its receipt."
	if t.StaleAllows+t.WrongDenies > 0 {
		verdict = "The promise is BROKEN: please report this."
	}
	d.tell("\n%d stale allows and %d wrong denials in %d checks of %d jobs. %s (%.0f s)", t.StaleAllows, t.WrongDenies, t.Checks, t.Rounds, verdict, d.cluster.Seconds)
	if err := d.printReport(&d.cluster); err != nil {
		return err
	}
	if t.StaleAllows+t.WrongDenies > 0 {
		return errDenied
	}
	return nil
}
