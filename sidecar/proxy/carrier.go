package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Bounds of the search for a token in a body.
const (
	searched   = 64 << 10 // bytes
	searchTime = 10 * time.Second
)

var (
	errTooLarge = errors.New("no job token within the first 64 KiB of the body: put it into the header JOB-TOKEN, or, in multipart/form-data, into the first field")
	errSlow     = errors.New("the part of the body in which a job token is looked for came too slowly")
)

// fields is what was found in the beginning of a body.
type fields struct {
	form url.Values // the fields token and job_token; nil when there is neither
	rest []byte     // what was read, without those that hold a job token
	done bool       // nothing behind what was read has to be looked at
}

// put adds a field that was found.
func (f *fields) put(name, value string) {
	if f.form == nil {
		f.form = url.Values{}
	}
	f.form.Add(name, value)
}

// carries reports whether a field of this name is one that a job token may stand in.
func carries(name string) bool { return name == "token" || name == "job_token" }

// finder looks for fields in the beginning of a body, of which ours tells whether they are to be taken out. all tells that there is no more behind.
type finder func(data []byte, all bool, ours func(name, value string) bool) fields

// finderOf gives the one for a body's type; nil when its bodies hold no fields.
func finderOf(h http.Header) finder {
	if e := h.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil
	}
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	switch {
	case err != nil:
		return nil
	case kind == "application/x-www-form-urlencoded":
		return inForm
	case kind == "application/json" || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json"):
		return inJSON
	case kind == "multipart/form-data" && params["boundary"] != "":
		return func(data []byte, all bool, ours func(string, string) bool) fields {
			return inMultipart(data, "--"+params["boundary"], ours)
		}
	}
	return nil
}

// search finds the fields in the body of r, for at most so long, and makes its body one without them. Where there are none, or none to be taken out,
// the body stays what it was.
func search(w http.ResponseWriter, r *http.Request, within time.Duration, find finder, ours func(name, value string) bool) (url.Values, error) {
	ctl := http.NewResponseController(w)
	if ctl.SetReadDeadline(time.Now().Add(within)) == nil {
		defer ctl.SetReadDeadline(time.Time{})
	}
	body := r.Body
	delete(r.Header, "Expect") // the client has been told to go on
	buf := make([]byte, 0, 4<<10)
	var found fields
	for all := false; !all && !found.done; {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := body.Read(buf[len(buf):min(cap(buf), searched+1)])
		if buf = buf[:len(buf)+n]; len(buf) > searched {
			return nil, errTooLarge
		}
		if err != nil && err != io.EOF {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = errSlow
			}
			return nil, err
		}
		if all = err == io.EOF; n > 0 || all {
			found = find(buf, all, ours)
		}
	}
	if r.ContentLength >= 0 {
		r.ContentLength -= int64(len(buf) - len(found.rest))
	}
	r.Header.Del("Content-Length") // what is said of the length is in the field above
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(found.rest), body), body}
	return found.form, nil
}

// inForm looks at name=value&name=value.
func inForm(data []byte, all bool, ours func(name, value string) bool) (f fields) {
	if !all {
		return f
	}
	f = fields{rest: data, done: true}
	var kept []string
	for piece := range strings.SplitSeq(string(data), "&") {
		name, value, _ := strings.Cut(piece, "=")
		name, err1 := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		if err1 == nil && err2 == nil && carries(name) {
			f.put(name, value)
			if ours(name, value) {
				continue
			}
		}
		kept = append(kept, piece)
	}
	if f.form != nil {
		f.rest = []byte(strings.Join(kept, "&"))
	}
	return f
}

// inJSON looks at the members of the outermost object. What is no JSON has none.
func inJSON(data []byte, all bool, ours func(name, value string) bool) (f fields) {
	if !all {
		return f
	}
	nothing := fields{rest: data, done: true}
	f = nothing
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nothing
	}
	begin := dec.InputOffset()
	last := begin
	var kept [][]byte
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nothing
		}
		var value json.RawMessage
		if dec.Decode(&value) != nil {
			return nothing
		}
		member := data[last:dec.InputOffset()]
		last = dec.InputOffset()
		name, text := key.(string), ""
		if carries(name) && json.Unmarshal(value, &text) == nil {
			f.put(name, text)
			if ours(name, text) {
				continue
			}
		}
		if trimmed := bytes.TrimLeft(member, " \t\r\n"); bytes.HasPrefix(trimmed, []byte(",")) {
			member = trimmed[1:]
		}
		kept = append(kept, member)
	}
	if _, err := dec.Token(); err != nil {
		return nothing
	}
	if f.form != nil {
		f.rest = append(append(bytes.Clone(data[:begin]), bytes.Join(kept, []byte(","))...), data[last:]...)
	}
	return f
}
