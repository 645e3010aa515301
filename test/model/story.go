package model

import (
	"fmt"
	"strings"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

func (w *world) failed() string { return w.wrong }

// tell plays steps again and says what happens in each.
func (w *world) tell(steps []step) []string {
	d := &drawn{}
	w = begin(w.cfg, d)
	var lines []string
	for n, s := range steps {
		next := w.take(d, s)
		line := fmt.Sprintf("%2d. %s", n+1, w.describe(s, next))
		if fresh := next.effective &^ w.effective; fresh != 0 {
			line += fmt.Sprintf("; effective now: %v", fresh)
		}
		lines = append(lines, line)
		w = next
	}
	return lines
}

// String gives the revisions.
func (m mask) String() string {
	var out []string
	for rev := authz.Revision(1); rev <= 8; rev++ {
		if m.has(rev) {
			out = append(out, fmt.Sprint("revision ", rev))
		}
	}
	return strings.Join(out, ", ")
}

func (w *world) describe(s step, next *world) string {
	who := owner(int(s.h))
	switch s.verb {
	case vTick:
		return fmt.Sprintf("the clock ticks: %d", next.tick)
	case vCommit:
		text := fmt.Sprintf("revision %d is committed", next.view)
		if !w.cfg.Ahead {
			text += fmt.Sprintf(" and concerns %d", next.told[next.view])
		}
		return text
	case vDispatch:
		rev := next.g.Head().Revision
		return fmt.Sprintf("revision %d is dispatched and concerns %d", rev, next.told[rev])
	case vRestart:
		return "the PDP is killed and started again"
	case vBeat:
		return "the PDP sends heartbeats"
	}
	h := w.hs[s.h]
	switch s.verb {
	case vBegin:
		return fmt.Sprintf("%s begins to ask question %d", who, s.x)
	case vAnswer:
		return fmt.Sprintf("the PDP answers question %d of %s, judged at revision %d", h.flights[s.x].question, who, s.y)
	case vLand:
		f := h.flights[s.x]
		was := "is not kept"
		for _, e := range next.hs[s.h].entries {
			if e.question == f.question {
				was = "is kept"
			}
		}
		return fmt.Sprintf("the answer to question %d (revision %d) arrives at %s and %s", f.question, f.low, who, was)
	case vHello:
		text := fmt.Sprintf("%s sends a hello", who)
		if st := next.hs[s.h].streams; st[len(st)-1].hello.Vouch {
			text += " with what it has"
		}
		return text
	case vBreak:
		return fmt.Sprintf("stream %d of %s breaks", h.streams[s.x].number, who)
	case vRenew:
		return fmt.Sprintf("%s sends a renewal", who)
	case vEvict:
		return fmt.Sprintf("%s evicts its answer to question %d", who, h.entries[s.x].question)
	case vLeave:
		return fmt.Sprintf("%s stops and releases", who)
	case vPump:
		return fmt.Sprintf("the PDP writes to stream %d of %s", h.streams[s.x].number, who)
	case vSweep:
		return fmt.Sprintf("%s removes what it has acked", who)
	}
	return w.describeRead(s, h, who)
}

func (w *world) describeRead(s step, h *holder, who string) string {
	st := h.streams[s.x]
	if s.verb == vDeliver {
		m := st.down[0]
		if m.Kind == lease.Welcome && len(st.down) > 1 && w.cfg.Holder != lease.FaultReleaseEarly {
			return fmt.Sprintf("%s reads from stream %d: welcome, %s", who, st.number, text(st.down[1]))
		}
		return fmt.Sprintf("%s reads from stream %d: %s", who, st.number, text(m))
	}
	if st.hello != nil {
		return fmt.Sprintf("the PDP reads the hello of stream %d of %s", st.number, who)
	}
	return fmt.Sprintf("the PDP reads from stream %d of %s: %s", st.number, who, text(st.up[s.y]))
}

func text(m lease.Message) string {
	switch m.Kind {
	case lease.Grant, lease.Renew:
		return fmt.Sprintf("%v %d", m.Kind, m.Number)
	case lease.Invalidation, lease.Ack, lease.Heartbeat:
		return fmt.Sprintf("%v of revision %d", m.Kind, m.Revision)
	}
	return m.Kind.String()
}
