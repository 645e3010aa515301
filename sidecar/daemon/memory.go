package daemon

import (
	"os"
	"runtime/debug"

	"github.com/jobward/jobward/internal/serving"
)

// heap is the collector's of a sidecar, which should be small. Measured with BenchmarkSidecar
// and BenchmarkSidecarMemory.
var heap = serving.Heap{Floor: 13 << 20, Percent: 50, Most: 500}

// limitMemory tunes the collector until stop, and sets the limit that was asked for.
// GOMEMLIMIT goes before it, because who sets that means this very process.
func (d *daemon) limitMemory() {
	if d.MemoryLimit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		before := debug.SetMemoryLimit(int64(d.MemoryLimit))
		d.stops.Add(func() error { debug.SetMemoryLimit(before); return nil })
	}
	heap.Tune(&d.stops)
}
