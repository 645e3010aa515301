package hot

import (
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

func errMalformed(cause error) error {
	return &authz.Error{
		Kind: authz.KindInvalid, Code: wire.CodeMalformedMessage,
		Message:    "the message is not one that this method takes: it cannot be decoded",
		Violations: []authz.Violation{{Field: "(message)", Message: "cannot be decoded"}},
		Cause:      cause,
	}
}

func errTooLarge(size, limit int) error {
	return authz.Errorf(authz.KindExhausted, wire.CodeMessageTooLarge,
		"the message has %d bytes and the limit is %d: send less at a time", size, limit)
}

func errTooManyParts() error {
	return authz.Errorf(authz.KindExhausted, wire.CodeMessageTooLarge,
		"the message has more than %d parts: send less at a time", maxParts)
}
