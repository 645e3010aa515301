package hot

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestFloodWindow: seconds, callers, and the bound on callers.
func TestFloodWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFlood(2)
		take := func(caller string, ok bool) {
			t.Helper()
			if err := f.Take(caller, time.Now()); (err == nil) != ok {
				t.Errorf("%s: %v", caller, err)
			}
		}
		take("a", true)
		take("a", true)
		take("a", false)
		take("b", true)
		time.Sleep(999 * time.Millisecond)
		take("a", false)
		time.Sleep(time.Millisecond)
		take("a", true)
		for i := range 2 * maxFlooders {
			take(fmt.Sprint(i), true)
		}
		if len(f.callers) > maxFlooders {
			t.Errorf("%d callers are kept", len(f.callers))
		}
		f.limit = -1
		for range 10 {
			take("a", true)
		}
	})
}
