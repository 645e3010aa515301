package daemon

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A sidecar should be small, and its collector should cost nothing. Go's one knob, percent of what lives, cannot give both: an empty sidecar would
// collect every other megabyte, dozens of times a second under load, and a full one would be twice as large as what it holds. So the
// percentage follows what lives: the heap may always grow to heapFloor, and above that collectAt percent are for garbage. Measured with
// BenchmarkSidecar and BenchmarkSidecarMemory.
const (
	heapFloor = 13 << 20
	collectAt = 50
	// mostPercent keeps a heap that is nearly empty from growing for long before the first look at it.
	mostPercent = 500
	tuneEvery   = time.Second
)

// percentFor gives the collector's percentage for so many bytes that live.
func percentFor(live uint64) int {
	percent := collectAt
	if live > 0 && live < heapFloor {
		percent = max(percent, int((heapFloor-live)*100/live))
	}
	return min(percent, mostPercent)
}

// limitMemory tunes the collector until stop, and sets the limit that was asked for. GOGC and GOMEMLIMIT go before it, because who sets them
// means this very process.
func (d *daemon) limitMemory() {
	if d.MemoryLimit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		before := debug.SetMemoryLimit(int64(d.MemoryLimit))
		d.stops.Add(func() error { debug.SetMemoryLimit(before); return nil })
	}
	if os.Getenv("GOGC") != "" {
		return
	}
	now := percentFor(liveBytes())
	before := debug.SetGCPercent(now)
	d.stops.Add(func() error { debug.SetGCPercent(before); return nil })
	d.stops.Background(func(ctx context.Context) {
		tick := time.NewTicker(tuneEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			// Setting it stops the world for a moment, so small changes are let be.
			if want := percentFor(liveBytes()); want > now+now/8 || want < now-now/8 {
				debug.SetGCPercent(want)
				now = want
			}
		}
	})
}

// liveBytes is what the last collection has left.
func liveBytes() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return heapFloor
	}
	return sample[0].Value.Uint64()
}
