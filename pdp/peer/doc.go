// Package peer is how one PDP asks another, of the same store, whether it has settled a
// change (PROTOCOL R8): a [replica.Dialer] over gRPC. Each peer has one connection and one
// stream, on which the wants of all receipts go out together and the answers come back. A
// stream that breaks fails those who wait, who ask again on the next one; package replica
// counts the silence.
package peer
