package etcdstore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jobward/jobward/pdp/state"
)

// retryPause is the time between two tries.
const retryPause = 50 * time.Millisecond

// outcome is how a transaction ended.
type outcome int

const (
	done    outcome = iota
	tooLate         // Another moved the head, or a stage is gone: judge again.
)

// settle answers all requests of a group. What they are told is judged at the newest head: the
// transaction proves it, or, where nothing is to be written, a linearizable read.
func (s *Store) settle(group []*request) {
	var st *stage
	large := len(group) == 1 && group[0].size > s.room()
	for {
		s.mu.RLock()
		broken := s.broken
		s.mu.RUnlock()
		if broken != nil {
			refuse(group, broken)
			return
		}
		t := s.judge(group)
		out, err := tooLate, error(nil)
		switch {
		case !t.writes || s.down:
			out, err = s.confirm(t)
			if err == nil && out == done && t.writes {
				s.down = false
				continue
			}
		default:
			if large && st == nil {
				if st, err = s.writeStage(appendBatch(nil, group[0].batch)); err != nil {
					break
				}
			}
			out, err = s.commit(t, st)
		}
		switch {
		case err != nil && s.giveUp(group, err):
			return
		case err == nil && out == done:
			s.down = false
			t.answer()
			return
		case err == nil:
			s.stats.Lost.Add(1)
			st = s.kept(st)
			if err := s.catchUp(s.ctx); err != nil && s.giveUp(group, err) {
				return
			}
		}
	}
}

// kept gives nil for a stage that was removed, or will be.
func (s *Store) kept(st *stage) *stage {
	if st == nil {
		return nil
	}
	ctx, cancel := s.try(s.ctx)
	defer cancel()
	if resp, err := s.client.Txn(ctx).If(s.stageStands(st)...).Commit(); err == nil && !resp.Succeeded {
		return nil
	}
	return st
}

// giveUp answers a group of which nothing was sent, or says that it should be tried again.
func (s *Store) giveUp(group []*request, err error) bool {
	if s.stop(err) {
		s.mu.RLock()
		defer s.mu.RUnlock()
		refuse(group, s.broken)
		return true
	}
	switch classify(err) {
	case noSpace:
		refuse(group, errNoSpace(err))
		return true
	case refused:
		refuse(group, s.errRefused(err))
		return true
	}
	if errors.Is(err, errGivenUp) {
		refuse(group, state.ErrStateUnknown(err))
		return true
	}
	s.down = true
	if time.Since(group[0].since) > s.opts.Patience || s.closing() {
		refuse(group, s.errUnreachable(err))
		return true
	}
	s.again(s.ctx)
	return false
}

// stop reports whether err is one that the store does not outlive, and ends it then.
func (s *Store) stop(err error) bool {
	if known := s.known(err); known != nil {
		s.fail(known)
		return true
	}
	if !errors.Is(err, errGivenUp) && !errors.Is(err, errStageGone) && !compacted(err) && classify(err) == hopeless {
		s.fail(state.ErrStateUnknown(err))
		return true
	}
	return false
}

// confirm reads the head and tells whether t was judged at it.
func (s *Store) confirm(t *transaction) (outcome, error) {
	resp, err := s.get(s.ctx, s.key(headName))
	if err != nil {
		return tooLate, err
	}
	h, err := s.decodeHead(resp.Kvs)
	if err != nil {
		return tooLate, err
	}
	if h.mod != t.headMod {
		return tooLate, nil
	}
	return done, nil
}

// commit sends t until its outcome is known. The same transaction is sent again when an answer
// is lost: it compares the head's revision, so it happens once at most, and when it did the
// log has its id. While it is unknown nobody is told anything.
func (s *Store) commit(t *transaction, st *stage) (outcome, error) {
	e := t.entry
	rand.Read(e.id[:])
	e.replay(t.batches)
	value := e.encode(t.batches, st)
	e.size = max(len(value), sizeOf(st))
	if st != nil {
		e.staged = st.id
	}
	cmps := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(s.key(headName)), "=", t.headMod)}
	if st != nil {
		cmps = append(cmps, s.stageStands(st)...)
	}
	then := []clientv3.Op{
		clientv3.OpPut(s.key(headName), encodePoint(headName, e.after)),
		clientv3.OpPut(s.key(e.name()), string(value)),
	}
	otherwise := []clientv3.Op{clientv3.OpGet(s.key(e.name())), clientv3.OpGet(s.key(headName))}
	var sent bool
	var given time.Time // when Close began to wait
	for {
		var resp *clientv3.TxnResponse
		ctx, cancel := s.try(s.ctx)
		err := s.opts.Fault.do(StepCommit, func() (err error) {
			resp, err = s.client.Txn(ctx).If(cmps...).Then(then...).Else(otherwise...).Commit()
			return err
		})
		cancel()
		if err == nil {
			if err := s.sameCluster(resp.Header.ClusterId); err != nil {
				return tooLate, err
			}
			return s.landed(t, resp, sent)
		}
		switch v := classify(err); {
		case v == hopeless:
			return tooLate, err
		case v == noSpace && !sent:
			// etcd says so before it has done anything, and also of the transaction that
			// used the quota up, which it has done. What writes nothing it still answers.
			ctx, cancel := s.try(s.ctx)
			look, lookErr := s.client.Txn(ctx).If(cmps...).Else(otherwise...).Commit()
			cancel()
			if lookErr == nil && look.Succeeded {
				return tooLate, err
			}
			if lookErr == nil {
				return s.landed(t, look, false) // it is the newest there is, if it is there
			}
		case v != unknown && !sent:
			return tooLate, err
		}
		// Once an answer was lost, a refusal of a later try says nothing about the first.
		sent = true
		s.stats.Unknown.Add(1)
		s.log.Warn("etcd did not say what became of a transaction; asking again", "transaction", e.after.txn, "error", err)
		s.refuseQueued(err)
		if s.closing() {
			if given.IsZero() {
				given = time.Now()
			} else if time.Since(given) > closeTime {
				return tooLate, errGivenUp
			}
		}
		s.again(s.ctx)
	}
}

func sizeOf(st *stage) int {
	if st == nil {
		return 0
	}
	return st.size
}

// landed looks at the answer to a transaction; again says that it had been sent before.
func (s *Store) landed(t *transaction, resp *clientv3.TxnResponse, again bool) (outcome, error) {
	e, at := t.entry, resp.Header.Revision
	if !resp.Succeeded {
		h, err := s.decodeHead(resp.Responses[1].GetResponseRange().Kvs)
		if err != nil {
			return tooLate, err
		}
		kvs := resp.Responses[0].GetResponseRange().Kvs
		switch {
		case h.mod == t.headMod:
			return tooLate, nil // The head stands: it was the stage that is gone.
		case len(kvs) == 0 && again:
			return tooLate, fmt.Errorf("transaction %d is no longer in the log, and nothing else tells whose it was", e.after.txn)
		case len(kvs) == 0:
			return tooLate, nil
		}
		is, err := decodeHeader(e.name(), kvs[0].Value)
		if err != nil {
			return tooLate, s.errDamaged(err)
		}
		if is.id != e.id {
			return tooLate, nil
		}
		at = kvs[0].ModRevision // It is ours: an earlier try happened.
	}
	e.at = at
	s.stats.Transactions.Add(1)
	return done, s.advance([]*entry{e})
}

// refuseQueued answers those who have waited long enough behind a transaction whose outcome is
// unknown. Theirs were not sent.
func (s *Store) refuseQueued(cause error) {
	held := s.held
	s.held = nil
	for {
		var r *request
		if len(held) > 0 {
			r, held = held[0], held[1:]
		}
		if r == nil {
			select {
			case r = <-s.queue:
			default:
				return
			}
		}
		switch {
		case r.ctx.Err() != nil:
			r.done <- answer{err: state.ErrCanceled(r.ctx)}
		case time.Since(r.since) > s.opts.Patience || s.closing():
			r.done <- answer{err: s.errUnreachable(cause)}
		default:
			s.held = append(s.held, r)
		}
	}
}
