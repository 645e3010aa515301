package engine

import "github.com/jobward/jobward/pdp/audit"

// RecordAccess puts answers that a sidecar gave from its cache into the audit log, by
// the same rules as [Engine.Record].
func (e *Engine) RecordAccess(by Actor, a audit.Access) { e.audit.Access(by.Name, a) }
