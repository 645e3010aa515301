package engine

import (
	"strings"
	"sync"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

func TestInstance(t *testing.T) {
	e := newEngine(t, &state.User{ID: 1, Name: "chief", Admin: true}, &state.User{ID: 2, Name: "u"}, &state.User{ID: 3, Name: "left", Admin: true, State: authz.UserStateDeactivated})
	ctx := t.Context()
	if got := e.GetInstance(ctx); got.Instance != state.DefaultInstance() || got.Changed != 0 {
		t.Errorf("at first %+v", got)
	}
	strict := authz.ScopeStrict
	never := authz.Revision(0)
	got, done, err := e.UpdateInstance(ctx, admin(), InstanceEdit{PublicScope: &strict, MaxGroupEntries: new(3), Expected: &never})
	want := state.DefaultInstance()
	want.PublicScope, want.MaxGroupEntries = authz.ScopeStrict, 3
	if err != nil || got.Instance != want || got.Changed != done.Revision || e.GetInstance(ctx) != got {
		t.Errorf("%+v, %+v, %v", got, done, err)
	}
	if _, again, err := e.UpdateInstance(ctx, as(1), InstanceEdit{PublicScope: &strict}); err != nil || again.Revision != done.Revision {
		t.Errorf("the same on behalf of an administrator: %+v, %v", again, err)
	}
	got, _, err = e.UpdateInstance(ctx, as(1), InstanceEdit{EnforceInbound: new(true), AnyoneCanPull: new(false), ValidateOnly: true})
	if err != nil || !got.EnforceInbound || got.AnyoneCanPull || e.GetInstance(ctx).EnforceInbound {
		t.Errorf("%+v, %v", got, err)
	}
	for _, c := range []struct {
		name string
		by   Actor
		edit InstanceEdit
		kind authz.Kind
		code string
	}{
		{"not an administrator", as(2), InstanceEdit{EnforceInbound: new(true)}, authz.KindForbidden, CodeNotAdmin},
		{"not active", as(3), InstanceEdit{EnforceInbound: new(true)}, authz.KindForbidden, CodeUserNotActive},
		{"nobody", as(9), InstanceEdit{EnforceInbound: new(true)}, authz.KindForbidden, CodeUserNotActive},
		{"not by the door", as(0), InstanceEdit{EnforceInbound: new(true)}, authz.KindForbidden, CodeUserRequired},
		{"nothing to do", admin(), InstanceEdit{}, authz.KindInvalid, CodeInvalidField},
		{"nothing but words", admin(), InstanceEdit{RequestID: "x", ValidateOnly: true}, authz.KindInvalid, CodeInvalidField},
		{"scope", admin(), InstanceEdit{PublicScope: new(authz.PublicScope(7))}, authz.KindInvalid, CodeInvalidField},
		{"negative", admin(), InstanceEdit{MaxProjectEntries: new(-1)}, authz.KindInvalid, CodeInvalidField},
		{"huge", admin(), InstanceEdit{MaxGroupEntries: new(MaxListEntries + 1)}, authz.KindInvalid, CodeInvalidField},
		{"stale", admin(), InstanceEdit{MaxGroupEntries: new(4), Expected: &never}, authz.KindConflict, CodeRevisionMismatch},
	} {
		_, _, err := e.UpdateInstance(ctx, c.by, c.edit)
		wantError(t, err, c.kind, c.code)
		if t.Failed() {
			t.Fatal("in ", c.name)
		}
	}
	if e.GetInstance(ctx).Changed != done.Revision {
		t.Error("a refused call changed something")
	}
}

// TestInstanceConcurrently: two that change different settings both get through.
func TestInstanceConcurrently(t *testing.T) {
	e := newEngine(t)
	var wg sync.WaitGroup
	for _, edit := range []InstanceEdit{{EnforceInbound: new(true)}, {AnyoneCanPull: new(false)}, {MaxGroupEntries: new(1)}, {MaxProjectEntries: new(2)}} {
		wg.Go(func() {
			if _, _, err := e.UpdateInstance(t.Context(), admin(), edit); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if in := e.GetInstance(t.Context()); !in.EnforceInbound || in.AnyoneCanPull || in.MaxGroupEntries != 1 || in.MaxProjectEntries != 2 {
		t.Errorf("%+v", in)
	}
}

func TestCatalogue(t *testing.T) {
	e := newEngine(t, listWorld()...)
	ctx := t.Context()
	doc := []byte(`{"policies": ["read_charts"], "permissions": [{"name": "read_chart", "surface": "rest", "role": "guest", "policies": ["read_charts"]}]}`)
	got, done, err := e.UpdateCatalogue(ctx, admin(), CatalogueEdit{Document: doc, ValidateOnly: true})
	if _, ok := got.Effective.Permission("read_chart"); err != nil || !ok || e.GetCatalogue(ctx).Changed != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	got, done, err = e.UpdateCatalogue(ctx, admin(), CatalogueEdit{Document: doc})
	if err != nil || got.Changed != done.Revision {
		t.Fatal(done, err)
	}
	if now := e.GetCatalogue(ctx); string(now.Document) != string(doc) || !now.Effective.HasPolicy("read_charts") || now.Changed != done.Revision {
		t.Errorf("%+v", now)
	}
	fine := onApp(Inbound, authz.InProject(open))
	fine.Default, fine.Policies = false, []string{"read_charts"}
	if _, _, err := e.AddEntry(ctx, as(max_), fine); err != nil {
		t.Error(err)
	}
	if _, again, err := e.UpdateCatalogue(ctx, admin(), CatalogueEdit{Document: doc}); err != nil || again.Revision != e.view.Mark().Revision {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	for _, bad := range []string{"{", `{"permissions": [{"name": "read_project", "surface": "rest"}]}`, `{"x": 1}`, strings.Repeat(" ", maxDocument+1)} {
		_, _, err := e.UpdateCatalogue(ctx, admin(), CatalogueEdit{Document: []byte(bad)})
		wantError(t, err, authz.KindInvalid, CodeCatalogueInvalid)
		wantField(t, err, "document")
	}
	_, _, err = e.UpdateCatalogue(ctx, admin(), CatalogueEdit{Document: doc, Expected: new(done.Revision - 1)})
	wantError(t, err, authz.KindConflict, CodeRevisionMismatch)
	_, _, err = e.UpdateCatalogue(ctx, as(max_), CatalogueEdit{Document: doc})
	wantError(t, err, authz.KindForbidden, CodeNotAdmin)

	// Removed again: the entry keeps its unknown policy, which grants nothing.
	if _, _, err := e.UpdateCatalogue(ctx, admin(), CatalogueEdit{Expected: &done.Revision}); err != nil {
		t.Error(err)
	}
	if now := e.GetCatalogue(ctx); now.Effective.HasPolicy("read_charts") || now.Changed != 0 || len(now.Document) != 0 {
		t.Errorf("%+v", now)
	}
	if a, _ := e.view.Allowlist(app); len(a.Inbound) != 1 || a.Inbound[0].Policies[0] != "read_charts" {
		t.Errorf("%+v", a.Inbound)
	}
	_, _, err = e.UpdateEntry(ctx, as(max_), fine)
	wantError(t, err, authz.KindInvalid, CodePolicyUnknown)
}
