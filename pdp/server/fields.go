package server

import (
	"errors"

	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
)

// enginePage and ofPage stand around every list.
func enginePage(p wire.Page) engine.Page { return engine.Page{After: p.Cursor, Limit: p.Size} }

// ofPage names the field where the cursor in a page token was no good, to the engine
// or to the store, who both know nothing of page tokens.
func ofPage(err error) error {
	var e *authz.Error
	if !errors.As(err, &e) || e.Code != engine.CodeCursorInvalid && (len(e.Violations) != 1 || e.Violations[0].Field != "cursor") {
		return err
	}
	return authz.Invalid("page_token", "is not one that this list gave; start again without one")
}

// about names the field that a KindInvalid is about, if it does not name any.
func about(field string, err error) error {
	var e *authz.Error
	if !errors.As(err, &e) || e.Kind != authz.KindInvalid || len(e.Violations) > 0 {
		return err
	}
	named := *e
	named.Violations = []authz.Violation{{Field: field, Message: e.Message}}
	return &named
}

// below puts the violations of err below a field.
func below(field string, err error) error {
	var e *authz.Error
	if !errors.As(err, &e) || len(e.Violations) == 0 {
		return err
	}
	moved := *e
	moved.Violations = make([]authz.Violation, len(e.Violations))
	for i, v := range e.Violations {
		moved.Violations[i] = authz.Violation{Field: field + "." + v.Field, Message: v.Message}
	}
	moved.Message = field + "." + e.Message // which begins with the field, see authz.Invalid
	return &moved
}
