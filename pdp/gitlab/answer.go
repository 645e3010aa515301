package gitlab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
)

// The keys that an error's text stands under: what is wrong with a parameter or a route,
// and everything else.
const (
	keyError   = "error"
	keyMessage = "message"
)

// failure is an error as it looks from outside.
type failure struct {
	status    int
	key, text string
	header    http.Header
}

// Error implements error.
func (f *failure) Error() string { return f.text }

func errNoRoute() error {
	return &failure{status: http.StatusNotFound, key: keyError, text: "404 Not Found"}
}

// badParam says what is wrong with a parameter.
func badParam(format string, args ...any) error {
	return &failure{status: http.StatusBadRequest, key: keyError, text: fmt.Sprintf(format, args...)}
}

// said makes a refusal in GitLab's form: the status and its name, and why.
func said(status int, name, format string, args ...any) *failure {
	return &failure{status: status, key: keyMessage, text: fmt.Sprintf("%d %s - %s", status, name, fmt.Sprintf(format, args...))}
}

// unauthorized never tells more than what kind of thing was shown.
func unauthorized(format string, args ...any) error {
	f := said(http.StatusUnauthorized, "Unauthorized", format, args...)
	f.header = http.Header{"Www-Authenticate": {`Bearer realm="jobward"`}}
	return f
}

func forbidden(format string, args ...any) error {
	return said(http.StatusForbidden, "Forbidden", format, args...)
}

func badRequest(format string, args ...any) error {
	return said(http.StatusBadRequest, "Bad request", format, args...)
}

// notFound is what is said of a thing that does not exist and of one that the user may
// not see. It does not repeat what the caller wrote, which may be a token in the wrong place.
func notFound(what string) error {
	return said(http.StatusNotFound, what+" Not Found", "it does not exist, or you may not see it")
}

// refusal is the one place where errors get their status.
func refusal(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	e := wire.AsError(err)
	status := wire.HTTPStatus(e)
	switch e.Kind {
	case authz.KindExists:
		status = http.StatusBadRequest // what GitLab says of an entry that is there
	case authz.KindNotFound:
		return said(status, notFoundName(e.Code), "it does not exist, or you may not see it")
	case authz.KindForbidden:
		return said(status, "Forbidden", "%s", e.Message)
	}
	name := http.StatusText(status)
	if status == http.StatusBadRequest {
		name = "Bad request"
	}
	out := said(status, name, "%s", e.Message)
	if e.RetryAfter > 0 {
		out.header = http.Header{"Retry-After": {strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds())))}}
	}
	return out
}

func notFoundName(code string) string {
	switch code {
	case engine.CodeProjectNotFound:
		return "Project Not Found"
	case engine.CodeGroupNotFound:
		return "Group Not Found"
	case engine.CodeUserNotFound:
		return "User Not Found"
	}
	return "Not Found"
}

// answer writes an answer in JSON.
func (c *call) answer(status int, body any, more ...http.Header) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		return err
	}
	header := c.w.Header()
	for _, m := range more {
		for name, values := range m {
			header[name] = values
		}
	}
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(b.Len()))
	c.w.WriteHeader(status)
	c.w.Write(b.Bytes()) // whoever has gone gets nothing
	return nil
}

// done answers that something is done and that there is nothing to say about it.
func (c *call) done() error {
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// word repeats a name that a caller wrote if it can be one. All else may be anything: curl sends a token that somebody gave in the
// place of a parameter as the parameter's name, and tokens have a dash.
func word(s string) string {
	if len(s) > 64 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" || s == "" {
		return "a parameter"
	}
	return s
}
