package proxy

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/jobward/jobward/sidecar/gate"
)

// searchTime is what a client has to send the part of a body that is searched.
const searchTime = 10 * time.Second

var (
	errTooLarge = errors.New("no job token within the first 64 KiB of the body: put it into the header JOB-TOKEN, or, in multipart/form-data, into the first field")
	errSlow     = errors.New("the part of the body in which a job token is looked for came too slowly")
	errUnclear  = errors.New("the body is no JSON, and a job token stands in it")
)

// search finds the fields of kind in the body of r, for at most so long, and makes its body one without those that are ours. Of a body that streams the
// first field is the only one. Where there are none, or none of ours, the body stays what it was.
func search(w http.ResponseWriter, r *http.Request, within time.Duration, kind *gate.Body, ours func(gate.Field) bool) (url.Values, error) {
	ctl := http.NewResponseController(w)
	if ctl.SetReadDeadline(time.Now().Add(within)) == nil {
		defer ctl.SetReadDeadline(time.Time{})
	}
	body := r.Body
	delete(r.Header, "Expect") // the client has been told to go on
	buf := make([]byte, 0, 4<<10)
	var found []gate.Field
	for all, done := false, false; !done; {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := body.Read(buf[len(buf):min(cap(buf), gate.MaxSearched+1)])
		if buf = buf[:len(buf)+n]; len(buf) > gate.MaxSearched {
			return nil, errTooLarge
		}
		if err != nil && err != io.EOF {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = errSlow
			}
			return nil, err
		}
		if all = err == io.EOF; all || n > 0 && kind.Streams {
			found, done = kind.Find(string(buf), all)
			if kind.Streams && len(found) > 0 {
				found, done = found[:1], true
			}
		}
	}
	rest := buf
	if gone := slices.DeleteFunc(slices.Clone(found), func(f gate.Field) bool { return !ours(f) }); len(gone) > 0 {
		var ok bool
		if rest, ok = kind.Without(string(buf), gone); !ok {
			return nil, errUnclear
		}
	}
	if r.ContentLength >= 0 {
		r.ContentLength -= int64(len(buf) - len(rest))
	}
	r.Header.Del("Content-Length") // what is said of the length is in the field above
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(rest), body), body}
	return gate.Form(found), nil
}
