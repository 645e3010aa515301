package server

import (
	"github.com/jobward/jobward/pdp/authz"
)

// Codes of the errors that are made at the door (AIP-193 reasons). Those of the verbs
// are the engine's.
const (
	// CodeNoCredentials: KindUnauthenticated; the call came with neither a certificate
	// nor a key.
	CodeNoCredentials = "NO_CREDENTIALS"
	// CodeBadCredentials: KindUnauthenticated; it came with some that are not good.
	CodeBadCredentials = "BAD_CREDENTIALS"
	// CodeRoleForbidden: KindForbidden; none of the caller's roles may call this.
	CodeRoleForbidden = "ROLE_FORBIDDEN"
	// CodeMethodUnknown: UNIMPLEMENTED; this PDP has no such method.
	CodeMethodUnknown = "METHOD_UNKNOWN"
	// CodeMalformedMessage: KindInvalid; the bytes are not the message that the method takes.
	CodeMalformedMessage = "MALFORMED_MESSAGE"
	// CodeMessageTooLarge: KindExhausted; the message has more bytes than the PDP takes.
	CodeMessageTooLarge = "MESSAGE_TOO_LARGE"
	// CodeTooManyUnknown: KindExhausted; the caller showed so many unknown tokens that the
	// PDP does not say "unknown" any more for a moment. It means "could not decide".
	CodeTooManyUnknown = "TOO_MANY_UNKNOWN_TOKENS"
	// CodeDraining: KindUnavailable; the PDP is stopping. Connect again.
	CodeDraining = "DRAINING"
	// CodePanic: KindInternal; a fault of ours, logged with its place.
	CodePanic = "PANIC"
)

func errMalformed(cause error) error {
	return &authz.Error{
		Kind: authz.KindInvalid, Code: CodeMalformedMessage,
		Message:    "the message is not one that this method takes: it cannot be decoded",
		Violations: []authz.Violation{{Field: "(message)", Message: "cannot be decoded"}},
		Cause:      cause,
	}
}

func errTooLarge(size, limit int) error {
	return authz.Errorf(authz.KindExhausted, CodeMessageTooLarge,
		"the message has %d bytes and the limit is %d: send less at a time", size, limit)
}

func errDraining() error {
	return authz.Errorf(authz.KindUnavailable, CodeDraining, "this policy decision point is stopping: connect again")
}

func errPanic() error {
	return authz.Errorf(authz.KindInternal, CodePanic, "something went wrong in the server; its log has the details")
}
