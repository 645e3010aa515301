package gitlab

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/jobward/jobward/pdp/authz"
)

// params are the parameters of a request, from its query and its body alike: texts from a
// query or a form, []any of texts where the name ends in [], and what JSON holds.
type params map[string]any

// readParams reads them. A name that is there twice is refused, wherever: of two readers
// each could take another one.
func readParams(w http.ResponseWriter, r *http.Request) (params, error) {
	p := params{}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badParam("the query of the address cannot be read")
	}
	if err := p.form(query); err != nil {
		return nil, err
	}
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		return p, p.body(w, r)
	}
	return p, nil
}

func (p params) body(w http.ResponseWriter, r *http.Request) error {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return &failure{status: http.StatusRequestEntityTooLarge, key: keyError, text: "the body is larger than 64 KiB"}
	case err != nil:
		return &failure{status: http.StatusBadRequest, key: keyError, text: "the body could not be read to its end"}
	case len(bytes.TrimSpace(data)) == 0:
		return nil
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || len(r.Header.Values("Content-Type")) > 1 || r.Header.Get("Content-Encoding") != "" {
		kind = ""
	}
	switch kind {
	case "application/json":
		return p.json(data)
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(data))
		if err != nil {
			return badParam("the form in the body cannot be read")
		}
		return p.form(form)
	}
	return &failure{
		status: http.StatusUnsupportedMediaType, key: keyError,
		text: "send the body as application/json or application/x-www-form-urlencoded, not compressed",
	}
}

func (p params) form(values url.Values) error {
	for name, list := range values {
		if plain, ok := strings.CutSuffix(name, "[]"); ok {
			items := make([]any, len(list))
			for i, text := range list {
				items[i] = text
			}
			if err := p.put(plain, items); err != nil {
				return err
			}
			continue
		}
		if len(list) > 1 {
			return errTwice(name)
		}
		if err := p.put(name, list[0]); err != nil {
			return err
		}
	}
	return nil
}

// json reads an object by hand, because the library takes the last of two equal names.
func (p params) json(data []byte) error {
	bad := badParam("the body is not one JSON object")
	if !utf8.Valid(data) {
		return bad
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return bad
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return bad
		}
		var value any
		if err := dec.Decode(&value); err != nil {
			return bad
		}
		if err := p.put(name.(string), value); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return bad
	}
	if _, err := dec.Token(); err != io.EOF {
		return bad
	}
	return nil
}

func (p params) put(name string, value any) error {
	if _, ok := p[name]; ok {
		return errTwice(name)
	}
	p[name] = value
	return nil
}

func errTwice(name string) error { return badParam("%s is there twice", word(name)) }

// only refuses all parameters but these.
func (p params) only(names ...string) error {
	known := map[string]bool{}
	for _, name := range names {
		known[name] = true
	}
	for name := range p {
		if !known[name] {
			return badParam("%s is not taken here; these are: %s", word(name), strings.Join(names, ", "))
		}
	}
	return nil
}

// get gives a parameter that has to be there and to say something.
func (p params) get(name string) (any, error) {
	value, ok := p[name]
	if !ok {
		return nil, badParam("%s is missing", name)
	}
	if text, ok := value.(string); value == nil || ok && strings.TrimSpace(text) == "" {
		return nil, badParam("%s is empty", name)
	}
	return value, nil
}

// flag reads a boolean: one of JSON's, or a text, which is all that forms have.
func (p params) flag(name string) (bool, error) {
	value, err := p.get(name)
	if err != nil {
		return false, err
	}
	if on, ok := value.(bool); ok {
		return on, nil
	}
	text, _ := value.(string)
	switch strings.ToLower(text) {
	case "true", "t", "1", "on", "yes", "y":
		return true, nil
	case "false", "f", "0", "off", "no", "n":
		return false, nil
	}
	return false, badParam("%s is invalid", name)
}

// maybe reads a boolean that may be left out.
func (p params) maybe(name string) (*bool, error) {
	if _, ok := p[name]; !ok {
		return nil, nil
	}
	on, err := p.flag(name)
	return &on, err
}

// number reads an integer of 64 bits.
func (p params) number(name string) (int64, error) {
	value, err := p.get(name)
	if err != nil {
		return 0, err
	}
	text, ok := value.(string)
	if n, isNumber := value.(json.Number); isNumber {
		text, ok = n.String(), true
	}
	n, whole := readNumber(text)
	if !ok || !whole {
		return 0, badParam("%s is invalid", name)
	}
	return n, nil
}

// Names of the extension for fine-grained permissions.
const (
	paramDefault  = "default_permissions"
	paramPolicies = "job_token_policies"
)

// grant is what an entry is to grant. given says that the request speaks of it at all.
type grant struct {
	given    bool
	whole    bool
	policies []string
}

// grant reads the two parameters. Without both an entry has default permissions, as it has
// in GitLab; policies alone make it fine-grained.
func (p params) grant() (g grant, err error) {
	whole, err := p.maybe(paramDefault)
	if err != nil {
		return g, err
	}
	list, listed := p[paramPolicies]
	g.given = whole != nil || listed
	if listed {
		if g.policies, err = readPolicies(list); err != nil {
			return g, err
		}
	}
	switch {
	case whole == nil:
		g.whole = !listed
	case *whole && len(g.policies) > 0:
		return g, badParam("%s and %s: give policies, or default permissions, not both", paramDefault, paramPolicies)
	default:
		g.whole = *whole
	}
	return g, nil
}

// readPolicies reads a list, or a text with commas. GraphQL's capitals are taken, too.
func readPolicies(value any) (names []string, err error) {
	items, ok := value.([]any)
	if text, isText := value.(string); isText {
		ok = true
		for name := range strings.SplitSeq(text, ",") {
			items = append(items, name)
		}
		if strings.TrimSpace(text) == "" {
			items = nil
		}
	}
	if !ok {
		return nil, badParam("%s is invalid", paramPolicies)
	}
	for _, item := range items {
		name, ok := item.(string)
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, badParam("%s is invalid", paramPolicies)
		}
		if strings.ToUpper(name) == name {
			name = strings.ToLower(name)
		}
		names = append(names, name)
	}
	return names, nil
}

// ofGrant words what the engine has against a grant as a bad parameter.
func ofGrant(err error) error {
	e, ok := err.(*authz.Error)
	if !ok || e.Kind != authz.KindInvalid || len(e.Violations) == 0 || !strings.HasPrefix(e.Violations[0].Field, "entry.policies") {
		return err
	}
	why := e.Violations[0].Message
	if _, name, ok := strings.Cut(why, "there is no policy "); ok && word(strings.Trim(name, `"`)) != strings.Trim(name, `"`) {
		why = "there is no such policy"
	}
	return badParam("%s is invalid: %s", paramPolicies, why)
}
