package daemon

import (
	"sync"

	"github.com/jobward/jobward/internal/serving"
)

// readiness is what a PDP says of itself once it serves: over HTTP, and by grpc.health.v1. It is ready until something is said against it, and never again after
// stop. The zero value says nothing to anybody.
type readiness struct {
	mu     sync.Mutex
	why    string
	phase  *serving.Phase // nil before begin and after stop
	health *serving.Health
}

// begin lets it speak.
func (r *readiness) begin(phase *serving.Phase, health *serving.Health) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phase, r.health = phase, health
	r.tell()
}

// say says why the PDP is not ready, or "" when it is.
func (r *readiness) say(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.why = why
	r.tell()
}

// stop says that the PDP stops, for good.
func (r *readiness) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.why = "stopping"
	r.tell()
	r.phase = nil
}

func (r *readiness) tell() {
	if r.phase == nil {
		return
	}
	r.phase.Set(r.why)
	if r.why == "" {
		r.health.Resume()
	} else {
		r.health.Shutdown()
	}
}
