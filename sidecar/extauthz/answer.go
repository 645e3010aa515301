package extauthz

import (
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/pep"
)

// answer is a CheckResponse, already encoded. It comes back to its pool when it has been sent.
type answer struct {
	b    []byte
	pool *sync.Pool
}

// maxKept is how much memory an answer may leave behind for another.
const maxKept = 16 << 10

// Encoded implements hot.Outbound.
func (a *answer) Encoded() []byte { return a.b }

// Sent implements hot.Outbound.
func (a *answer) Sent() {
	if cap(a.b) <= maxKept {
		a.b = a.b[:0]
		a.pool.Put(a)
	}
}

// Numbers of the fields that answers are written with. The tests read every answer with the generated code.
const (
	respStatus, respDenied, respOK, respMetadata protowire.Number = 1, 2, 3, 4 // CheckResponse
	statusCode                                   protowire.Number = 1          // Status
	okHeaders, okRemove, okRemoveQuery           protowire.Number = 2, 5, 8    // OkHttpResponse
	deniedStatus, deniedHeaders, deniedBody      protowire.Number = 1, 2, 3    // DeniedHttpResponse
	optHeader, optAppend, optAction              protowire.Number = 1, 2, 3    // HeaderValueOption
	headerKey, headerValue                       protowire.Number = 1, 2       // HeaderValue
)

// overwrite is HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD. Envoys before append_action look at append, later ones at either; both are written.
const overwrite = 2

// The codes of CheckResponse.status, google.rpc.Code. Zero is OK.
const (
	codeDenied          = 7
	codeUnavailable     = 14
	codeUnauthenticated = 16
)

// allow makes the answer to a request that is let through with the query of v. It reports false where Envoy cannot make that query of the one that
// came.
func (a *answer) allow(v *gate.Verdict, in *inbox, query string) bool {
	b, _ := begin(a.b[:0], respStatus) // an empty Status is OK, and says so better than none
	b, start := begin(b, respOK)
	if v.Identity != (pep.Identity{}) {
		b = appendHeader(b, okHeaders, jobHeader, string(v.Identity.Job))
		b = appendNumberHeader(b, projectHeader, int64(v.Identity.Source))
		b = appendNumberHeader(b, userHeader, int64(v.Identity.User))
	} else {
		// Removed rather than set to nothing: Envoy removes after it has set.
		b = appendText(b, okRemove, jobHeader)
		b = appendText(b, okRemove, projectHeader)
		b = appendText(b, okRemove, userHeader)
	}
	b = appendText(b, okRemove, tokenHeader)
	if v.DropAuthorization {
		b = appendText(b, okRemove, "authorization")
	}
	in.headers.remove(func(name string) { b = appendText(b, okRemove, name) })
	if !dropped(query, v.Query, func(name string) { b = appendText(b, okRemoveQuery, name) }) {
		return false
	}
	a.b = appendMetadata(end(b, start), v)
	return true
}

// deny makes the answer to a request that is refused.
func (a *answer) deny(v *gate.Verdict) {
	code := uint64(codeDenied)
	switch v.Status {
	case 401:
		code = codeUnauthenticated
	case 503:
		code = codeUnavailable
	}
	b, start := begin(a.b[:0], respStatus)
	b = end(appendNumber(b, statusCode, code), start)
	b, start = begin(b, respDenied)
	b, inner := begin(b, deniedStatus)
	b = end(appendNumber(b, statusCode, uint64(v.Status)), inner)
	for _, h := range v.Header {
		b = appendHeader(b, deniedHeaders, strings.ToLower(h[0]), h[1])
	}
	if v.ContentType != "" {
		b = appendHeader(b, deniedHeaders, "content-type", v.ContentType)
	}
	if v.Body != "" {
		b = appendText(b, deniedBody, v.Body)
	}
	a.b = appendMetadata(end(b, start), v)
}

// appendMetadata appends what is known of v as dynamic metadata.
func appendMetadata(b []byte, v *gate.Verdict) []byte {
	b, start := begin(b, respMetadata)
	if v.Identity != (pep.Identity{}) {
		b = appendField(b, "job", string(v.Identity.Job))
		b = appendNumberField(b, "project", int64(v.Identity.Source))
		b = appendNumberField(b, "user", int64(v.Identity.User))
	}
	target := v.Identity.Target
	if target == 0 {
		target = v.Question.Target.ID
	}
	if target != 0 {
		b = appendNumberField(b, "target", int64(target))
	}
	if v.Reason != authz.ReasonNone {
		b = appendField(b, "reason", v.Reason.String())
	}
	if v.Question.Permission != "" {
		b = appendField(b, "permission", string(v.Question.Permission))
	}
	if v.Revision != 0 {
		b = appendNumberField(b, "revision", int64(v.Revision))
	}
	if len(b) == start {
		return b[:start-2] // nothing is known, and nothing said
	}
	return end(b, start)
}

// appendField appends an entry of a Struct with a string in it.
func appendField(b []byte, key, value string) []byte {
	b, entry, inner := beginField(b, key)
	return end(end(appendText(b, 3, value), inner), entry)
}

func appendNumberField(b []byte, key string, n int64) []byte {
	b, entry, inner := beginField(b, key)
	return end(end(appendDecimal(b, 3, n), inner), entry)
}

func beginField(b []byte, key string) (_ []byte, entry, inner int) {
	b, entry = begin(b, 1) // fields
	b = appendText(b, 1, key)
	b, inner = begin(b, 2) // Value
	return b, entry, inner
}

// appendHeader appends a HeaderValueOption that overwrites.
func appendHeader(b []byte, num protowire.Number, key, value string) []byte {
	b, option := begin(b, num)
	b, inner := begin(b, optHeader)
	b = appendText(b, headerKey, key)
	b = appendText(b, headerValue, value)
	return endHeader(end(b, inner), option)
}

func appendNumberHeader(b []byte, key string, n int64) []byte {
	b, option := begin(b, okHeaders)
	b, inner := begin(b, optHeader)
	b = appendText(b, headerKey, key)
	b = appendDecimal(b, headerValue, n)
	return endHeader(end(b, inner), option)
}

func endHeader(b []byte, option int) []byte {
	b, _ = begin(b, optAppend) // false
	return end(appendNumber(b, optAction, overwrite), option)
}

func appendNumber(b []byte, num protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(append(b, byte(num<<3)), n)
}

func appendText(b []byte, num protowire.Number, text string) []byte {
	return protowire.AppendString(append(b, byte(num<<3|2)), text)
}

// appendDecimal appends a number as text.
func appendDecimal(b []byte, num protowire.Number, n int64) []byte {
	b, start := begin(b, num)
	return end(strconv.AppendInt(b, n, 10), start)
}

// begin starts a message or a text within a message and leaves one byte for its length, which is right as it is for an empty one; end fills that
// in, and moves what follows when one byte is not enough. All numbers here are small.
func begin(b []byte, num protowire.Number) (_ []byte, start int) {
	b = append(b, byte(num<<3|2), 0)
	return b, len(b)
}

func end(b []byte, start int) []byte {
	n := len(b) - start
	if more := protowire.SizeVarint(uint64(n)) - 1; more > 0 {
		b = append(b, make([]byte, more)...)
		copy(b[start+more:], b[start:start+n])
	}
	protowire.AppendVarint(b[:start-1], uint64(n))
	return b
}
