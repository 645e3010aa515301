package badgerstore

import (
	"context"

	"github.com/dgraph-io/badger/v4"

	"github.com/jobward/jobward/pdp/state"
)

// snapshot is the store after one transaction.
type snapshot struct {
	// txn is the number of the transaction: Badger's version of everything that it wrote. We
	// number them ourselves, densely, so that one that is lost leaves a gap.
	txn  uint64
	head head
	// spans are the packs of history, oldest first. A snapshot's slice never changes.
	spans []span
}

// reader is a view of Badger as of a snapshot.
type reader struct {
	snapshot
	txn *badger.Txn
	s   *Store
}

// read gives the newest snapshot that Head shows, and Badger as of it. The caller closes it.
func (s *Store) read(ctx context.Context) (*reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refusal(); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, state.ErrCanceled(ctx)
	}
	s.pins[s.seen.txn]++
	return &reader{snapshot: s.seen, s: s, txn: s.db.NewTransactionAt(s.seen.txn, false)}, nil
}

func (r *reader) close() {
	r.txn.Discard()
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.s.pins[r.snapshot.txn]--; r.s.pins[r.snapshot.txn] == 0 {
		delete(r.s.pins, r.snapshot.txn)
	}
	if len(r.s.pins) == 0 && r.s.unread != nil {
		close(r.s.unread)
	}
}

// waitUnread waits for the readers that there are. There are no new ones after closed.
func (s *Store) waitUnread() {
	s.mu.Lock()
	unread := make(chan struct{})
	if len(s.pins) == 0 {
		close(unread)
	} else {
		s.unread = unread
	}
	s.mu.Unlock()
	<-unread
}

// publish lets readers see a transaction, and Badger forget what no reader needs.
func (s *Store) publish(next snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = next
	oldest := next.txn
	for txn := range s.pins {
		oldest = min(oldest, txn)
	}
	s.db.SetDiscardTs(oldest)
}
