package partition

import (
	"fmt"
	"testing"

	"github.com/anishathalye/porcupine"
)

// observer is who answers a check: a sidecar by its number, or the PDP itself. Of several, PDP i is thePDP-i.
type observer uint8

const thePDP observer = 7

// deed is what happened to one token and one target, as the model sees it.
type deed uint8

const (
	issued  deed = iota // the token exists
	dying               // its death has begun: from now on some may know, who have not yet said "dead" may not
	durable             // the PDP that is named knows of its death
	gone                // everybody knows: an effective receipt
	editing             // an edit of the list has begun; value is what it sets
	edited              // the PDP that is named knows of the edit
	settled             // everybody knows of the edit
	checked             // an observer answered
)

func (d deed) String() string {
	return [...]string{"issued", "dying", "durable", "gone", "editing", "edited", "settled", "checked"}[d]
}

// action is one operation of a history.
type action struct {
	deed  deed
	value bool     // of an edit: listed from now on
	by    observer // who answered: of a check, of what is durable, of an edit
	what  verdict
}

// world is what the model knows about one token and one target.
//
// A change is not one moment for all: between the call and the effective receipt each observer learns of it in its own time. But no observer
// forgets, and none knows what the PDP does not: an observer that has said "dead" never allows again (R14), nor does the PDP, nor does
// any observer after the receipt (P1).
//
// With several PDPs each learns in its own time, too: one that has not applied a change yet may allow until the receipt, and two may differ in between. What one
// of them has called durable it knows itself, and the others need not. That a sidecar knows says then that some PDP knows, but not which.
type world struct {
	several bool  // PDPs
	life    uint8 // 0 nothing, 1 alive, 2 dying, 3 gone
	heard   uint8 // observers that know of the death
	list    bool  // what the list says
	next    bool  // what the edit under way makes of it
	edit    bool  // an edit is under way
	learned uint8 // observers that know of it
}

const (
	notYet = iota
	alive
	ending
	over
)

// step carries out an action, or refuses it.
func (w world) step(a action) (bool, world) {
	switch a.deed {
	case issued:
		ok := w.life == notYet
		w.life = alive
		return ok, w
	case dying:
		if w.life == alive {
			w.life = ending
		}
		return w.life != notYet, w
	case durable:
		w.heard |= 1 << a.by
		return w.life >= ending, w
	case gone:
		ok := w.life >= ending
		w.life = over
		return ok, w
	case editing:
		ok := !w.edit
		w.edit, w.next, w.learned = true, a.value, 0
		return ok, w
	case edited:
		w.learned |= 1 << a.by
		return w.edit && w.next == a.value, w
	case settled:
		ok := w.edit && w.next == a.value
		w.edit, w.list, w.learned = false, w.next, 0
		return ok, w
	}
	return w.check(a)
}

func (w world) check(a action) (bool, world) {
	me := uint8(1) << a.by
	if !w.several {
		me |= 1 << thePDP
	}
	switch a.what {
	case dead:
		w.heard |= me
		return w.life >= ending, w
	case allowed, unlisted:
		if w.life == notYet || w.life == over || w.heard&(1<<a.by) != 0 {
			return false, w
		}
		listed := a.what == allowed
		switch {
		case listed == w.list && (!w.edit || w.learned&(1<<a.by) == 0 || w.next == w.list):
			return true, w
		case w.edit && listed == w.next:
			w.learned |= me
			return true, w
		}
	}
	return false, w
}

// model is for porcupine. listed is what the list says in the beginning.
func model(listed, several bool) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return world{list: listed, several: several} },
		Step: func(state, input, _ any) (bool, any) { return state.(world).step(input.(action)) },
		DescribeOperation: func(input, _ any) string {
			a := input.(action)
			if a.deed == checked {
				return fmt.Sprintf("%v by %d", a.what, a.by)
			}
			return fmt.Sprint(a.deed, " ", a.value)
		},
	}
}

// TestModelCatches gives the model histories by hand.
func TestModelCatches(t *testing.T) {
	at := func(call, ret int64, a action) porcupine.Operation {
		return porcupine.Operation{Call: call, Return: ret, Input: a}
	}
	check := func(call, ret int64, by observer, v verdict) porcupine.Operation {
		return at(call, ret, action{deed: checked, by: by, what: v})
	}
	const ever, otherPDP = 1 << 60, thePDP - 1
	issue := at(1, 2, action{deed: issued})
	durableAt := func(call, ret int64, by observer) []porcupine.Operation {
		return []porcupine.Operation{issue, at(call, ret, action{deed: dying}), at(call, ret, action{deed: durable, by: by})}
	}
	revoke := func(call, ret int64) []porcupine.Operation {
		return []porcupine.Operation{issue, at(call, ret, action{deed: dying}), at(call, ret, action{deed: gone})}
	}
	edit := func(call, ret int64, to bool) []porcupine.Operation {
		return []porcupine.Operation{issue, at(call, ret, action{deed: editing, value: to}), at(call, ret, action{deed: settled, value: to})}
	}
	join := func(h []porcupine.Operation, more ...porcupine.Operation) []porcupine.Operation {
		return append(h, more...)
	}
	for _, c := range []struct {
		name string
		h    []porcupine.Operation
		good bool
	}{
		{"allowed while alive", join(nil, issue, check(3, 4, 0, allowed)), true},
		{"allowed before it was issued", join(nil, at(5, 6, action{deed: issued}), check(3, 4, 0, allowed)), false},
		{"dead, and nobody revoked", join(nil, issue, check(3, 4, 0, dead)), false},
		{"allowed while it is revoked", join(revoke(10, 20), check(12, 13, 0, allowed)), true},
		{"allowed over the receipt", join(revoke(10, 20), check(19, 30, 0, allowed)), true},
		{"allowed after the receipt", join(revoke(10, 20), check(21, 30, 0, allowed)), false},
		{"unlisted after the receipt", join(revoke(10, 20), check(21, 30, 0, unlisted)), false},
		{"dead before the call", join(revoke(10, 20), check(8, 9, 0, dead)), false},
		{"one knows, another not yet", join(revoke(10, 20), check(11, 12, 0, dead), check(13, 14, 1, allowed)), true},
		{"one knows and forgets", join(revoke(10, 20), check(11, 12, 0, dead), check(13, 14, 0, allowed)), false},
		{"one knows, and the PDP not", join(revoke(10, 20), check(11, 12, 0, dead), check(13, 14, thePDP, allowed)), false},
		{"a call that failed may count", join(nil, issue, at(10, ever, action{deed: dying}), check(30, 31, 0, dead)), true},
		{"or not", join(nil, issue, at(10, ever, action{deed: dying}), check(30, 31, 0, allowed)), true},
		{"only durable, and a sidecar lags", join(durableAt(10, 20, thePDP), check(30, 31, 0, allowed)), true},
		{"only durable, and the PDP lags", join(durableAt(10, 20, thePDP), check(30, 31, thePDP, allowed)), false},
		{"allowed, and not listed", join(edit(10, 20, false), check(21, 22, 0, allowed)), false},
		{"not listed yet", join(edit(10, 20, false), check(11, 12, 0, allowed)), true},
		{"not listed, listed", join(edit(10, 20, false), check(11, 12, 0, unlisted), check(13, 14, 0, allowed)), false},
		{"not listed here, listed there", join(edit(10, 20, false), check(11, 12, 0, unlisted), check(13, 14, 1, allowed)), true},
		{"not listed before the edit", join(edit(10, 20, false), check(8, 9, 0, unlisted)), false},
	} {
		if good := porcupine.CheckOperations(model(true, false), c.h); good != c.good {
			t.Errorf("%s: %t, want %t", c.name, good, c.good)
		}
	}
	for _, c := range []struct {
		name string
		h    []porcupine.Operation
		good bool
	}{
		{"a sidecar knows, and a PDP not", join(revoke(10, 20), check(11, 12, 0, dead), check(13, 14, thePDP, allowed)), true},
		{"one PDP knows, and another not", join(revoke(10, 20), check(11, 12, thePDP, dead), check(13, 14, otherPDP, allowed)), true},
		{"a PDP knows and forgets", join(revoke(10, 20), check(11, 12, otherPDP, dead), check(13, 14, otherPDP, allowed)), false},
		{"a sidecar goes to a PDP that lags", join(revoke(10, 20), check(11, 12, 0, dead), check(13, 14, 0, allowed)), false},
		{"durable at one PDP, and another lags", join(durableAt(10, 20, thePDP), check(30, 31, otherPDP, allowed)), true},
		{"durable at a PDP, which lags", join(durableAt(10, 20, otherPDP), check(30, 31, otherPDP, allowed)), false},
		{"allowed at another PDP after the receipt", join(revoke(10, 20), check(21, 22, otherPDP, allowed)), false},
		{"dead at another PDP, and nobody revoked", join(nil, issue, check(3, 4, otherPDP, dead)), false},
		{"not listed at one, listed at another", join(edit(10, 20, false), check(11, 12, thePDP, unlisted), check(13, 14, otherPDP, allowed)), true},
		{"not listed at a PDP, then listed", join(edit(10, 20, false), check(11, 12, otherPDP, unlisted), check(13, 14, otherPDP, allowed)), false},
		{"listed at another after the receipt", join(edit(10, 20, false), check(21, 22, otherPDP, allowed)), false},
		{"edited at a PDP, which lags", []porcupine.Operation{issue, at(10, ever, action{deed: editing}), at(10, 20, action{deed: edited, by: otherPDP}), check(30, 31, otherPDP, allowed)}, false},
		{"edited at a PDP, and another lags", []porcupine.Operation{issue, at(10, ever, action{deed: editing}), at(10, 20, action{deed: edited, by: otherPDP}), check(30, 31, thePDP, allowed)}, true},
	} {
		if good := porcupine.CheckOperations(model(true, true), c.h); good != c.good {
			t.Errorf("several: %s: %t, want %t", c.name, good, c.good)
		}
	}
}
