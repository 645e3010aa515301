package engine

import (
	"bytes"
	"context"
	"fmt"

	"github.com/jobward/jobward/pdp/audit"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// MaxListEntries is the most that the instance can allow a list to have of one kind:
// an allowlist is one record, which every edit writes anew.
const MaxListEntries = 1000

// InstanceInfo is the settings of the installation.
type InstanceInfo struct {
	state.Instance
	// Changed is the revision that last changed them, zero for never.
	Changed authz.Revision
	// Revision is the point in history that they were read at.
	Revision authz.Revision
}

// InstanceEdit changes the settings that are not nil.
type InstanceEdit struct {
	PublicScope                        *authz.PublicScope
	EnforceInbound, AnyoneCanPull      *bool
	MaxProjectEntries, MaxGroupEntries *int
	// Expected, where set, is the Changed that the caller has seen.
	Expected     *authz.Revision
	RequestID    string
	ValidateOnly bool
}

// CatalogueInfo is the permission catalogue.
type CatalogueInfo struct {
	// Document is the operator's extension, empty if there is none.
	Document []byte
	// Effective is the built-in catalogue with the extension.
	Effective *policy.Catalogue
	// Changed is the revision that last changed the document, zero for never.
	Changed  authz.Revision
	Revision authz.Revision
}

// CatalogueEdit replaces the operator's extension of the catalogue.
type CatalogueEdit struct {
	Document     []byte
	Expected     *authz.Revision
	RequestID    string
	ValidateOnly bool
}

// GetInstance tells the settings in force.
func (e *Engine) GetInstance(context.Context) InstanceInfo {
	at := e.view.Mark().Revision
	in, rev := e.view.Instance()
	return InstanceInfo{Instance: *in, Changed: rev, Revision: at}
}

// UpdateInstance changes settings and gives them as they are then, or, to validate
// only, as they would be. Lists that hold more entries than a new limit keep what they
// have. On behalf of a user it needs an active instance administrator: KindForbidden
// (NOT_ADMIN).
func (e *Engine) UpdateInstance(ctx context.Context, by Actor, req InstanceEdit) (InstanceInfo, Done, error) {
	if err := req.check(); err != nil {
		return InstanceInfo{}, Done{}, err
	}
	var in *state.Instance
	done, changed, err := e.administer(ctx, "update_instance_settings", by, req.RequestID, req.ValidateOnly, req, func(r *reading, b *state.Batch) (string, error) {
		in = r.instance()
		if err := expect(req.Expected, r.guards[state.InstanceKey()], "the instance"); err != nil {
			return "", err
		}
		words := req.apply(in)
		if words != "" {
			b.Puts = append(b.Puts, in)
		}
		return words, nil
	})
	if err != nil {
		return InstanceInfo{}, Done{}, err
	}
	if done.Repeated {
		return e.GetInstance(ctx), done, nil
	}
	if changed == 0 {
		_, changed = e.view.Instance()
	}
	return InstanceInfo{Instance: *in, Changed: changed, Revision: done.Revision}, done, nil
}

func (req *InstanceEdit) check() error {
	if *req == (InstanceEdit{Expected: req.Expected, RequestID: req.RequestID, ValidateOnly: req.ValidateOnly}) {
		return authz.Invalid("public_scope", "set at least one setting")
	}
	var f faults
	if req.PublicScope != nil && *req.PublicScope > authz.ScopeStrict {
		f.addf("public_scope", "%s is none", *req.PublicScope)
	}
	for _, l := range []struct {
		field string
		n     *int
	}{{"max_project_entries", req.MaxProjectEntries}, {"max_group_entries", req.MaxGroupEntries}} {
		if l.n != nil && (*l.n < 0 || *l.n > MaxListEntries) {
			f.addf(l.field, "must be 0 to %d", MaxListEntries)
		}
	}
	return f.err()
}

// apply changes the settings and says in words which.
func (req *InstanceEdit) apply(in *state.Instance) string {
	var w differences
	was := *in
	if req.PublicScope != nil {
		in.PublicScope = *req.PublicScope
	}
	if req.EnforceInbound != nil {
		in.EnforceInbound = *req.EnforceInbound
	}
	if req.AnyoneCanPull != nil {
		in.AnyoneCanPull = *req.AnyoneCanPull
	}
	if req.MaxProjectEntries != nil {
		in.MaxProjectEntries = *req.MaxProjectEntries
	}
	if req.MaxGroupEntries != nil {
		in.MaxGroupEntries = *req.MaxGroupEntries
	}
	w.of("public_scope", was.PublicScope, in.PublicScope)
	w.of("enforce_inbound", was.EnforceInbound, in.EnforceInbound)
	w.of("anyone_can_pull", was.AnyoneCanPull, in.AnyoneCanPull)
	w.of("max_project_entries", was.MaxProjectEntries, in.MaxProjectEntries)
	w.of("max_group_entries", was.MaxGroupEntries, in.MaxGroupEntries)
	return w.String()
}

// administer carries out a change of the whole installation. change adds to the batch
// and says in words what it changes, nothing if that is nothing. changed is the revision
// of the change, zero if there was none.
func (e *Engine) administer(ctx context.Context, verb string, by Actor, requestID string, validateOnly bool, request any,
	change func(*reading, *state.Batch) (string, error)) (done Done, changed authz.Revision, err error) {
	op, err := newOnce(by, verb, requestID, request)
	if err != nil {
		return Done{}, 0, err
	}
	var words string
	done, err = e.commitOnce(ctx, verb, by, op, func(repeated bool) (b state.Batch, err error) {
		r := newReading(e.view)
		if err := r.admin(by); err != nil || repeated {
			return b, err
		}
		if words, err = change(&r, &b); err != nil || validateOnly {
			return state.Batch{}, err
		}
		if words != "" {
			b.Events = append(b.Events, e.event(verb, by, audit.Event{Count: 1, Detail: words}))
		}
		op.keep(&b, e.clock.Now(), state.ThisRevision)
		r.appendTo(&b)
		return b, nil
	})
	if err != nil || done.Repeated {
		return done, 0, err
	}
	if words != "" && !validateOnly {
		changed = done.Revision
	}
	return done, changed, nil
}

// admin asserts that the user acted for, if there is one, is an instance administrator.
// Whether the caller itself is one is the door's matter, which lets no other in.
func (r *reading) admin(by Actor) error {
	if by.User == 0 {
		if by.Admin {
			return nil
		}
		return authz.Errorf(authz.KindForbidden, CodeUserRequired,
			"name the administrator that this is done for; only callers of the admin role act as themselves")
	}
	u := r.user(by.User)
	if u == nil || u.State != authz.UserStateActive {
		return authz.Errorf(authz.KindForbidden, CodeUserNotActive,
			"user %d does not exist or is not active: nothing can be done on their behalf", by.User)
	}
	if !u.Admin {
		return authz.Errorf(authz.KindForbidden, CodeNotAdmin, "user %d is no instance administrator", by.User)
	}
	return nil
}

// GetCatalogue tells the permission catalogue in force.
func (e *Engine) GetCatalogue(context.Context) CatalogueInfo {
	out := CatalogueInfo{Revision: e.view.Mark().Revision, Effective: e.view.Catalogue()}
	if rec, rev, ok := e.view.CatalogueRecord(); ok {
		out.Document, out.Changed = rec.Document, rev
	}
	return out
}

// maxDocument is what fits a record.
const maxDocument = min(policy.MaxCatalogueBytes, state.MaxRecordBytes-64)

// UpdateCatalogue replaces the operator's extension of the catalogue, and gives it as
// it is then; an empty document removes it. A document that policy.Extend does not take
// is KindInvalid (CATALOGUE_INVALID). Entries and limits of jobs may name what is no
// longer there: that grants nothing.
func (e *Engine) UpdateCatalogue(ctx context.Context, by Actor, req CatalogueEdit) (CatalogueInfo, Done, error) {
	effective, err := policy.Extend(req.Document)
	if len(req.Document) > maxDocument {
		err = fmt.Errorf("the catalogue has %d bytes, the limit is %d", len(req.Document), maxDocument)
	}
	if err != nil {
		return CatalogueInfo{}, Done{}, &authz.Error{
			Kind: authz.KindInvalid, Code: CodeCatalogueInvalid, Message: err.Error(),
			Violations: []authz.Violation{{Field: "document", Message: err.Error()}},
		}
	}
	done, changed, err := e.administer(ctx, "update_catalogue", by, req.RequestID, req.ValidateOnly, req, func(r *reading, b *state.Batch) (string, error) {
		was, rev, ok := r.view.CatalogueRecord()
		r.saw(state.CatalogueKey(), rev)
		if err := expect(req.Expected, rev, "the catalogue"); err != nil {
			return "", err
		}
		switch {
		case !ok && len(req.Document) == 0, ok && bytes.Equal(was.Document, req.Document):
			return "", nil
		case len(req.Document) == 0:
			b.Deletes = append(b.Deletes, state.CatalogueKey())
			return "extension removed", nil
		}
		b.Puts = append(b.Puts, &state.Catalogue{Document: bytes.Clone(req.Document)})
		return fmt.Sprintf("extension of %d bytes, %d permissions in all", len(req.Document), len(effective.Permissions())), nil
	})
	if err != nil {
		return CatalogueInfo{}, Done{}, err
	}
	if done.Repeated {
		return e.GetCatalogue(ctx), done, nil
	}
	out := CatalogueInfo{Document: req.Document, Effective: effective, Changed: changed, Revision: done.Revision}
	if changed == 0 {
		_, out.Changed, _ = e.view.CatalogueRecord()
	}
	return out, done, nil
}
