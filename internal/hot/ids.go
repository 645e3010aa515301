package hot

import (
	"crypto/rand"
	"strconv"
	"strings"
	"sync/atomic"
)

// IDs names decisions: eight random letters for the process, and a count. A name is
// told to the caller and stands in logs and the audit log, so that an answer can be
// found again.
type IDs struct {
	prefix string
	last   *atomic.Uint64
}

// NewIDs begins the names of a process.
func NewIDs() IDs { return IDs{strings.ToLower(rand.Text()[:8]) + "-", new(atomic.Uint64)} }

// Next gives a name. It is safe for concurrent use.
func (i IDs) Next() string {
	var buf [24]byte
	return string(i.Append(buf[:0]))
}

// Append appends a name to b, for those who do not keep it.
func (i IDs) Append(b []byte) []byte {
	return strconv.AppendUint(append(b, i.prefix...), i.last.Add(1), 36)
}
