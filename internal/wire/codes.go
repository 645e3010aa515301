package wire

// Codes of the errors that programs make at their doors (AIP-193 reasons). Those of the
// verbs are the engine's.
const (
	// CodeNoCredentials: KindUnauthenticated; the call came with neither a certificate
	// nor a key.
	CodeNoCredentials = "NO_CREDENTIALS"
	// CodeBadCredentials: KindUnauthenticated; it came with some that are not good.
	CodeBadCredentials = "BAD_CREDENTIALS"
	// CodeRoleForbidden: KindForbidden; none of the caller's roles may call this.
	CodeRoleForbidden = "ROLE_FORBIDDEN"
	// CodeMethodUnknown: UNIMPLEMENTED; this program has no such method.
	CodeMethodUnknown = "METHOD_UNKNOWN"
	// CodeMalformedMessage: KindInvalid; the bytes are not the message that the method takes.
	CodeMalformedMessage = "MALFORMED_MESSAGE"
	// CodeMessageTooLarge: KindExhausted; the message has more bytes than are taken.
	CodeMessageTooLarge = "MESSAGE_TOO_LARGE"
	// CodeTooManyUnknown: KindExhausted; the caller showed so many unknown tokens that
	// "unknown" is not said any more for a moment. It means "could not decide".
	CodeTooManyUnknown = "TOO_MANY_UNKNOWN_TOKENS"
	// CodeDraining: KindUnavailable; the program is stopping. Connect again.
	CodeDraining = "DRAINING"
	// CodePanic: KindInternal; a fault of ours, logged with its place.
	CodePanic = "PANIC"
)
