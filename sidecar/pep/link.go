package pep

import (
	"context"
	"errors"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/authz"
)

// Codes with which a PDP refuses a hello, because this Decider has seen a later history
// than its own, or another.
const (
	codeHistoryBehind = "HISTORY_BEHIND"
	codeHistoryBeside = "HISTORY_BESIDE"
)

// codeFenced is that of a PDP, one of several, which may answer nothing until it has its
// store back (PROTOCOL R8).
const codeFenced = "FENCED"

// link is one Watch stream, with the PDP at its other end. Two goroutines belong to it:
// one receives and acts, one sends. A third renews while it is the current one.
type link struct {
	endpoint string
	pdp      PDP
	stream   WatchStream
	cancel   context.CancelFunc // ends the stream
	opened   chan struct{}      // closed when its generation comes into force
	ended    chan struct{}      // closed when the stream has ended, after err was set
	poked    chan struct{}      // something is to be sent; holds one
	err      error

	// Guarded by Decider.mu.
	generation lease.Generation // set when its welcome was accepted
	term       time.Duration
	asked      uint64        // renewals since the last grant
	broken     bool          // the stream has ended, or must not be waited for
	moving     bool          // the PDP is about to stop
	doubtful   bool          // renewals are not answered
	silent     int           // questions in a row that were not answered in time
	quietSince lease.Instant // when the first of them ended
	unheard    bool          // questions are not answered, whatever becomes of renewals
	fenced     bool          // the PDP may not answer: it has lost its store, or its peers take it for gone
	leaving    bool          // its generation was released; what comes is ignored until the PDP ends the stream
	retired    bool          // not used any more; closed when calls is zero
	closed     bool
	calls      int
	out        outbox
}

// outbox is what waits to be sent on a stream. Newer acks and renewals contain older
// ones, so it is bounded, however slow the PDP reads.
type outbox struct {
	ack, renew lease.Message
	forgets    []lease.Message
	releases   []lease.Message
	end        bool // close the stream after that
}

func (o *outbox) forget(m lease.Message) {
	const most = 64 // messages; the PDP only keeps a little more when one is lost
	if len(o.forgets) < most {
		o.forgets = append(o.forgets, m)
	}
}

// take gives the messages in the order in which they have to be sent. An ack goes
// before the renewal that it is a condition of.
func (o *outbox) take() (ms []lease.Message, end bool) {
	for _, m := range []lease.Message{o.ack, o.renew} {
		if m.Kind != 0 {
			ms = append(ms, m)
		}
	}
	ms = append(append(ms, o.forgets...), o.releases...)
	end = o.end
	*o = outbox{}
	return ms, end
}

// poke wakes the goroutine that sends.
func (l *link) poke() {
	select {
	case l.poked <- struct{}{}:
	default:
	}
}

// send notes messages of the holder for sending, on the stream l. Called with the lock.
func (d *Decider) send(l *link, ms []lease.Message) {
	for _, m := range ms {
		switch m.Kind {
		case lease.Ack:
			d.counts.acks.Add(1)
			l.out.ack = m
		case lease.Renew:
			d.counts.renewals.Add(1)
			l.out.renew = m
		case lease.Release:
			l.out.releases = append(l.out.releases, m)
		default:
			l.out.forget(m)
		}
	}
	if len(ms) > 0 {
		l.poke()
	}
}

// sendLoop sends what is in the outbox until the stream ends.
func (d *Decider) sendLoop(l *link) {
	for {
		select {
		case <-l.ended:
			return
		case <-l.poked:
		}
		d.mu.Lock()
		ms, end := l.out.take()
		f := Figures{Entries: int64(d.table.entries), Applied: d.holder.Applied()}
		d.mu.Unlock()
		for _, m := range ms {
			if m.Kind == lease.Renew {
				hits, _, _ := d.uses.totals()
				f.Hits, f.Misses = int64(hits), int64(d.counts.allMisses())
			}
			if err := l.stream.Send(m, f); err != nil {
				l.cancel() // Recv says why
				return
			}
		}
		if end {
			l.stream.CloseSend()
			return
		}
	}
}

// receiveLoop acts on what comes, until the stream ends.
func (d *Decider) receiveLoop(l *link) {
	for {
		m, err := l.stream.Recv()
		if err == nil {
			err = d.receive(l, m)
		}
		if err != nil {
			d.broke(l, err)
			return
		}
	}
}

// receive acts on one message. After an error the stream must be closed.
func (d *Decider) receive(l *link, m WatchMessage) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l.leaving {
		return nil
	}
	if l.broken {
		return errors.New("the stream is not used any more")
	}
	if m.Kind == lease.Welcome && d.joining != l {
		return errors.New("a second welcome came on one stream")
	}
	e, err := d.holder.Handle(d.now(), m.Message)
	if err != nil {
		return err
	}
	d.head = max(d.head, m.Revision)
	switch m.Kind {
	case lease.Welcome:
		d.head = m.Revision
		d.welcome(l, m)
	case lease.Grant:
		d.counts.grants.Add(1)
		l.term, l.asked, l.doubtful = m.Term, 0, false
	case lease.Invalidation:
		d.counts.invalidations.Add(1)
	case lease.Heartbeat:
		if m.Head.Epoch != 0 {
			d.marks.note(d.holder.Checkpoint(m.Head))
		}
	case lease.Moving:
		l.moving = true
		d.wake()
	}
	d.apply(l, e)
	return nil
}

// welcome notes a PDP whose history is good. Called with the lock.
func (d *Decider) welcome(l *link, m WatchMessage) {
	l.generation = m.Generation
	d.marks.note(d.holder.Seen())
	if len(m.Prefixes) > 0 {
		f, err := token.NewFormat(m.Prefixes[0], m.Prefixes[1:]...)
		if err != nil {
			d.log.Warn("the PDP's token prefixes are not understood; any prefix is taken", "endpoint", l.endpoint, "error", err)
		}
		d.format.Store(f)
	}
}

// apply carries out what the holder asks for, in its order (L11). Called with the lock.
func (d *Decider) apply(l *link, e lease.Effects) {
	switch {
	case e.Clear:
		d.table.clear()
	case len(e.Drop) > 0 && d.cfg.Fault.Lease == lease.FaultAckEarly:
		const late = 50 * time.Millisecond
		d.done.Go(func() {
			time.Sleep(late)
			d.mu.Lock()
			defer d.mu.Unlock()
			d.table.invalidate(e.Drop)
		})
	case len(e.Drop) > 0:
		d.counts.voided.Add(uint64(d.table.invalidate(e.Drop)))
	}
	switch {
	case e.Opened:
		d.open(l, !e.Clear)
	case e.Clear:
		d.abandon() // the welcome was that of a later epoch
	}
	d.publish()
	d.send(l, e.Send)
}

// open makes l the current link. The one before is closed once the PDP of l has been
// told to release its generation, or its lease runs out. Called with the lock.
func (d *Decider) open(l *link, carried bool) {
	old := d.current
	d.current, d.joining = l, nil
	d.leased, d.refused = true, nil
	d.counts.opens.Add(1)
	if carried {
		d.counts.carried.Add(1)
	}
	d.giveUp(old)
	d.log.Info("lease opened", "endpoint", l.endpoint, "generation", l.generation.String(), "carried", carried, "entries", d.table.entries)
	close(l.opened)
	d.done.Go(func() { d.renewLoop(l) })
	d.retarget()
}

// abandon gives the current link up before there is another. Called with the lock.
func (d *Decider) abandon() {
	old := d.current
	d.current = nil
	d.giveUp(old)
	d.retarget()
}

// giveUp ends a link whose generation was given up. The release goes to its PDP as
// well as to the next one: another PDP cannot end its lease. Called with the lock.
func (d *Decider) giveUp(l *link) {
	switch {
	case l == nil:
	case l.broken:
		d.retire(l)
	default:
		l.broken = true
		d.leave(l)
	}
}

// leave gives the generation of a link up on its own stream, and the PDP a moment to end
// that. Called with the lock.
func (d *Decider) leave(l *link) {
	l.leaving = true
	d.send(l, []lease.Message{{Kind: lease.Release, Generation: l.generation}})
	l.out.end = true
	d.done.Go(func() {
		t := time.NewTimer(farewell)
		defer t.Stop()
		select {
		case <-l.ended:
		case <-t.C:
			l.cancel()
		}
	})
}

// farewell is how long a PDP has to end a stream after the last message.
const farewell = time.Second

// retarget tells those who wait for a PDP, or for a lease, that something has changed.
// Called with the lock.
func (d *Decider) retarget() {
	if d.target() == nil {
		d.lost = d.now()
		return
	}
	if !d.closed {
		close(d.changed)
		d.changed = make(chan struct{})
	}
}

// renewLoop renews the lease of the current link, three times in a term.
func (d *Decider) renewLoop(l *link) {
	const inTerm, doubt = 3, 2
	d.mu.Lock()
	every := l.term / inTerm
	d.mu.Unlock()
	t := time.NewTimer(every)
	defer t.Stop()
	for {
		select {
		case <-l.ended:
			return
		case <-t.C:
		}
		d.mu.Lock()
		if d.current != l || l.broken || d.closed {
			d.mu.Unlock()
			return
		}
		m, ok := d.holder.Renew(d.now())
		if !ok {
			d.over(l)
			d.mu.Unlock()
			return
		}
		if l.asked++; l.asked >= doubt && !l.doubtful {
			// There is still time to open another stream before the lease ends.
			l.doubtful = true
			d.log.Warn("the PDP does not answer renewals; looking for another", "endpoint", l.endpoint, "remaining", d.holder.Remaining(d.now()).String())
			d.wake()
		}
		d.send(l, []lease.Message{m})
		every = l.term / inTerm
		d.mu.Unlock()
		t.Reset(every)
	}
}

// heard notes how a question ended. When none is answered although renewals are, the
// connection that questions take has died without a word: another link has new ones.
// Called with the lock.
func (d *Decider) heard(l *link, err error) {
	const doubt = 3
	var e *authz.Error
	errors.As(err, &e)
	if e != nil && e.Code == codeFenced && !d.closed {
		d.fence(l)
		return
	}
	if e == nil || e.Code != CodePDPSilent || d.closed {
		l.silent, l.unheard = 0, false
		return
	}
	now := d.now()
	if l.silent++; l.silent == 1 {
		l.quietSince = now
	}
	if l.silent >= doubt && now.Sub(l.quietSince) >= d.cfg.CallTimeout && !l.unheard {
		l.unheard = true
		d.log.Warn("the PDP renews the lease and answers no questions; connecting anew", "endpoint", l.endpoint)
		d.wake()
	}
}

// fence notes that the PDP of a link may not answer. Nothing is asked of it until it, or
// another, has opened a new link; the lease that it granted runs on. Called with the lock.
func (d *Decider) fence(l *link) {
	if l.fenced {
		return
	}
	l.fenced = true
	if d.current == l && !l.broken {
		d.log.Warn("the PDP may not answer at present; looking for another", "endpoint", l.endpoint, "remaining", d.holder.Remaining(d.now()).String())
		d.retarget()
		d.wake()
	}
}

// noteLapse counts a lease that ran out, once. Called with the lock.
func (d *Decider) noteLapse() {
	if g := d.holder.Generation(); g != 0 && g != d.lapsedIn && d.holder.Remaining(d.now()) == 0 {
		d.lapsedIn = g
		d.counts.lapses.Add(1)
		d.log.Warn("the lease ran out: nothing is answered from the cache until there is another", "generation", g.String())
	}
}

// over notes that the lease of the current link ran out although its stream stands:
// only a new hello helps. Called with the lock.
func (d *Decider) over(l *link) {
	d.noteLapse()
	l.cancel()
	d.wake()
}

// broke notes the end of a stream.
func (d *Decider) broke(l *link, err error) {
	l.cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	quiet := l.broken || d.closed
	l.broken, l.err = true, err
	if d.joining == l {
		d.joining = nil
		d.holder.Abandon()
	}
	close(l.ended)
	if d.current != l {
		d.retire(l)
	} else if !quiet {
		d.log.Warn("the stream to the PDP broke", "endpoint", l.endpoint, "error", err, "remaining", d.holder.Remaining(d.now()).String())
	}
	if !quiet && d.current == l {
		d.retarget()
	}
	d.wake()
}

// retire closes a link when its last call is over. Called with the lock.
func (d *Decider) retire(l *link) {
	l.retired = true
	l.cancel()
	d.closeUnused(l)
}

// closeUnused closes a retired link without calls. Called with the lock.
func (d *Decider) closeUnused(l *link) {
	if !l.retired || l.calls > 0 || l.closed {
		return
	}
	l.closed = true
	d.done.Go(func() {
		<-l.ended
		if err := l.pdp.Close(); err != nil {
			d.log.Debug("connections were not closed well", "endpoint", l.endpoint, "error", err)
		}
	})
}

// wake makes the goroutine that opens streams look again.
func (d *Decider) wake() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// historyRefused tells whether err says that histories do not fit, whichever side found it.
func historyRefused(err error) bool {
	var h *lease.HistoryError
	if errors.As(err, &h) {
		return true
	}
	var e *authz.Error
	return errors.As(err, &e) && (e.Code == codeHistoryBehind || e.Code == codeHistoryBeside)
}
