package registry

import (
	"container/list"
	"crypto/sha256"
	"sync"
)

// maxSeen bounds the tokens that are remembered; one takes some hundred bytes, and its scopes.
const maxSeen = 4096

// seen remembers tokens whose signature was found good, by their hash, so that a request costs no signature. Those used least recently make room.
// The zero value is empty.
type seen struct {
	mu    sync.Mutex // guards the rest
	at    map[[sha256.Size]byte]*list.Element
	order list.List // of *sighting, the one used last first
}

type sighting struct {
	sum   [sha256.Size]byte
	grant *grant
}

func (s *seen) get(sum [sha256.Size]byte) *grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.at[sum]
	if e == nil {
		return nil
	}
	s.order.MoveToFront(e)
	return e.Value.(*sighting).grant
}

func (s *seen) put(sum [sha256.Size]byte, g *grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = map[[sha256.Size]byte]*list.Element{}
	}
	if s.at[sum] != nil {
		return
	}
	s.at[sum] = s.order.PushFront(&sighting{sum, g})
	for s.order.Len() > maxSeen {
		e := s.order.Back()
		delete(s.at, e.Value.(*sighting).sum)
		s.order.Remove(e)
	}
}
