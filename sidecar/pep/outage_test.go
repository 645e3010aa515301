package pep

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobward/jobward/test/capture"
)

// A long outage is told of at once, then with twice the time each, then once a minute, and anew when there was a lease in between.
func TestOutageInLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log capture.Output
		r := newRig(t, 1, func(c *Config) { c.Logger = slog.New(slog.NewJSONHandler(&log, nil)) })
		defer r.close(t)
		r.ready(t)
		for outage := range 2 {
			before := len(log.Lines("no lease from this PDP"))
			r.pdps[0].fall()
			time.Sleep(time.Second)
			if n := len(log.Lines("no lease from this PDP")) - before; n != 1 {
				t.Errorf("outage %d: %d lines in its first second", outage, n)
			}
			time.Sleep(10 * time.Minute)
			all := log.Lines("no lease from this PDP", "WARN")[before:]
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
		for _, line := range log.Lines("generation") {
			if !strings.Contains(line, `"generation":"`) {
				t.Errorf("not in hexadecimal: %s", line)
			}
		}
		if n := len(log.Lines("generation")); n < 3 {
			t.Errorf("%d lines name a generation", n)
		}
	})
}
