package daemon

import (
	"context"
	"fmt"
	"time"

	"github.com/jobward/jobward/internal/clock"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/feed"
	"github.com/jobward/jobward/pdp/peer"
	"github.com/jobward/jobward/pdp/replica"
	"github.com/jobward/jobward/pdp/state"
)

// startReplica brings up one PDP of several. The order is that of PROTOCOL R8, and safety rests on it:
//
//  1. The addresses are taken, since the registration says where the others call this PDP. Nothing is answered yet.
//  2. It registers. Whoever commits a change from now on finds it in the list, and waits for it.
//  3. It loads its view. A change that came before it registered, and found it in no list, is in what it reads now.
//  4. It waits until its view has reached the head that a renewal of its registration has read.
//  5. It serves.
//
// Whoever dies in between leaves a registration that the others fence and wait out.
func (d *daemon) startReplica(ctx context.Context, fresh bool) error {
	if err := d.listen(ctx); err != nil {
		return err
	}
	if err := d.register(ctx); err != nil {
		return fmt.Errorf("registering with the other PDPs: %w", err)
	}
	// The engine attaches its feed to the member.
	if err := d.startEngine(ctx, engine.Options{Replica: d.member, Feed: feed.Options{Now: d.now}}); err != nil {
		return err
	}
	d.phase.Set("catching up with the other PDPs")
	if err := d.member.Ready(ctx); err != nil {
		return fmt.Errorf("catching up with the other PDPs: %w", err)
	}
	return d.fill(ctx, fresh)
}

// register makes this PDP known to the others until stop. It waits for etcd as long as it takes.
func (d *daemon) register(ctx context.Context) error {
	boot := clock.New() // R11: for registration and leases the same clock
	d.now = func() lease.Instant { return lease.Instant(boot.Now()) }
	dialer := peer.NewDialer(peer.Options{TLS: d.replica.files, Logger: d.log, Epoch: func() state.Epoch {
		mark, _ := d.store.Head()
		return mark.Epoch
	}})
	opt := replica.Options{
		Registry: d.shared.Registry(), Dialer: dialer, Name: d.replica.name, Address: d.replica.address(d.addresses().GRPC),
		Term: d.LeaseTerm, Fence: d.ReplicaFence, Now: d.now, OnChange: d.mayAnswer, Logger: d.log,
	}
	if d.changeReplica != nil {
		d.changeReplica(&opt)
	}
	d.member = replica.New(opt)
	d.stops.Add(d.leave)
	d.phase.Set("registering with the other PDPs")
	return d.member.Join(ctx)
}

// mayAnswer is told by the member when this PDP may answer, and when not and why.
func (d *daemon) mayAnswer(why error) {
	if why != nil {
		d.answers.say(why.Error())
	} else {
		d.answers.say("")
	}
}

// leaveTime is how long an end tries to tell the others. They notice by themselves, after replica-fence.
const leaveTime = 3 * time.Second

// leave is the end of a replica. By now nothing is answered any more, and no lease is granted or renewed.
func (d *daemon) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	if err := d.member.Stop(ctx, d.settled); err != nil {
		d.log.Warn("the registration could not be taken away: receipts of the other PDPs wait until they have noticed, and for the leases of this one",
			"at_most", settings.Brief(2*d.ReplicaFence+d.LeaseTerm), "error", err)
	}
	return nil
}
