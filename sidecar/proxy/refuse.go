package proxy

import (
	"errors"
	"io"
	"net/http"

	"github.com/jobward/jobward/sidecar/gate"
)

// refuse answers with words.
func refuse(w http.ResponseWriter, status int, words string) {
	h := w.Header()
	clear(h)
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	io.WriteString(w, words+"\n")
}

// refuseAs answers as a verdict says that its refusal looks.
func refuseAs(w http.ResponseWriter, v *gate.Verdict) {
	h := w.Header()
	clear(h)
	for _, f := range v.Header {
		h.Add(f[0], f[1])
	}
	if v.ContentType != "" {
		h.Set("Content-Type", v.ContentType)
	}
	h.Set("X-Content-Type-Options", "nosniff")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(v.Status)
	io.WriteString(w, v.Body)
}

// refuseBody answers that a body cannot be searched.
func refuseBody(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errTooLarge):
		refuse(w, http.StatusRequestEntityTooLarge, err.Error())
	case errors.Is(err, errSlow):
		refuse(w, http.StatusRequestTimeout, err.Error())
	case errors.Is(err, errUnclear):
		refuse(w, http.StatusBadRequest, err.Error())
	default:
		refuse(w, http.StatusBadRequest, "the body cannot be read")
	}
}
