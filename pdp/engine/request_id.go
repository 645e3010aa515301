package engine

import (
	"github.com/jobward/jobward/pdp/authz"
)

// MaxRequestID is the longest request id in bytes.
const MaxRequestID = 128

// Done tells what became of a call that changes state.
type Done struct {
	// Revision is the one from which on the change holds: the call's own, or, where
	// nothing had to change, the one that was judged at. For a repeated call it is that of
	// the first; for a call that only validates, the one it was judged at.
	Revision authz.Revision
	// Repeated says that the call's request id was carried out before, and that this
	// time nothing was done.
	Repeated bool
}
