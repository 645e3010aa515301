package extauthz

import (
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"strings"

	"github.com/jobward/jobward/internal/token"
)

// maxSearched is how many bytes of a body are searched for a token. What is beyond counts as cut off.
const maxSearched = 64 << 10

// form finds the parameters token and job_token in the body, with all their values; no others are looked for, since no route asks for them. It is nil
// where there is no body to be read, or the body is cut and shows none of them whole.
func (in *inbox) form() url.Values {
	body := in.rawBody
	if body == "" {
		body = in.body
	}
	if body == "" {
		return nil
	}
	declared, n := in.headers.first("Content-Type")
	if _, coded := in.headers.first("Content-Encoding"); n != 1 || coded > 0 {
		return nil
	}
	kind, params, err := mime.ParseMediaType(declared)
	if err != nil {
		return nil
	}
	cut := false
	for _, v := range in.headers.Values("X-Envoy-Auth-Partial-Body") {
		cut = cut || v != "false"
	}
	if len(body) > maxSearched {
		body, cut = body[:maxSearched], true
	}
	found := url.Values{}
	switch {
	case kind == "application/x-www-form-urlencoded":
		readForm(body, cut, found)
	case kind == "multipart/form-data":
		readParts(body, params["boundary"], found)
	case kind == "application/json" || strings.HasSuffix(kind, "+json"):
		readJSON(body, found)
	default:
		return nil
	}
	if cut && len(found) == 0 {
		return nil
	}
	return found
}

// isToken reports whether a parameter may hold a token.
func isToken(name string) bool { return name == "token" || name == "job_token" }

// readForm reads an urlencoded form. In one that is cut the last pair may not be whole.
func readForm(body string, cut bool, found url.Values) {
	for body != "" {
		pair, rest, more := strings.Cut(body, "&")
		if cut && !more {
			return
		}
		body = rest
		name, value, _ := strings.Cut(pair, "=")
		if len(name) > 3*len("job_token") {
			continue
		}
		if name = unescape(name); isToken(name) {
			found.Add(name, unescape(value))
		}
	}
}

// unescape decodes a part of a form. What cannot be decoded stays as it is, which is no token.
func unescape(part string) string {
	if text, err := url.QueryUnescape(part); err == nil {
		return text
	}
	return part
}

// readParts reads a multipart form. A part that is cut ends in an error, and is not taken; a part with the name of a file is a file to services.
func readParts(body, boundary string, found url.Values) {
	if boundary == "" {
		return
	}
	for parts := multipart.NewReader(strings.NewReader(body), boundary); ; {
		part, err := parts.NextRawPart()
		if err != nil {
			return
		}
		name := part.FormName()
		if !isToken(name) || part.FileName() != "" {
			continue
		}
		value, err := io.ReadAll(io.LimitReader(part, token.MaxLen+1)) // what is longer is still too long
		if err != nil {
			return
		}
		found.Add(name, string(value))
	}
}

// readJSON reads the members of the outermost object. A value that is no string is no token, and a token that is there and not usable is not the same
// as none (SEMANTICS §4.4): it is taken as it stands there. Null is none.
func readJSON(body string, found url.Values) {
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return
		}
		value, err := d.Token()
		if err != nil {
			return
		}
		_, nested := value.(json.Delim)
		if nested && skip(d) != nil {
			return
		}
		if name, _ := name.(string); isToken(name) && value != nil {
			text, ok := value.(string)
			if !ok {
				text = "not a string"
			}
			found.Add(name, text)
		}
	}
}

// skip passes over the rest of an object or array.
func skip(d *json.Decoder) error {
	for depth := 1; depth > 0; {
		t, err := d.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
	return nil
}
