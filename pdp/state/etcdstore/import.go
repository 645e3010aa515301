package etcdstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// importName is the key that says that an import below the prefix has begun. It is the first
// that an import writes; the transaction that writes the head, which makes a store of all that
// is there, removes it.
const importName = "importing"

// StepImport is one transaction of an import.
const StepImport Step = "import"

const (
	// importPatience is how long one transaction of an import is tried.
	importPatience = 30 * time.Second
	// importAtOnce is how many transactions of an import are under way at a time.
	importAtOnce = 4
	// importTerm is the longest lease that the history before can have granted: PROTOCOL R1's cap.
	importTerm = 60 * time.Second
)

// Import implements [state.Import] for a prefix that holds nothing yet. Every transaction
// compares that the key of the import is as this Import wrote it, and that there is no head: of
// two imports into one prefix the older stops, and a PDP that makes a store of it meanwhile too.
//
// If we die before the first transaction nothing is there; from then on it is an unfinished
// import; after the last one, which is one transaction of etcd's, it is a store.
type Import struct {
	s      *Store
	mod    int64 // etcd's revision of the import's key
	ops    []clientv3.Op
	size   int
	writes *errgroup.Group
	ctx    context.Context // ends with the first error of writes

	// The pack of events that is being made: all in one second.
	second string
	pack   []byte
	newest authz.Stamp
	part   int
}

// LookAt tells what an import below the prefix of opts would find, and how full etcd is. It
// writes nothing.
func LookAt(ctx context.Context, opts Options) (t state.Target, err error) {
	s, err := dialed(opts)
	if err != nil {
		return t, err
	}
	defer s.client.Close()
	if t, _, err = s.target(ctx); err != nil {
		return t, err
	}
	s.ctx = ctx
	s.askSpace()
	t.Used, t.Room = s.stats.Size.Load(), s.stats.Quota.Load()
	return t, nil
}

// dialed gives a store that has nothing but a client.
func dialed(opts Options) (s *Store, err error) {
	if err := opts.fill(); err != nil {
		return nil, err
	}
	s = &Store{opts: opts, log: opts.Logger, closed: make(chan struct{}), failed: make(chan struct{})}
	s.low = make([]atomic.Bool, len(opts.Endpoints))
	s.client, err = opts.dial()
	return s, err
}

// target tells what stands below the prefix, and at which revision of etcd's the key of an
// import that did not finish is.
func (s *Store) target(ctx context.Context) (t state.Target, mod int64, err error) {
	all, end := s.below("")
	resp, err := s.transact(ctx, nil, []clientv3.Op{
		clientv3.OpGet(s.key(headName)), clientv3.OpGet(s.key(importName)), clientv3.OpGet(all, end, clientv3.WithLimit(1), clientv3.WithKeysOnly()),
	})
	if err != nil {
		return t, 0, err
	}
	s.cluster = resp.Header.ClusterId
	if kvs := rangeOf(resp, 0).Kvs; len(kvs) > 0 {
		t.Holds = "a store"
		if p, err := decodePoint(headName, kvs[0].Value); err == nil {
			t.Holds = fmt.Sprintf("a store at %v", p.mark)
		}
		return t, 0, nil
	}
	if kvs := rangeOf(resp, 1).Kvs; len(kvs) > 0 {
		t.Holds, t.Unfinished = "an import that was not finished", true
		return t, kvs[0].ModRevision, nil
	}
	if kvs := rangeOf(resp, 2).Kvs; len(kvs) > 0 {
		t.Holds = fmt.Sprintf("the key %q", kvs[0].Key)
	}
	return t, 0, nil
}

// OpenImport begins an import below the prefix of opts, where nothing may be but what an import
// left that did not finish.
func OpenImport(ctx context.Context, opts Options) (*Import, error) {
	s, err := dialed(opts)
	if err != nil {
		return nil, err
	}
	im := &Import{s: s}
	if err := im.begin(ctx); err != nil {
		s.client.Close()
		return nil, err
	}
	im.writes, im.ctx = errgroup.WithContext(ctx)
	im.writes.SetLimit(importAtOnce)
	return im, nil
}

func (im *Import) begin(ctx context.Context) error {
	s := im.s
	t, mod, err := s.target(ctx)
	if err != nil {
		return err
	}
	if t.Holds != "" && !t.Unfinished {
		return state.ErrNotEmpty(s.opts.Prefix+" in etcd", t.Holds)
	}
	if err := im.claim(ctx, mod); err != nil || !t.Unfinished {
		return err
	}
	if err := im.clear(ctx); err != nil {
		return err
	}
	return im.claim(ctx, im.mod) // A removal whose answer was lost must not happen later.
}

// claim writes the key of the import, in the place of the one that was last written at mod; zero
// for none.
func (im *Import) claim(ctx context.Context, mod int64) error {
	s := im.s
	var own id
	rand.Read(own[:])
	value := string(seal(importName, append([]byte{format}, own[:]...)))
	resp, err := s.transact(ctx,
		[]clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(s.key(importName)), "=", mod), s.noHead()},
		[]clientv3.Op{clientv3.OpPut(s.key(importName), value)})
	if err != nil {
		return err
	}
	if im.mod = resp.Header.Revision; resp.Succeeded {
		return nil
	}
	// It may have happened without an answer.
	got, err := s.get(ctx, s.key(importName))
	if err != nil {
		return s.readError(ctx, err)
	}
	if len(got.Kvs) == 0 || string(got.Kvs[0].Value) != value {
		return im.disturbed()
	}
	im.mod = got.Kvs[0].ModRevision
	return nil
}

// clear removes what an import left, a page at a time.
func (im *Import) clear(ctx context.Context) error {
	s := im.s
	first, _ := s.below("")
	last := clientv3.GetPrefixRangeEnd(first)
	for _, r := range [][2]string{{first, s.key(importName)}, {s.key(importName) + "\x00", last}} {
		for from := r[0]; ; {
			resp, err := s.get(ctx, from, clientv3.WithRange(r[1]), clientv3.WithLimit(page), clientv3.WithKeysOnly())
			if err != nil {
				return s.readError(ctx, err)
			}
			if len(resp.Kvs) == 0 {
				break
			}
			end := string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
			if err := im.send(ctx, []clientv3.Op{clientv3.OpDelete(from, clientv3.WithRange(end))}); err != nil {
				return err
			}
			from = end
		}
	}
	return nil
}

func (s *Store) noHead() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(s.key(headName)), "=", 0)
}

// still compares that the import is this one, and goes on.
func (im *Import) still() []clientv3.Cmp {
	return []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(im.s.key(importName)), "=", im.mod), im.s.noHead()}
}

func (im *Import) disturbed() error {
	return authz.Errorf(authz.KindConflict, "TARGET_CHANGED", "somebody else writes below %s in etcd: another import, or a PDP that was started there; nothing of theirs was changed", im.s.opts.Prefix)
}

// transact sends a transaction until it is known to have been done, or refused. It must do no
// harm twice.
func (s *Store) transact(ctx context.Context, cmps []clientv3.Cmp, then []clientv3.Op) (resp *clientv3.TxnResponse, err error) {
	for began := time.Now(); ; {
		tctx, cancel := s.try(ctx)
		err = s.opts.Fault.do(StepImport, func() (err error) {
			resp, err = s.client.Txn(tctx).If(cmps...).Then(then...).Commit()
			return err
		})
		cancel()
		if err == nil && s.cluster != 0 {
			err = s.sameCluster(resp.Header.ClusterId)
		}
		if err == nil {
			return resp, nil
		}
		if err := s.ends(ctx, err, time.Since(began)); err != nil {
			return nil, err
		}
		s.again(ctx)
	}
}

// ends gives what the caller is told of a try that failed with err, or nil for one to be
// repeated.
func (s *Store) ends(ctx context.Context, err error, since time.Duration) error {
	var known *authz.Error
	switch verdict := classify(err); {
	case errors.As(err, &known):
		return err
	case ctx.Err() != nil:
		return state.ErrCanceled(ctx)
	case locked(err):
		return s.errLocked(err)
	case verdict == noSpace:
		return errNoSpace(err)
	case verdict == refused:
		return s.errRefused(err)
	case verdict == hopeless, since > importPatience:
		return s.errUnreachable(err)
	}
	return nil
}

// send is transact for what belongs to the import.
func (im *Import) send(ctx context.Context, ops []clientv3.Op) error {
	resp, err := im.s.transact(ctx, im.still(), ops)
	if err == nil && !resp.Succeeded {
		err = im.disturbed()
	}
	return err
}

// add puts an operation into the next transaction, after sending the one that has no room for it.
func (im *Import) add(op clientv3.Op, size int) error {
	if err := im.ctx.Err(); err != nil {
		return im.failed()
	}
	if len(im.ops) > 0 && (len(im.ops) >= im.s.opts.Operations || im.size+size > im.s.opts.Request-4096) {
		im.flush()
	}
	im.ops, im.size = append(im.ops, op), im.size+size
	return nil
}

// flush sends what was added, beside others.
func (im *Import) flush() {
	ops := im.ops
	im.ops, im.size = nil, 0
	if len(ops) > 0 {
		im.writes.Go(func() error { return im.send(im.ctx, ops) })
	}
}

// failed gives the first error of the writes.
func (im *Import) failed() error {
	if err := im.writes.Wait(); err != nil {
		return err
	}
	return state.ErrCanceled(im.ctx)
}

// Record implements [state.Import].
func (im *Import) Record(_ context.Context, key state.Key, mod authz.Revision, body []byte) error {
	return im.add(clientv3.OpPut(im.s.key(recordName(key)), encodeRecord(key, mod, body)), 64+len(key)+len(body))
}

// importTxn numbers the transaction that all events of an import are said to be of; that of the
// head, too.
const importTxn = 1

// Event implements [state.Import]. Events of one second are packed as folding does.
func (im *Import) Event(_ context.Context, at state.EventID, e state.Event) error {
	if second := eventFrom(at.Stamp); second != im.second || len(im.pack)+len(e.Data) > im.s.opts.Request/2 {
		if err := im.endPack(); err != nil {
			return err
		}
		if second != im.second {
			im.second, im.part = second, 0
		}
	}
	im.pack, im.newest = appendEvent(im.pack, event{at, e}), at.Stamp
	return nil
}

func (im *Import) endPack() error {
	if len(im.pack) == 0 {
		return nil
	}
	name := eventName(im.newest, importTxn, im.part)
	value := string(seal(name, append([]byte{format}, im.pack...)))
	im.pack, im.part = nil, im.part+1
	return im.add(clientv3.OpPut(im.s.key(name), value), 64+len(value))
}

// Finish implements [state.Import]. The leases of the history before are those of a departed
// replica that is in the list from the beginning: every PDP waits them out (PROTOCOL R8).
func (im *Import) Finish(ctx context.Context, b state.Beginning) error {
	if err := im.endPack(); err != nil {
		return err
	}
	im.flush()
	if err := im.writes.Wait(); err != nil {
		return err
	}
	s := im.s
	p := point{txn: importTxn, mark: b.Mark, stamp: b.Stamp, seq: b.Seq}
	d := state.Departed{Name: "before the import", Term: importTerm}
	rand.Read(d.Incarnation[:])
	head := encodePoint(headName, p)
	resp, err := s.transact(ctx, im.still(), []clientv3.Op{
		clientv3.OpPut(s.key(headName), head),
		clientv3.OpPut(s.key(markerName), encodePoint(markerName, p)),
		clientv3.OpPut(s.key(clusterName), string(s.clusterValue())),
		clientv3.OpPut(s.key(departedName(d.Incarnation)), encodeDeparted(d)),
		clientv3.OpDelete(s.key(importName)),
	})
	if err != nil || resp.Succeeded {
		return err
	}
	// It may have happened without an answer; a PDP that began at once may have gone on.
	got, err := s.get(ctx, s.key(headName))
	if err != nil {
		return s.readError(ctx, err)
	}
	if len(got.Kvs) > 0 {
		if now, err := decodePoint(headName, got.Kvs[0].Value); err == nil && now.mark.Epoch == b.Mark.Epoch {
			return nil
		}
	}
	return im.disturbed()
}

// Close implements [state.Import].
func (im *Import) Close() error {
	im.writes.Wait()
	im.s.client.Close()
	return nil
}
