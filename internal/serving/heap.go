package serving

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Heap says how much garbage the collector lets stand. Go's one knob, percent of what lives,
// cannot give both a small program and a collector that costs nothing: one that holds little
// collects dozens of times a second under load, and one that holds much becomes twice as
// large as what it holds. So the percentage follows what lives.
type Heap struct {
	// Floor is how many bytes the heap may always grow to.
	Floor uint64
	// Percent of what lives is for garbage where that is more.
	Percent int
	// Most keeps a heap that is nearly empty from growing for long before the first look at
	// it, in percent.
	Most int
}

// tuneEvery is how often what lives is looked at.
const tuneEvery = time.Second

// percentFor gives the collector's percentage for so many bytes that live.
func (h Heap) percentFor(live uint64) int {
	percent := h.Percent
	if live > 0 && live < h.Floor {
		percent = max(percent, int((h.Floor-live)*100/live))
	}
	return min(percent, max(h.Most, h.Percent))
}

// Tune tunes the collector until stop. GOGC goes before it, because who sets that means this
// very process.
func (h Heap) Tune(stops *Stops) {
	if os.Getenv("GOGC") != "" {
		return
	}
	now := h.percentFor(h.live())
	before := debug.SetGCPercent(now)
	stops.Add(func() error { debug.SetGCPercent(before); return nil })
	stops.Background(func(ctx context.Context) {
		tick := time.NewTicker(tuneEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			// Setting it stops the world for a moment, so small changes are let be.
			if want := h.percentFor(h.live()); want > now+now/8 || want < now-now/8 {
				debug.SetGCPercent(want)
				now = want
			}
		}
	})
}

// live is what the last collection has left.
func (h Heap) live() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return h.Floor
	}
	return sample[0].Value.Uint64()
}
