package partition

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// TestNamespaces has a PDP and two sidecars in namespaces of their own. Under each fault it revokes a job that the first sidecar holds, and looks
// what the receipt is worth; then it heals and waits for hits. The hammer goes on all the while.
func TestNamespaces(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, 2)
	d, sides := n.programs()
	h := newHammer(t, newRand(t).Uint64(), d, sides...)
	h.recovers()
	h.start(4)
	s, lapses := sides[0], 0
	for round := range *rounds {
		for i, f := range []struct {
			name string
			do   func()
			// lapses: the sidecar cannot confirm, so the receipt waits for the end of its lease.
			lapses bool
		}{
			{"nothing", func() {}, false},
			{"both ways dropped", func() { n.drop(0) }, true},
			{"only the sidecar is heard", func() { n.deafSide(0) }, true},
			{"only the PDP is heard", func() { n.deafPDP(0) }, true},
			{"a fifth is lost", func() { n.lose(0, 20) }, false},
			{"half is lost", func() { n.lose(0, 50) }, false},
			{"the sidecar was killed and cannot say it", func() { n.drop(0); s.end(t, syscall.SIGKILL) }, true},
			{"the PDP was killed and is back, and cannot say it", func() { n.drop(0); d.end(t, syscall.SIGKILL); d.start() }, false},
		} {
			job := fmt.Sprintf("held-%d-%d", round, i)
			token := d.issue(job)
			s.holds(token)
			f.do()
			r := d.revoke(job, untilEffective)
			if !r.Effective {
				t.Errorf("%s: %v", f.name, r)
			}
			v := undecided
			if !s.gone() {
				v = judge(s.ask(token))
			}
			t.Logf("%s: %d confirmed, %d lapsed, after %v; then the sidecar says %v", f.name, r.Acknowledged, r.Lapsed, r.Elapsed.AsDuration().Round(time.Millisecond), v)
			if v != dead && v != undecided {
				t.Errorf("%s: %v after the receipt %v", f.name, v, r)
			}
			if f.lapses {
				if r.Acknowledged > 0 {
					t.Errorf("%s: nobody could confirm, and the receipt says %v", f.name, r)
				}
				lapses += int(r.Lapsed)
			}
			h.run(300 * time.Millisecond)
			n.heal()
			if s.gone() {
				s.start()
			}
			h.recovers()
		}
	}
	if lapses == 0 {
		t.Error("no receipt waited for the lease of the sidecar that was cut off")
	}
	h.good()
}
