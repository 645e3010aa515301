package etcdstore

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

var _ state.Shared = (*Store)(nil)

// Registry implements [state.Shared]. Every call is one transaction, tried once within
// [Options].Timeout. It works before Attach, as a replica registers before it loads (PROTOCOL
// R8), beside whatever the committer waits for, and ends with the store.
func (s *Store) Registry() state.Registry { return registry{s} }

type registry struct{ *Store }

// absent and present compare whether a key exists.
func (r registry) absent(name string) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(r.key(name)), "=", 0)
}

func (r registry) present(name string) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(r.key(name)), ">", 0)
}

// Join implements [state.Registry].
func (r registry) Join(ctx context.Context, reg state.Registration) (authz.Revision, error) {
	live, departed := replicaName(reg.Incarnation), departedName(reg.Incarnation)
	resp, head, err := r.write(ctx,
		[]clientv3.Cmp{r.absent(live), r.absent(departed)},
		[]clientv3.Op{clientv3.OpPut(r.key(live), encodeRegistration(reg))}, nil)
	if err == nil && !resp.Succeeded {
		return 0, state.ErrRegistered(reg.Incarnation)
	}
	return head, err
}

// Renew implements [state.Registry].
func (r registry) Renew(ctx context.Context, reg state.Registration) (authz.Revision, error) {
	live := replicaName(reg.Incarnation)
	resp, head, err := r.write(ctx,
		[]clientv3.Cmp{r.present(live)},
		[]clientv3.Op{clientv3.OpPut(r.key(live), encodeRegistration(reg))}, nil)
	if err == nil && !resp.Succeeded {
		return 0, state.ErrFenced(reg.Incarnation)
	}
	return head, err
}

// List implements [state.Registry]. A transaction that only reads is linearizable, as no read
// in it asks for less, and both ranges are as of one revision of etcd's.
func (r registry) List(ctx context.Context) (l state.Registrations, err error) {
	live, liveEnd := r.below(replicaDir)
	departed, departedEnd := r.below(departedDir)
	resp, _, err := r.transact(ctx, nil, []clientv3.Op{clientv3.OpGet(live, liveEnd), clientv3.OpGet(departed, departedEnd)}, nil)
	if err != nil {
		return l, err
	}
	for _, kv := range rangeOf(resp, 1).Kvs {
		reg, err := decodeRegistration(r.name(kv.Key), kv.Value)
		if err != nil {
			return state.Registrations{}, r.errDamaged(err)
		}
		l.Live = append(l.Live, reg)
	}
	for _, kv := range rangeOf(resp, 2).Kvs {
		d, err := decodeDeparted(r.name(kv.Key), kv.Value)
		if err != nil {
			return state.Registrations{}, r.errDamaged(err)
		}
		l.Departed = append(l.Departed, d)
	}
	return l, nil
}

// Fence implements [state.Registry]. The whole value is compared: a registration that was
// renewed differs in its version.
func (r registry) Fence(ctx context.Context, reg state.Registration) error {
	live, departed := replicaName(reg.Incarnation), departedName(reg.Incarnation)
	d := state.Departed{Incarnation: reg.Incarnation, Name: reg.Name, Term: reg.Term, Fence: reg.Fence}
	resp, _, err := r.write(ctx,
		[]clientv3.Cmp{clientv3.Compare(clientv3.Value(r.key(live)), "=", encodeRegistration(reg))},
		[]clientv3.Op{clientv3.OpDelete(r.key(live)), clientv3.OpPut(r.key(departed), encodeDeparted(d))},
		[]clientv3.Op{clientv3.OpGet(r.key(live), clientv3.WithCountOnly()), clientv3.OpGet(r.key(departed), clientv3.WithCountOnly())})
	if err != nil || resp.Succeeded {
		return err
	}
	if rangeOf(resp, 1).Count == 0 && rangeOf(resp, 2).Count > 0 {
		return nil // It has happened: an answer was lost, or another was faster.
	}
	return state.ErrNotTheSame(reg.Incarnation)
}

// Leave implements [state.Registry].
func (r registry) Leave(ctx context.Context, id state.Incarnation) error {
	return r.put(ctx, clientv3.OpDelete(r.key(replicaName(id))))
}

// Depart implements [state.Registry].
func (r registry) Depart(ctx context.Context, d state.Departed) error {
	return r.put(ctx, clientv3.OpPut(r.key(departedName(d.Incarnation)), encodeDeparted(d)))
}

// Forget implements [state.Registry].
func (r registry) Forget(ctx context.Context, id state.Incarnation) error {
	return r.put(ctx, clientv3.OpDelete(r.key(departedName(id))))
}

func (r registry) put(ctx context.Context, op clientv3.Op) error {
	_, _, err := r.write(ctx, nil, []clientv3.Op{op}, nil)
	return err
}

// write is transact for what a store that only looks must not do.
func (r registry) write(ctx context.Context, cmps []clientv3.Cmp, then, otherwise []clientv3.Op) (*clientv3.TxnResponse, authz.Revision, error) {
	if r.opts.Look {
		return nil, 0, errLookedAt()
	}
	return r.transact(ctx, cmps, then, otherwise)
}

// transact sends one transaction, once. It reads the head in whichever branch is taken, before
// the operations of that branch, and refuses one that is not after what this store has seen
// (R13). A try without an answer may have happened, and etcd may do it only later: that is why
// what a transaction does must be right whenever it is done, and twice.
func (r registry) transact(ctx context.Context, cmps []clientv3.Cmp, then, otherwise []clientv3.Op) (*clientv3.TxnResponse, authz.Revision, error) {
	if err := r.usable(ctx); err != nil {
		return nil, 0, err
	}
	seen := r.point()
	look := []clientv3.Op{clientv3.OpGet(r.key(headName))}
	tctx, cancel := r.try(ctx)
	defer cancel()
	var resp *clientv3.TxnResponse
	err := r.opts.Fault.do(StepRegister, func() (err error) {
		resp, err = r.client.Txn(tctx).If(cmps...).Then(append(look, then...)...).Else(append(look, otherwise...)...).Commit()
		return err
	})
	if err == nil {
		err = r.sameCluster(resp.Header.ClusterId)
	}
	var h head
	if err == nil {
		h, err = r.decodeHead(rangeOf(resp, 0).Kvs)
	}
	if err == nil {
		err = r.follows(seen, h.point)
	}
	if err != nil {
		return nil, 0, r.failed(ctx, err)
	}
	return resp, h.mark.Revision, nil
}

// point is what the sink has, or, before Attach, the head when the store was opened.
func (s *Store) point() point {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.seen
}

func rangeOf(resp *clientv3.TxnResponse, i int) *etcdserverpb.RangeResponse {
	return resp.Responses[i].GetResponseRange()
}

// failed gives what the caller is told of a try that failed with err.
func (r registry) failed(ctx context.Context, err error) error {
	if gone := r.usable(ctx); gone != nil {
		return gone
	}
	switch verdict := classify(err); {
	case r.stop(err):
		return r.usable(context.Background())
	case verdict == refused:
		return r.errRefused(err)
	case verdict == noSpace:
		// Not what errNoSpace says: a transaction that uses the quota up is refused and has happened.
		return &authz.Error{
			Kind: authz.KindUnavailable, Code: "DISK_LOW",
			Message: "etcd's database is as large as its quota allows, and the registry of the PDPs is in it; compact and defragment it, disarm its alarm, or raise --quota-backend-bytes", Cause: err,
		}
	}
	return &authz.Error{
		Kind: authz.KindUnavailable, Code: "STORE_UNREACHABLE",
		Message: fmt.Sprintf("etcd did not answer within %v; what was asked of it may have happened all the same; ask again", r.opts.Timeout), Cause: err,
	}
}
