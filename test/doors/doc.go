// Package doors tests what the HTTP doors of a sidecar and the PDP must agree on, where neither may import from the other: which permissions there are,
// and that after a receipt no door lets anything through, neither a request nor a chunk of a transfer under way.
package doors
