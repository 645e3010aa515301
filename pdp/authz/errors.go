package authz

import (
	"errors"
	"fmt"
	"time"
)

// Kind is the class of an error: what the caller can do about it. Kinds cross the
// wire (package wire holds the one table), so they are only ever appended.
type Kind uint8

// The kinds of error.
const (
	// KindInternal is a fault of ours; asking again may not help.
	KindInternal Kind = iota
	// KindInvalid is bad input: Violations say which field and why.
	KindInvalid
	// KindUnauthenticated means that the caller of the API is not known.
	KindUnauthenticated
	// KindForbidden means that the caller, or the user it acts for, may not do this.
	KindForbidden
	// KindNotFound means that a thing named in the call does not exist, or may not be
	// seen by the user acted for.
	KindNotFound
	// KindExists means that a thing to be created is there already.
	KindExists
	// KindPrecondition means that the state of the system forbids the call until
	// something else has changed.
	KindPrecondition
	// KindConflict means that another change came between; read again and retry.
	KindConflict
	// KindExhausted means that a limit is reached or the server is overloaded.
	KindExhausted
	// KindUnavailable means that the server can't answer now; try again.
	KindUnavailable
	// KindCanceled means that the caller gave up or its deadline passed. A write may
	// have happened all the same.
	KindCanceled
)

// Violation is one bad field of a request.
type Violation struct {
	// Field is the path of the field as the API spells it, "entries[2].project_id".
	Field string
	// Message says what is wrong and what would be right.
	Message string
}

// Error is every error that crosses a package border of ours on purpose. Exactly
// one of them reaches a caller for a call that failed.
type Error struct {
	Kind Kind
	// Code is the stable machine-readable reason, UPPER_SNAKE_CASE, at most 63
	// characters, documented in the API's errors page (AIP-193).
	Code string
	// Message says what was wrong and what to do, in one or two sentences. It holds
	// nothing secret.
	Message string
	// Violations name the bad fields of a KindInvalid.
	Violations []Violation
	// RetryAfter advises how long to wait before asking again; zero says nothing.
	RetryAfter time.Duration
	// Cause is the underlying error, for logs; it does not cross the wire.
	Cause error
}

// Error gives the message, and the cause where there is one.
func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Errorf makes an Error with a message and no cause.
func Errorf(kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Invalid makes a KindInvalid error about one field.
func Invalid(field, format string, args ...any) *Error {
	msg := fmt.Sprintf(format, args...)
	return &Error{
		Kind: KindInvalid, Code: "INVALID_FIELD", Message: field + ": " + msg,
		Violations: []Violation{{Field: field, Message: msg}},
	}
}

// KindOf tells the kind of err: that of the Error in its chain, else KindInternal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindInternal
}
