package state

import (
	"encoding/binary"

	"github.com/jobward/jobward/pdp/policy"
)

// shared keeps one copy of values that many rows have in common, counted. Value 0 is
// the zero value and is not counted.
type shared[T any] struct {
	byKey map[string]uint32
	vals  []sharedValue[T]
	free  []uint32
}

type sharedValue[T any] struct {
	val  T
	key  string
	refs int
}

func newShared[T any]() shared[T] {
	return shared[T]{byKey: make(map[string]uint32), vals: make([]sharedValue[T], 1)}
}

func (s *shared[T]) at(i uint32) T { return s.vals[i].val }

// hold counts one more row that has the value of a key, which copy makes if it is new.
func (s *shared[T]) hold(key []byte, copy func() T) uint32 {
	if len(key) == 0 {
		return 0
	}
	i, ok := s.byKey[string(key)]
	if !ok {
		if n := len(s.free); n > 0 {
			i = s.free[n-1]
			s.free = s.free[:n-1]
		} else {
			i = uint32(len(s.vals))
			s.vals = append(s.vals, sharedValue[T]{})
		}
		s.vals[i] = sharedValue[T]{val: copy(), key: string(key)}
		s.byKey[s.vals[i].key] = i
	}
	s.vals[i].refs++
	return i
}

// letGo counts one row less.
func (s *shared[T]) letGo(i uint32) {
	if i == 0 {
		return
	}
	v := &s.vals[i]
	if v.refs--; v.refs == 0 {
		delete(s.byKey, v.key)
		*v = sharedValue[T]{}
		s.free = append(s.free, i)
	}
}

// limitsKey is empty for limits that limit nothing, and tells nil from empty lists.
func limitsKey(buf []byte, l policy.Limits) []byte {
	if l.Permissions == nil && l.Targets == nil {
		return buf
	}
	buf = listKey(buf, l.Permissions)
	if l.Targets == nil {
		return append(buf, 0)
	}
	buf = append(buf, 1)
	for _, t := range l.Targets {
		buf = binary.AppendUvarint(buf, scopeKey(t))
	}
	return buf
}

// listKey is empty for nil names.
func policiesKey(buf []byte, names []string) []byte {
	if names == nil {
		return buf
	}
	return listKey(buf, names)
}

func listKey[S ~string](buf []byte, names []S) []byte {
	if names == nil {
		return append(buf, 0)
	}
	buf = binary.AppendUvarint(append(buf, 1), uint64(len(names)))
	for _, n := range names {
		buf = binary.AppendUvarint(buf, uint64(len(n)))
		buf = append(buf, n...)
	}
	return buf
}
