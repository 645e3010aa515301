package token

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// Secret is the text of a token in memory. However it is printed, logged or marshalled, alone or inside something else, only the
// prefix shows; [Secret.Reveal] is the one way to the text. The zero Secret has no text.
//
// The text sits behind a function because methods are no protection where a Secret is an unexported field: fmt then walks the
// fields by reflection and calls no method. Reflection cannot see into a function. It also makes two Secrets incomparable, so that
// nobody keys a map by one: compare and key by digest.
type Secret struct {
	prefix string // not secret
	reveal func() string
}

func newSecret(prefix, text string) Secret {
	return Secret{prefix: prefix, reveal: func() string { return text }}
}

// Reveal returns the text. Hand it to the caller of Issue, or to the request that presents it, and to nothing else (P7).
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// Digest returns the SHA-256 of the text, the only form in which a token is stored or compared.
func (s Secret) Digest() [sha256.Size]byte {
	return sha256.Sum256([]byte(s.Reveal()))
}

// IsZero reports whether s has no text.
func (s Secret) IsZero() bool { return s.reveal == nil }

// String returns the prefix and a placeholder.
func (s Secret) String() string { return s.prefix + "[REDACTED]" }

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// Format is String for every verb and flag.
func (s Secret) Format(st fmt.State, _ rune) { io.WriteString(st, s.String()) }

// LogValue is String, for log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String. There is no way back: a marshalled Secret is lost, not leaked.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON is String as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }
