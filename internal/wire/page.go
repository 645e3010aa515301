package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/jobward/jobward/pdp/authz"
)

// Sizes of pages and of their tokens.
const (
	// DefaultPageSize is what a call gets that does not say; MaxPageSize is what larger
	// wishes are cut to (AIP-158).
	DefaultPageSize = 100
	MaxPageSize     = 1000

	maxPageToken = 2048
	pageVersion  = 1
	queryLen     = 8
)

// Paged is a request of a list RPC.
type Paged interface {
	proto.Message
	GetPageSize() int32
	GetPageToken() string
}

// Page is the piece of a list that a request asks for.
type Page struct {
	// Size is how many items at most.
	Size int
	// Cursor is where to go on, as given to Next before; empty for the first page. It
	// came from outside, where it can be forged: it may choose what is left out, and
	// must be good for nothing else.
	Cursor string

	query [queryLen]byte
}

// ReadPage reads the page fields of a request. A page token is good only for the
// question that it was given for: the same request but for page_size and page_token.
// Anything else is KindInvalid about page_token.
func ReadPage(m Paged) (Page, error) {
	size := int(m.GetPageSize())
	switch {
	case size < 0:
		return Page{}, authz.Invalid("page_size", "must not be negative")
	case size == 0:
		size = DefaultPageSize
	}
	p := Page{Size: min(size, MaxPageSize), query: queryOf(m)}
	if m.GetPageToken() == "" {
		return p, nil
	}
	cursor, err := p.open(m.GetPageToken())
	p.Cursor = cursor
	return p, err
}

// Next makes the token of the page that goes on at cursor; of none when it is empty.
func (p Page) Next(cursor string) string {
	if cursor == "" {
		return ""
	}
	raw := make([]byte, 0, 1+queryLen+len(cursor))
	raw = append(raw, pageVersion)
	raw = append(raw, p.query[:]...)
	raw = append(raw, cursor...)
	return base64.RawURLEncoding.EncodeToString(raw)
}

func (p Page) open(text string) (cursor string, err error) {
	const again = "; start again without one"
	if len(text) > maxPageToken {
		return "", authz.Invalid("page_token", "is longer than any that this server gives"+again)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) <= 1+queryLen || base64.RawURLEncoding.EncodedLen(len(raw)) != len(text) {
		return "", authz.Invalid("page_token", "is not one that this server gave"+again)
	}
	if raw[0] != pageVersion {
		return "", authz.Invalid("page_token", "was given by another version of this server"+again)
	}
	if !bytes.Equal(raw[1:1+queryLen], p.query[:]) {
		return "", authz.Invalid("page_token", "was given for another question: only page_size may differ from call to call"+again)
	}
	return string(raw[1+queryLen:]), nil
}

// queryOf is a fingerprint of everything but the page fields. It has to be the same
// in two replicas of one version only, so the deterministic encoding will do.
func queryOf(m Paged) (q [queryLen]byte) {
	c := proto.Clone(m).ProtoReflect()
	fields := c.Descriptor().Fields()
	for _, name := range []protoreflect.Name{"page_size", "page_token"} {
		if f := fields.ByName(name); f != nil {
			c.Clear(f)
		}
	}
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(c.Interface())
	if err != nil { // text that is not UTF-8, which no request from outside can hold
		text = nil
	}
	h := sha256.New()
	h.Write([]byte(c.Descriptor().FullName()))
	h.Write([]byte{0})
	h.Write(text)
	copy(q[:], h.Sum(nil))
	return q
}
