package model

import "fmt"

func (w *cluster) failed() string { return w.wrong }

// tell plays steps again and says what happens in each.
func (w *cluster) tell(steps []step) []string {
	d := &drawn{}
	w = beginCluster(w.cfg, d)
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

func (w *cluster) describe(s step, next *cluster) string {
	if s.verb >= cBegin {
		return w.describeHolder(s, next)
	}
	r := fmt.Sprintf("replica %d", s.h+1)
	m, now := &w.rs[s.h], &next.rs[s.h]
	switch s.verb {
	case cTick:
		return fmt.Sprintf("the clocks tick: %d", next.tick)
	case cCommit:
		return fmt.Sprintf("%s commits revision %d and waits for its receipt", r, next.head)
	case cList, cEarly:
		text := r + " reads the list:"
		for inc := int8(1); inc <= w.last; inc++ {
			switch w.recs[inc].is {
			case live:
				text += fmt.Sprintf(" %d (settled %d)", inc, w.recs[inc].settled)
			case departed:
				text += fmt.Sprintf(" %d (departed)", inc)
			}
		}
		return text
	case cApply:
		if s.x == 1 {
			return fmt.Sprintf("the watch of %s starts again at revision %d and leaves out the one before", r, now.view())
		}
		return fmt.Sprintf("the view of %s applies revision %d, and tells its sidecars", r, now.view())
	case cPut:
		if m.inc == 0 || !m.joined {
			return fmt.Sprintf("%s sends a put, to join as incarnation %d", r, now.inc)
		}
		return fmt.Sprintf("%s sends a put, to renew incarnation %d", r, m.inc)
	case cStore:
		if now.put.refused {
			return fmt.Sprintf("the put of %s finds its registration gone", r)
		}
		return fmt.Sprintf("the put of %s is stored, and reads that the head is revision %d", r, now.put.head)
	case cTold:
		if m.put.refused {
			return fmt.Sprintf("%s is told that it was fenced", r)
		}
		return fmt.Sprintf("%s is told that its put is stored and the head was revision %d", r, m.put.head)
	case cFence:
		return fmt.Sprintf("%s fences incarnation %d", r, s.x)
	case cPeer:
		a := next.receipts[s.x]
		says := "is pending"
		switch {
		case !a.on || !a.peers[s.y].waits:
			says = "has settled"
		case a.peers[s.y].applied != 0:
			says = "has applied, not settled,"
		}
		return fmt.Sprintf("incarnation %d tells %s that it %s revision %d", s.y, r, says, s.x)
	case cCrash:
		return r + " is killed"
	case cStart:
		return r + " starts again"
	case cStop:
		return fmt.Sprintf("%s stops cleanly, with %d leases out", r, m.g.Live())
	case cHead:
		return fmt.Sprintf("%s reads the head: %s", r, [...]string{"sent", "read at the store", "answered"}[m.read.stage])
	case cUnknown:
		return "somebody asks " + r + " about the token that revision 1 issued"
	}
	return fmt.Sprint(s)
}

func (w *cluster) describeHolder(s step, next *cluster) string {
	who, h := owner(int(s.h)), w.hs[s.h]
	switch s.verb {
	case cBegin:
		return fmt.Sprintf("%s begins to ask replica %d", who, s.x+1)
	case cAnswer:
		return fmt.Sprintf("replica %d answers %s, judged at revision %d", h.flights[s.x].to+1, who, s.y)
	case cTest:
		return fmt.Sprintf("replica %d sees that it may answer %s", h.flights[s.x].to+1, who)
	case cLand:
		was := "is not kept"
		if len(next.hs[s.h].entries) > 0 {
			was = "is kept"
		}
		return fmt.Sprintf("the answer (revision %d) arrives at %s and %s", h.flights[s.x].low, who, was)
	case cHello:
		text := fmt.Sprintf("%s sends a hello to replica %d", who, s.x+1)
		if s.y == 1 {
			text += " with what it has"
		}
		return text
	case cBreak:
		return fmt.Sprintf("stream %d of %s breaks", h.streams[s.x].number, who)
	case cRenew:
		return who + " sends a renewal"
	}
	st := h.streams[s.x]
	switch {
	case s.verb == cDeliver && len(st.down) > 1 && len(next.hs[s.h].streams[s.x].down) < len(st.down)-1:
		return fmt.Sprintf("%s reads from stream %d: %s, %s", who, st.number, text(st.down[0]), text(st.down[1]))
	case s.verb == cDeliver:
		return fmt.Sprintf("%s reads from stream %d: %s", who, st.number, text(st.down[0]))
	case st.hello != nil:
		return fmt.Sprintf("replica %d reads the hello of stream %d of %s", st.to+1, st.number, who)
	}
	return fmt.Sprintf("replica %d reads from stream %d of %s: %s", st.to+1, st.number, who, text(st.up[0]))
}
