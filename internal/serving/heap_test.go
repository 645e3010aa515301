package serving

import (
	"runtime/debug"
	"testing"
)

// TestHeapFollowsWhatLives: below the floor the heap grows to it, above it what lives counts.
func TestHeapFollowsWhatLives(t *testing.T) {
	h := Heap{Floor: 100 << 20, Percent: 50, Most: 400}
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 50},
		{1 << 20, 400},
		{25 << 20, 300},
		{50 << 20, 100},
		{80 << 20, 50},
		{100 << 20, 50},
		{1 << 40, 50},
	} {
		if got := h.percentFor(c.live); got != c.want {
			t.Errorf("of %d bytes that live it lets %d percent stand; want %d", c.live, got, c.want)
		}
	}
	if got := (Heap{Percent: 100}).percentFor(1); got != 100 {
		t.Errorf("without a floor it lets %d percent stand", got)
	}
}

// TestHeapPutsBack: what was set before is set again by stop, and GOGC goes before.
func TestHeapPutsBack(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(123))
	for gogc, want := range map[string]int{"": 200, "70": 123} {
		t.Setenv("GOGC", gogc)
		var stops Stops
		Heap{Percent: 200, Most: 200}.Tune(&stops)
		if got := debug.SetGCPercent(want); got != want {
			t.Errorf("with GOGC=%q it is %d; want %d", gogc, got, want)
		}
		if err := stops.Stop(); err != nil {
			t.Fatal(err)
		}
		if got := debug.SetGCPercent(123); got != 123 {
			t.Errorf("with GOGC=%q it is %d after stop", gogc, got)
		}
	}
}
