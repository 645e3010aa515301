package engine

import (
	"context"
	"fmt"
	"strings"

	"github.com/jobward/jobward/pdp/audit"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// edition is one edit of an allowlist under way.
type edition struct {
	*editor
	// list is the list, to change; changed is the revision that last changed it.
	list    *state.Allowlist
	changed authz.Revision
	// event tells what changed; its zero Detail says that nothing did.
	event audit.Event
	// tightens says that the change only takes rights away.
	tightens bool
}

// edit carries out one edit: change looks at the list and changes the copy. It runs
// again when something that it read was changed meanwhile.
func (e *Engine) edit(ctx context.Context, verb string, by Actor, req AllowlistEdit, all any, change func(*edition) error) (Done, *edition, error) {
	op, err := newOnce(by, verb, req.RequestID, all)
	if err != nil {
		return Done{}, nil, err
	}
	var ed *edition
	done, err := e.commitOnce(ctx, verb, by, op, func(repeated bool) (b state.Batch, err error) {
		editor, err := e.maintainer(by, req.Project)
		if err != nil {
			return b, err
		}
		ed = &edition{editor: editor, event: audit.Event{Target: req.Project, Count: 1}}
		ed.list, ed.changed = editor.allowlist(req.Project)
		if repeated {
			return b, nil
		}
		if err := expect(req.Expected, ed.changed, "the allowlist"); err != nil {
			return b, err
		}
		if err := change(ed); err != nil || req.ValidateOnly {
			return b, err
		}
		if ed.event.Detail != "" {
			b.Puts = append(b.Puts, ed.list)
			b.Events = append(b.Events, e.event(verb, by, ed.event))
			b.Urgent = ed.tightens
		}
		op.keep(&b, e.clock.Now(), state.ThisRevision)
		ed.appendTo(&b)
		return b, nil
	})
	if err != nil {
		return Done{}, nil, err
	}
	if !done.Repeated && ed.event.Detail != "" && !req.ValidateOnly {
		ed.changed = done.Revision
	}
	return done, ed, nil
}

// expect compares an expected revision, where one is given.
func expect(want *authz.Revision, have authz.Revision, what string) error {
	if want == nil || *want == have {
		return nil
	}
	return authz.Errorf(authz.KindConflict, CodeRevisionMismatch,
		"%s was last changed at revision %d, not %d: read it again and decide again", what, have, *want)
}

// UpdateAllowlist changes settings and gives them as they are then, or, to validate
// only, as they would be. The inbound list
// cannot be switched off while the instance enforces it: KindPrecondition
// (INBOUND_ENFORCED).
func (e *Engine) UpdateAllowlist(ctx context.Context, by Actor, req AllowlistSettings) (AllowlistInfo, Done, error) {
	if req.InboundOn == nil && req.OutboundOn == nil && req.PushSelf == nil && req.PushCross == nil {
		return AllowlistInfo{}, Done{}, authz.Invalid("inbound_enabled", "set at least one of inbound_enabled, outbound_enabled, push_self and push_cross")
	}
	done, ed, err := e.edit(ctx, "update_settings", by, req.AllowlistEdit, req, func(ed *edition) error {
		if req.InboundOn != nil && !*req.InboundOn && ed.instance().EnforceInbound {
			return authz.Errorf(authz.KindPrecondition, CodeInboundEnforced,
				"the instance keeps every inbound list in force: project %d cannot switch its own off", req.Project)
		}
		ed.settings(req)
		return nil
	})
	if err != nil {
		return AllowlistInfo{}, Done{}, err
	}
	return ed.info(ed.list, ed.changed), done, nil
}

func (ed *edition) settings(req AllowlistSettings) {
	ed.tightens = true
	var words []string
	for _, s := range []struct {
		name    string
		want    *bool
		have    *bool
		tighter bool // the value that takes rights away
	}{
		{"inbound", req.InboundOn, &ed.list.InboundOn, true},
		{"outbound", req.OutboundOn, &ed.list.OutboundOn, true},
		{"push_self", req.PushSelf, &ed.list.PushSelf, false},
		{"push_cross", req.PushCross, &ed.list.PushCross, false},
	} {
		if s.want == nil || *s.want == *s.have {
			continue
		}
		*s.have = *s.want
		ed.tightens = ed.tightens && *s.want == s.tighter
		words = append(words, fmt.Sprintf("%s %s", s.name, onOff(*s.want)))
	}
	ed.event.Detail = strings.Join(words, ", ")
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
