package pep

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lines collects a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// with gives the lines that hold all of the words.
func (l *lines) with(words ...string) (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for line := range strings.Lines(l.text.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		out = append(out, line)
	}
	return out
}

// A long outage is told of at once, then with twice the time each, then once a minute, and anew when there was a lease in between.
func TestOutageInLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		r := newRig(t, 1, func(c *Config) { c.Logger = slog.New(slog.NewJSONHandler(&log, nil)) })
		defer r.close(t)
		r.ready(t)
		for outage := range 2 {
			before := len(log.with("no lease from this PDP"))
			r.pdps[0].fall()
			time.Sleep(time.Second)
			if n := len(log.with("no lease from this PDP")) - before; n != 1 {
				t.Errorf("outage %d: %d lines in its first second", outage, n)
			}
			time.Sleep(10 * time.Minute)
			all := log.with("no lease from this PDP", "WARN")[before:]
			if n := len(all); n < 12 || n > 16 {
				t.Errorf("outage %d: %d lines in ten minutes:\n%s", outage, n, strings.Join(all, ""))
			}
			if last := all[len(all)-1]; !strings.Contains(last, `"for":"9m`) && !strings.Contains(last, `"for":"10m`) {
				t.Errorf("outage %d: the last line does not say how long: %s", outage, last)
			}
			r.pdps[0].rise()
			time.Sleep(10 * time.Second)
			r.ready(t)
		}
		for _, line := range log.with("generation") {
			if !strings.Contains(line, `"generation":"`) {
				t.Errorf("not in hexadecimal: %s", line)
			}
		}
		if n := len(log.with("generation")); n < 3 {
			t.Errorf("%d lines name a generation", n)
		}
	})
}
