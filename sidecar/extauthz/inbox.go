package extauthz

import (
	"errors"
	"unicode/utf8"

	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

// maxHeaders bounds the headers of one request. Envoy's own bound is 100 unless it is told otherwise.
const maxHeaders = 1000

// inbox is a CheckRequest, read by hand: of each message the fields that count, in any order, the last of a singular one, as package proto
// reads them. The zero value is an empty one. It belongs to one goroutine.
type inbox struct {
	err     error // what was wrong with the message as a whole
	http    bool  // there were HTTP attributes
	method  string
	path    string
	headers headers
	body    string
	rawBody string
	many    bool // there were more headers than maxHeaders; what is beyond is not kept
}

// Decode implements hot.Inbound. All strings share one copy of data.
func (in *inbox) Decode(data []byte) error {
	return eachField(string(data), func(num uint64, text string) error { // CheckRequest
		if num != 1 {
			return nil
		}
		return eachField(text, func(num uint64, text string) error { // AttributeContext
			if num != 4 {
				return nil
			}
			return eachField(text, func(num uint64, text string) error { // Request
				if num != 2 {
					return nil
				}
				in.http = true
				return eachField(text, in.takeHTTP)
			})
		})
	})
}

// Fail implements hot.Inbound.
func (in *inbox) Fail(err error) { in.err = err }

// reset makes room for another message, and keeps nothing of the last one.
func (in *inbox) reset() {
	h := in.headers
	clear(h.list)
	clear(h.values)
	*in = inbox{headers: headers{list: h.list[:0], values: h.values[:0]}}
}

// takeHTTP takes one field of an HttpRequest.
func (in *inbox) takeHTTP(num uint64, text string) (err error) {
	switch num {
	case 2:
		in.method, err = utf8Only(text)
	case 3:
		return in.takeHeader(text, 2, true)
	case 4:
		in.path, err = utf8Only(text)
	case 11:
		in.body = text // Envoy puts bytes of any kind into it, so it is taken as they are
	case 12:
		in.rawBody = text
	case 13:
		return eachField(text, func(num uint64, text string) error { // HeaderMap
			if num != 1 {
				return nil
			}
			return in.takeHeader(text, 3, false)
		})
	}
	return err
}

// takeHeader takes an entry of the map, or a HeaderValue of the list: a key, a value, and in the list a raw_value, which goes before it.
func (in *inbox) takeHeader(text string, last uint64, mapped bool) error {
	if len(in.headers.list) == maxHeaders {
		in.many = true
		return nil
	}
	var key, value, raw string
	err := eachField(text, func(num uint64, text string) (err error) {
		switch {
		case num == 1:
			key, err = utf8Only(text)
		case num == 2:
			value, err = utf8Only(text)
		case num == 3 && last == 3:
			raw = text
		}
		return err
	})
	if raw != "" {
		value = raw
	}
	in.headers.add(key, value, mapped)
	return err
}

// eachField calls take for every field of a message that has bytes; others are passed over. It is package hot's, for strings.
func eachField(b string, take func(num uint64, text string) error) error {
	for b != "" {
		tag, n := varint(b)
		if n == 0 || tag>>3 == 0 || tag>>3 > 1<<29-1 {
			return errMalformed
		}
		b = b[n:]
		var size uint64
		switch tag & 7 {
		case 0:
			if _, n = varint(b); n == 0 {
				return errMalformed
			}
			b = b[n:]
			continue
		case 1:
			size, n = 8, 0
		case 5:
			size, n = 4, 0
		case 2:
			if size, n = varint(b); n == 0 {
				return errMalformed
			}
		default: // groups, which no version of these messages has
			return errMalformed
		}
		b = b[n:]
		if size > uint64(len(b)) {
			return errMalformed
		}
		text := b[:size]
		b = b[size:]
		if tag&7 != 2 {
			continue
		}
		if err := take(tag>>3, text); err != nil {
			return err
		}
	}
	return nil
}

// varint reads a number and how many bytes it takes, none when it is no good.
func varint(b string) (v uint64, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	for i := 0; i < len(b) && i < 10; i++ {
		c := b[i]
		if i == 9 && c > 1 {
			return 0, 0
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}

func utf8Only(text string) (string, error) {
	if !utf8.ValidString(text) {
		return "", errMalformed
	}
	return text, nil
}

var errMalformed error = &authz.Error{
	Kind: authz.KindInvalid, Code: wire.CodeMalformedMessage, Message: "the message is no CheckRequest: it cannot be decoded",
	Cause: errors.New("extauthz: malformed"),
}
