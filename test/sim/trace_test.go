package sim

import (
	"fmt"
	"strings"
	"time"
)

// event is one line of a trace.
type event struct {
	at         time.Duration
	who, about string // about: whose events it belongs to; empty for all
	text       string
}

func (e event) String() string {
	return fmt.Sprintf("%10.6f %-8s %s", e.at.Seconds(), e.who, e.text)
}

// note adds a line to the trace, in a run that keeps one.
func (s *sim) note(who, about, what, format string, args ...any) {
	if !s.tracing {
		return
	}
	e := event{s.now(), who, about, what}
	if format != "" {
		e.text += " " + fmt.Sprintf(format, args...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trace = append(s.trace, e)
}

// violation is a promise that was broken.
type violation struct {
	rule, text string
	about      []string // whose events tell the story
	at         time.Duration
}

// fail notes a broken promise. The run ends soon.
func (s *sim) fail(rule string, about []string, format string, args ...any) {
	v := violation{rule, fmt.Sprintf(format, args...), about, s.now()}
	s.note("oracle", "", "VIOLATION", "%s: %s", rule, v.text)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violations = append(s.violations, v)
	if len(s.violations) == 1 {
		close(s.failed)
	}
}

// story gives the last lines that have to do with a violation.
func (s *sim) story(v violation, most int) string {
	var lines []string
	for i := len(s.trace) - 1; i >= 0 && len(lines) < most; i-- {
		if e := s.trace[i]; e.at <= v.at && s.concerns(e, v) {
			lines = append(lines, e.String())
		}
	}
	for i, j := 0, len(lines)-1; i < j; i, j = i+1, j-1 {
		lines[i], lines[j] = lines[j], lines[i]
	}
	return strings.Join(lines, "\n")
}

func (s *sim) concerns(e event, v violation) bool {
	if e.who == "chaos" || e.who == "oracle" || strings.HasPrefix(e.who, "pdp") && e.about == "" {
		return true
	}
	for _, a := range v.about {
		if e.about == a || a != "" && strings.Contains(e.text, a) {
			return true
		}
	}
	return false
}
