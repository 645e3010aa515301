// Package replica makes one PDP of several on one store (PROTOCOL R8): a [Member]
// registers it and keeps it registered, says until when it may answer, and has every other
// incarnation settle a revision, fences those that say nothing, and waits out those that
// have departed. It knows the others by a [state.Registry] and talks to them through a
// [Dialer]; neither gRPC nor etcd is in it.
package replica
