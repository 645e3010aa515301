package server

import (
	"crypto/rand"
	"strconv"
	"strings"
	"sync/atomic"
)

// ids names decisions: eight random letters for the process, and a count. A name is
// told to the caller and stands in logs and the audit log, so that an answer can be
// found again.
type ids struct {
	prefix string
	last   *atomic.Uint64
}

func newIDs() ids { return ids{strings.ToLower(rand.Text()[:8]) + "-", new(atomic.Uint64)} }

func (i ids) next() string {
	var buf [24]byte
	b := append(buf[:0], i.prefix...)
	return string(strconv.AppendUint(b, i.last.Add(1), 36))
}
