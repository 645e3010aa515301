package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/scenario"
	"github.com/jobward/jobward/pdp/state"
)

// importSettings changes what the file says of the installation. Limits and catalogue come before the lists that need them, and the
// end of enforcement, without which no list can be switched off; the rest (last) comes after. A file that does not speak of one
// leaves it alone.
func (s *session) importSettings(w *scenario.World, wanted, held []state.Record, dryRun, last bool) error {
	dir, err := s.directory()
	if err != nil {
		return err
	}
	to, document := settingsOf(wanted)
	from, old := settingsOf(held)
	if w.Instance == (scenario.Instance{}) {
		to = from
	}
	req := &jobwardv1.UpdateInstanceSettingsRequest{ValidateOnly: dryRun, ReceiptWait: laterOn}
	if to.EnforceInbound != from.EnforceInbound && to.EnforceInbound == last {
		req.EnforceInbound = &to.EnforceInbound
	}
	if last {
		if to.PublicScope != from.PublicScope {
			req.PublicScope = wire.PublicScopeToProto(to.PublicScope).Enum()
		}
		if to.AnyoneCanPull != from.AnyoneCanPull {
			req.AnyoneCanPull = &to.AnyoneCanPull
		}
	} else {
		if n := w.Instance.MaxProjectEntries; n != 0 && n != from.MaxProjectEntries {
			req.MaxProjectEntries = proto.Int32(int32(n))
		}
		if n := w.Instance.MaxGroupEntries; n != 0 && n != from.MaxGroupEntries {
			req.MaxGroupEntries = proto.Int32(int32(n))
		}
	}
	if !proto.Equal(req, &jobwardv1.UpdateInstanceSettingsRequest{ValidateOnly: dryRun, ReceiptWait: laterOn}) {
		resp, err := call(s, dir.UpdateInstanceSettings, req)
		if err != nil {
			return fmt.Errorf("settings: %w", err)
		}
		s.later(dryRun, resp.GetReceipt())
		s.note("update settings")
	}
	if !last && document != nil && !sameJSON(document, old) {
		resp, err := call(s, dir.UpdateCatalogue, &jobwardv1.UpdateCatalogueRequest{Document: document, ValidateOnly: dryRun, ReceiptWait: laterOn})
		if err != nil {
			return fmt.Errorf("catalogue: %w", err)
		}
		s.later(dryRun, resp.GetReceipt())
		s.note("update catalogue")
	}
	return nil
}

func settingsOf(records []state.Record) (i state.Instance, document []byte) {
	for _, r := range records {
		switch r := r.(type) {
		case *state.Instance:
			i = *r
		case *state.Catalogue:
			document = r.Document
		}
	}
	return i, document
}

// sameJSON compares documents apart from their spaces and the order of their fields.
func sameJSON(a, b []byte) bool {
	plain := func(text []byte) string {
		var v any
		if len(text) == 0 || json.Unmarshal(text, &v) != nil {
			return string(text)
		}
		out, _ := json.Marshal(v)
		return string(out)
	}
	return plain(a) == plain(b)
}

// importLists makes the allowlists of the projects of the file what it says.
func (s *session) importLists(wanted, held []state.Record, dryRun bool) error {
	lists, err := s.allowlists()
	if err != nil {
		return err
	}
	to, from := map[authz.ProjectID]*state.Allowlist{}, map[authz.ProjectID]*state.Allowlist{}
	gone := map[authz.Scope]bool{}
	for _, r := range held {
		switch r := r.(type) {
		case *state.Allowlist:
			from[r.Project] = r
		case *state.Project:
			gone[authz.InProject(r.ID)] = true
		case *state.Group:
			gone[authz.InGroup(r.ID)] = true
		}
	}
	var order []authz.ProjectID
	for _, r := range wanted {
		switch r := r.(type) {
		case *state.Allowlist:
			to[r.Project] = r
		case *state.Project:
			order = append(order, r.ID)
			delete(gone, authz.InProject(r.ID))
		case *state.Group:
			delete(gone, authz.InGroup(r.ID))
		}
	}
	slow := s.progress()
	for i, id := range order {
		slow.tell("allowlists: %d of %d projects", i, len(order))
		a, b := cmp.Or(from[id], state.DefaultAllowlist(id)), cmp.Or(to[id], state.DefaultAllowlist(id))
		if err := s.importList(lists, withoutGone(a, gone), b, dryRun); err != nil {
			return fmt.Errorf("allowlist of project %d: %w", id, err)
		}
	}
	return nil
}

// withoutGone gives a list as it is after SyncWorld, which took the entries for what it removed.
func withoutGone(a *state.Allowlist, gone map[authz.Scope]bool) *state.Allowlist {
	out := *a
	out.Inbound = slices.DeleteFunc(slices.Clone(a.Inbound), func(e state.Entry) bool { return gone[e.Caller] })
	out.Outbound = slices.DeleteFunc(slices.Clone(a.Outbound), func(id authz.ProjectID) bool { return gone[authz.InProject(id)] })
	return &out
}

// importList turns one allowlist into another. What takes rights away comes first, as in SyncWorld, and makes room in a full list.
func (s *session) importList(lists jobwardv1.AllowlistServiceClient, from, to *state.Allowlist, dryRun bool) error {
	id := int64(to.Project)
	settings := &jobwardv1.UpdateSettingsRequest{ProjectId: id, ReceiptWait: laterOn}
	for _, f := range []struct {
		from, to bool
		set      **bool
	}{
		{from.InboundOn, to.InboundOn, &settings.InboundEnabled}, {from.OutboundOn, to.OutboundOn, &settings.OutboundEnabled},
		{from.PushSelf, to.PushSelf, &settings.PushSelf}, {from.PushCross, to.PushCross, &settings.PushCross},
	} {
		if f.from != f.to {
			*f.set = &f.to
		}
	}
	in, out := jobwardv1.Direction_DIRECTION_INBOUND, jobwardv1.Direction_DIRECTION_OUTBOUND
	do := func(what string, at any, edit func() (changed, error)) error {
		s.note("%s of project %d: %v", what, id, at)
		if dryRun {
			return nil
		}
		resp, err := edit()
		if err == nil {
			s.later(false, resp.GetReceipt())
		}
		return err
	}
	remove := func(d jobwardv1.Direction, scope authz.Scope) error {
		return do("remove "+enum("DIRECTION", d)+" entry", scope, func() (changed, error) {
			return call(s, lists.RemoveEntry, &jobwardv1.RemoveEntryRequest{ProjectId: id, Direction: d, Scope: wire.ScopeToProto(scope), ReceiptWait: laterOn})
		})
	}
	add := func(d jobwardv1.Direction, e state.Entry) error {
		return do("add "+enum("DIRECTION", d)+" entry", e.Caller, func() (changed, error) {
			return call(s, lists.AddEntry, &jobwardv1.AddEntryRequest{ProjectId: id, Direction: d, Entry: entryMessage(e), ReceiptWait: laterOn})
		})
	}
	var errs []error
	old := map[authz.Scope]state.Entry{}
	for _, e := range from.Inbound {
		old[e.Caller] = e
		if !slices.ContainsFunc(to.Inbound, func(o state.Entry) bool { return o.Caller == e.Caller }) {
			errs = append(errs, remove(in, e.Caller))
		}
	}
	for _, p := range from.Outbound {
		if !slices.Contains(to.Outbound, p) {
			errs = append(errs, remove(out, authz.InProject(p)))
		}
	}
	if !proto.Equal(settings, &jobwardv1.UpdateSettingsRequest{ProjectId: id, ReceiptWait: laterOn}) {
		errs = append(errs, do("settings of the allowlist", "updated", func() (changed, error) { return call(s, lists.UpdateSettings, settings) }))
	}
	for _, e := range to.Inbound {
		o, there := old[e.Caller]
		switch {
		case !there:
			errs = append(errs, add(in, e))
		case o.Default != e.Default || !slices.Equal(o.Policies, e.Policies):
			errs = append(errs, do("update inbound entry", e.Caller, func() (changed, error) {
				return call(s, lists.UpdateEntry, &jobwardv1.UpdateEntryRequest{ProjectId: id, Entry: entryMessage(e), ReceiptWait: laterOn})
			}))
		}
	}
	for _, p := range to.Outbound {
		if !slices.Contains(from.Outbound, p) {
			errs = append(errs, add(out, state.Entry{Caller: authz.InProject(p)}))
		}
	}
	return errors.Join(errs...)
}
