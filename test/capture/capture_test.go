package capture_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jobward/jobward/test/capture"
)

// TestReadWhileWritten finds in the output what many writers put there, whole, while they do.
func TestReadWhileWritten(t *testing.T) {
	var o capture.Output
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 100 {
				fmt.Fprintf(&o, "writer %d line %d;\n", w, i)
			}
		})
	}
	for !o.Has("line 50;") {
		for line := range strings.Lines(o.String()) {
			if !strings.HasPrefix(line, "writer ") || !strings.HasSuffix(line, ";\n") {
				t.Fatalf("a torn line: %q", line)
			}
		}
	}
	writers.Wait()
	if n := len(o.Lines()); n != 400 {
		t.Errorf("%d lines", n)
	}
	if got, want := o.Lines("line 99;", "writer 2"), []string{"writer 2 line 99;\n"}; !slices.Equal(got, want) {
		t.Errorf("lines with both words: %q", got)
	}
	if tail := o.Tail(); len(tail) != 4000 || !strings.HasSuffix(o.String(), tail) {
		t.Errorf("the tail has %d bytes", len(tail))
	}
}
