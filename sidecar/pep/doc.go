// Package pep answers questions about job tokens beside the service that asks them,
// from a cache that is never wrong about a revocation.
package pep
