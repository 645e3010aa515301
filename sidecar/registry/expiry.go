package registry

import (
	"context"
	"time"
)

// When the log speaks of the end of the signing certificate.
const (
	warnBefore  = 30 * 24 * time.Hour
	warnAgain   = 24 * time.Hour
	expiryCheck = time.Minute
)

// Run says in the log when the certificate of the signing key nears its end: once at the start and once a day from 30 days before (or from when two
// thirds of its life are over, where that is less), and as an error when it is over, since no login succeeds then. It returns when ctx ends. Call it
// once.
func (h *Handler) Run(ctx context.Context) {
	tick := time.NewTicker(expiryCheck)
	defer tick.Stop()
	for e := (expiry{h: h}); ; {
		e.look()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// expiry is what was said last. It belongs to one goroutine.
type expiry struct {
	h    *Handler
	of   *ringState
	over bool
	said time.Time
}

func (e *expiry) look() {
	s, err := e.h.ring.get()
	if err != nil {
		return // a login says it
	}
	now := e.h.now()
	left := s.expires.Sub(now)
	over := left <= 0
	if left > min(warnBefore, s.life/3) || e.of == s && e.over == over && now.Sub(e.said) < warnAgain {
		return
	}
	e.of, e.over, e.said = s, over, now
	const remedy = `make a new one with "sidecar registry-keys", or as this one was made`
	if over {
		e.h.log.Error("the certificate of the key for registry tokens is over, and nobody can log in: "+remedy, "since", s.expires.UTC().Format(time.RFC3339))
		return
	}
	e.h.log.Warn("the certificate of the key for registry tokens ends soon, and then nobody can log in: "+remedy,
		"ends", s.expires.UTC().Format(time.RFC3339), "left", left.Round(time.Minute).String())
}
