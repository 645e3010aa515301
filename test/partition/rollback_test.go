package partition

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// marked reports whether the sidecar has written its mark.
func (s *side) marked() bool {
	_, err := os.Stat(filepath.Join(s.dir, "state", "mark.json"))
	return err == nil
}

// mark is what the sidecar has written.
func (s *side) mark() string {
	b, err := os.ReadFile(filepath.Join(s.dir, "state", "mark.json"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// setBack puts an old copy of the PDP's data in place. In it a job is alive that was revoked since; one sidecar has seen that and was
// killed, another is new. It gives whether the first allows the dead job, and whether the PDP serves on.
func setBack(t *testing.T, atPDP, atSide plant) (stale, served bool) {
	d := startPDP(t, atPDP)
	s := startSide(t, "old", d.at, atSide)
	token := d.issue("job")
	s.holds(token)
	d.end(t, syscall.SIGTERM)
	older := filepath.Join(shortDir(t), "older")
	if err := os.CopyFS(older, os.DirFS(d.dir)); err != nil {
		t.Fatal(err)
	}
	d.start()
	s.holds(token)
	before := s.mark()
	d.revoke("job", untilEffective)
	for i := range 20 {
		d.issue(fmt.Sprint("more-", i))
	}
	if v := s.decides(token); v != dead {
		t.Fatalf("the dead job: %v", v)
	}
	if !atSide.Forgets {
		eventually(t, "a newer mark", func() bool { return s.mark() != before })
		time.Sleep(1500 * time.Millisecond) // marks are written once in a second
	}
	s.end(t, syscall.SIGKILL)
	d.end(t, syscall.SIGKILL)
	if err := os.RemoveAll(d.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(d.dir, os.DirFS(older)); err != nil {
		t.Fatal(err)
	}
	d.start()
	fresh := startSide(t, "new", d.at, plant{})
	fresh.holds(token) // who has no mark cannot know better
	s.start()
	eventually(t, "an answer, or the refusal", func() bool {
		v := judge(s.ask(token))
		stale = v == allowed
		return v != undecided || d.gone() || s.log.Has("history")
	}, s.log.Tail)
	if stale {
		return stale, true
	}
	if atPDP.Deaf {
		eventually(t, "the refusal", func() bool { return s.log.Has("history") }, s.log.Tail)
		served = !d.gone()
		return stale, served
	}
	select {
	case <-d.exited:
	case <-time.After(patience):
		t.Errorf("the PDP goes on\n%s\n%s", d.log.Tail(), s.log.Tail())
		return stale, true
	}
	eventually(t, "nobody is answered any more", func() bool { return judge(fresh.ask(token)) == undecided })
	if v := judge(s.ask(token)); v != undecided {
		t.Errorf("the sidecar with the mark: %v", v)
	}
	if !d.log.Has("the store was replaced by an older or another one") {
		t.Errorf("the PDP does not say why:\n%s", d.log.Tail())
	}
	return stale, false
}

// TestSetBack: a PDP whose store is older than what a sidecar has seen is refused, and stops serving everybody (P6).
func TestSetBack(t *testing.T) {
	t.Parallel()
	if stale, served := setBack(t, plant{}, plant{}); stale || served {
		t.Errorf("a dead job was allowed %t, the PDP served on %t", stale, served)
	}
}

func TestSetBackCatchesForgotten(t *testing.T) {
	t.Parallel()
	if stale, _ := setBack(t, plant{}, plant{Forgets: true}); !stale {
		t.Error("a sidecar that forgets its mark was not found out")
	}
}

func TestSetBackCatchesDeaf(t *testing.T) {
	t.Parallel()
	if _, served := setBack(t, plant{Deaf: true}, plant{}); !served {
		t.Error("a PDP that does not hear the proof was not found out")
	}
}
