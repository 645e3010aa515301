//go:build !race

package sim

// racing is set under the race detector.
const racing = false
