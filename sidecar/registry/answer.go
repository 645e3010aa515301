package registry

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// answer is the client's side of a request that is passed on. It keeps clients at this door.
type answer struct {
	http.ResponseWriter
	h      *Handler
	r      *http.Request
	ours   bool // the answer is a refusal of this door, and the registry's body is dropped
	headed bool
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if status < 200 || a.headed {
		a.ResponseWriter.WriteHeader(status)
		return
	}
	a.headed = true
	location := a.Header().Get("Location")
	switch {
	case status >= 300 && status < 400 && status != http.StatusNotModified:
		a.h.warn.say(a.h, "the registry leads clients elsewhere, where nothing could end a download: set storage.redirect.disable in it")
		a.replace("the registry leads elsewhere, and this door does not")
		return
	case location != "":
		inside, ok := pathOf(location)
		if !ok {
			a.h.warn.say(a.h, "the registry sends uploads elsewhere, where nothing could end them: its storage must take them itself")
			a.replace("the registry sends uploads elsewhere, and this door does not")
			return
		}
		a.Header().Set("Location", inside)
	case status == http.StatusUnauthorized:
		a.h.warn.say(a.h, "the registry refuses a token that this door found good: look at rootcertbundle, issuer and service in its configuration, and at its clock")
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (a *answer) Write(p []byte) (int, error) {
	if !a.headed {
		a.WriteHeader(http.StatusOK)
	}
	if a.ours {
		return len(p), nil
	}
	return a.ResponseWriter.Write(p)
}

func (a *answer) replace(text string) {
	a.ours = true
	a.h.refuse(a.ResponseWriter, a.r, &refusal{status: http.StatusBadGateway, code: codeUnknown, text: text})
}

// pathOf makes of a Location of the registry a path here, whatever the registry thinks that it is called.
func pathOf(location string) (string, bool) {
	u, err := url.Parse(location)
	if err != nil || !strings.HasPrefix(u.EscapedPath(), root) {
		return "", false
	}
	inside := u.EscapedPath()
	if u.RawQuery != "" {
		inside += "?" + u.RawQuery
	}
	return inside, true
}

// warnEvery is how often the log says what is wrong with the registry behind; clients ask more often than operators read.
const warnEvery = time.Minute

type warner struct{ last atomic.Int64 }

func (l *warner) say(h *Handler, text string) {
	if l.due(h) {
		h.log.Warn(text)
	}
}

// due reports whether it is time to say something again.
func (l *warner) due(h *Handler) bool {
	now, last := h.now().UnixNano(), l.last.Load()
	return now-last >= int64(warnEvery) && l.last.CompareAndSwap(last, now)
}
