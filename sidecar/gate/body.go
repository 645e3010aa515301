package gate

import (
	"encoding/json"
	"mime"
	"net/url"
	"slices"
	"strings"
)

// MaxSearched is how many bytes of a body doors search for a token. What is beyond counts as not seen.
const MaxSearched = 64 << 10

// Field is a field of a body that a job token may stand in: token or job_token. Whether it counts is the route's matter.
type Field struct {
	Name, Value string

	from, to int // where it stands
}

// Body finds the fields in bodies of one type, which may be there in part only.
type Body struct {
	// Streams tells that a field can be taken out of what has come so far; else the whole body must be there for it.
	Streams   bool
	find      func(data string, whole bool) (found []Field, end bool)
	separator byte // between two fields; 0 for none
}

// BodyOf gives what reads the body that headers describe; nil for types that have no such fields, and for what is compressed.
//
//	application/x-www-form-urlencoded
//	application/json and …+json           the members of the outermost object
//	multipart/form-data                   the parts, but not files
//
// Where headers name one of these in a way that programs read differently, a token could stand in the body that only the service sees: then there is one
// that nobody can read, which opens nothing.
func BodyOf(h Headers) *Body {
	coded := func(e string) bool { return e != "" && !strings.EqualFold(e, "identity") }
	if slices.ContainsFunc(h.Values("Content-Encoding"), coded) {
		return nil
	}
	declared := h.Values("Content-Type")
	if len(declared) == 1 {
		if kind, params, err := mime.ParseMediaType(declared[0]); err == nil {
			return bodies(kind, params["boundary"])
		}
	}
	for _, d := range declared {
		for kind := range strings.SplitSeq(d, ",") { // as a proxy joins two
			kind, _, _ = strings.Cut(kind, ";")
			if bodies(strings.ToLower(strings.TrimSpace(kind)), "any") != nil {
				return unreadable
			}
		}
	}
	return nil
}

// unreadable is a body of which nobody can tell what a service finds in it.
var unreadable = &Body{find: func(string, bool) ([]Field, bool) { return []Field{{Name: "token", Value: "unreadable"}}, true }}

// bodies gives what reads bodies of a type.
func bodies(kind, boundary string) *Body {
	switch {
	case kind == "application/x-www-form-urlencoded":
		return &Body{find: inPairs, separator: '&'}
	case kind == "application/json" || strings.HasSuffix(kind, "+json"):
		return &Body{find: inJSON, separator: ','}
	case kind == "multipart/form-data" && boundary != "":
		return &Body{Streams: true, find: func(data string, whole bool) ([]Field, bool) {
			found, end := inMultipart(data, "--"+boundary)
			return found, end || whole
		}}
	}
	return nil
}

// Find gives the fields that stand as a whole in the beginning of a body, in their order. whole tells that it is all of the body, end that nothing
// behind it can be a field.
func (b *Body) Find(data string, whole bool) (found []Field, end bool) { return b.find(data, whole) }

// Without gives a whole body, or a part of one that streams, without the fields in gone, which were found in it. All else stays as it is, but for what
// separates fields. ok is false for what is no JSON: there, what is left could be read as something else than what was there.
func (b *Body) Without(data string, gone []Field) (left []byte, ok bool) {
	if b.separator == ',' && !json.Valid([]byte(data)) {
		return nil, false
	}
	out := make([]byte, 0, len(data))
	at := 0
	for _, f := range gone {
		out = append(out, data[at:f.from]...)
		at = f.to
		if b.separator == 0 {
			continue
		}
		if rest := strings.TrimLeft(data[at:], blanks); rest != "" && rest[0] == b.separator {
			at = len(data) - len(rest) + 1
		} else if before := strings.TrimRight(string(out), blanks); before != "" && before[len(before)-1] == b.separator {
			out = out[:len(before)-1] // it was the last one
		}
	}
	return append(out, data[at:]...), true
}

// blanks may stand around a comma in JSON. A form has none.
const blanks = " \t\r\n"

// Form gives fields as a [Request] has them; nil when there are none.
func Form(fields []Field) url.Values {
	if len(fields) == 0 {
		return nil
	}
	form := url.Values{}
	for _, f := range fields {
		form.Add(f.Name, f.Value)
	}
	return form
}

func carries(name string) bool { return name == "token" || name == "job_token" }

// inPairs looks at name=value&name=value. In a part of it the last pair may not be whole.
func inPairs(data string, whole bool) (found []Field, end bool) {
	for from := 0; from <= len(data); {
		pair, _, more := strings.Cut(data[from:], "&")
		if !more && !whole {
			break
		}
		name, value, _ := strings.Cut(pair, "=")
		if name = unescape(name); carries(name) {
			found = append(found, Field{name, unescape(value), from, from + len(pair)})
		}
		from += len(pair) + 1
	}
	return found, whole
}

// inJSON looks at the members of the outermost object. A value that is no string is no token, and a token that is there and not usable is not the
// same as none (SEMANTICS §4.4). Null is none.
func inJSON(data string, whole bool) (found []Field, end bool) {
	d := json.NewDecoder(strings.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, whole
	}
	for d.More() {
		from := int(d.InputOffset())
		name, err := d.Token()
		if err != nil {
			break
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			break
		}
		if name, _ := name.(string); carries(name) && string(value) != "null" {
			text := ""
			if json.Unmarshal(value, &text) != nil {
				text = "not a string"
			}
			from += strings.IndexByte(data[from:], '"') // behind a comma and blanks
			found = append(found, Field{name, text, from, int(d.InputOffset())})
		}
	}
	return found, whole
}
