// Package capture collects what a program says while it runs, for readers in other goroutines.
package capture

import (
	"bytes"
	"strings"
	"sync"
)

// Output is what was written so far. The zero value is empty and ready.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String gives all of it.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Tail gives the last 4000 bytes, for messages about programs that say much.
func (o *Output) Tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.text.Bytes()
	return string(b[max(0, len(b)-4000):])
}

// Has reports whether s is in it.
func (o *Output) Has(s string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Contains(o.text.Bytes(), []byte(s))
}

// Lines gives the lines that hold all of the words.
func (o *Output) Lines(words ...string) (found []string) {
next:
	for line := range strings.Lines(o.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}
