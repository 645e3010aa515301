package registry

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestExpiry lets a year go by, and looks at what the log says each hour.
func TestExpiry(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct{ life, first time.Duration }{
		"a year":   {365 * day, 335 * day},
		"six days": {6 * day, 4 * day},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			if err := MakeKeys(r.dir, c.life); err != nil {
				t.Fatal(err)
			}
			r.load()
			var log bytes.Buffer
			r.h.log = slog.New(slog.NewTextHandler(&log, nil))
			e := &expiry{h: r.h}
			said := func() string {
				e.look()
				defer log.Reset()
				return log.String()
			}
			begin, end := r.now, r.signer.Signing().Chain[0].NotAfter
			var warned, failed int
			for at := begin; at.Before(end.Add(2*day - 2*time.Hour)); at = at.Add(time.Hour) {
				r.now = at
				if passed := at.Sub(begin); passed > c.first+10*time.Hour && passed <= c.first+11*time.Hour {
					e = &expiry{h: r.h} // a restart, so that what is said once a day is not said at the hour of the end
				}
				line := said()
				switch passed := at.Sub(begin); {
				case line == "":
				case strings.Contains(line, "level=ERROR") && at.After(end) && strings.Contains(line, "is over"):
					if failed == 0 && at.Sub(end) > time.Hour {
						t.Errorf("the first error came %s after the end", at.Sub(end))
					}
					failed++
				case strings.Contains(line, "level=WARN") && at.Before(end) && passed >= c.first-time.Hour && strings.Contains(line, "ends soon"):
					if warned == 0 && passed > c.first+time.Hour {
						t.Errorf("the first warning came after %s", passed)
					}
					warned++
				default:
					t.Fatalf("after %s: %s", passed, line)
				}
			}
			if want := int((c.life-c.first)/day) + 1; warned < want || warned > want+1 || failed != 2 {
				t.Errorf("%d warnings, want %d; %d errors, want 2", warned, want, failed)
			}
			// Another key that is over is told at once, too.
			if err := MakeKeys(r.dir, time.Hour); err != nil {
				t.Fatal(err)
			}
			r.load()
			if line := said(); !strings.Contains(line, "is over") {
				t.Errorf("of another key: %q", line)
			}
			// A new key ends it, and one that ends soon is told at once.
			if err := MakeKeys(r.dir, 1000*day); err != nil {
				t.Fatal(err)
			}
			r.load()
			r.now = begin
			if line := said(); line != "" {
				t.Error(line)
			}
			r.now = r.signer.Signing().Chain[0].NotAfter.Add(-day)
			if line := said(); !strings.Contains(line, "left=24h0m0s") {
				t.Error(line)
			}
		})
	}
}

// TestExpiredLogins: a log is no longer for a thousand logins that fail than for one.
func TestExpiredLogins(t *testing.T) {
	r := newRig(t)
	var log bytes.Buffer
	r.h.log = slog.New(slog.NewTextHandler(&log, nil))
	r.now = r.now.Add(2 * time.Hour)
	for range 10 {
		if w := r.do("GET", "/jwt/auth?service="+service, ""); w.Code != 503 {
			t.Fatalf("%d", w.Code)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "has expired") {
		t.Errorf("%d lines: %s", n, &log)
	}
}
