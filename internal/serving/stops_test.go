package serving

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// TestStops undoes in reverse order, goes on after an error, and waits for what runs.
func TestStops(t *testing.T) {
	var s Stops
	var order []string
	step := func(name string, err error) func() error {
		return func() error { order = append(order, name); return err }
	}
	s.Add(step("first", nil))
	s.Background(func(ctx context.Context) {
		<-ctx.Done()
		order = append(order, "background")
	})
	s.Add(step("last", errors.New("stuck")))
	if err := s.Stop(); err == nil || err.Error() != "stuck" {
		t.Error(err)
	}
	if got := strings.Join(order, " "); got != "last background first" {
		t.Error(got)
	}
	if err := s.Stop(); err != nil || len(order) != 3 {
		t.Errorf("a second time: %v, %v", err, order)
	}
}

func TestReloaded(t *testing.T) {
	var b bytes.Buffer
	report := Reloaded(slog.New(slog.NewTextHandler(&b, nil)), "TLS files")
	report(nil)
	report(errors.New("broken"))
	if s := b.String(); strings.Count(s, `what="TLS files"`) != 2 || !strings.Contains(s, "level=ERROR") || !strings.Contains(s, "broken") {
		t.Error(s)
	}
}
