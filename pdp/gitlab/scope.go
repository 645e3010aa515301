package gitlab

import (
	"context"
	"fmt"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
)

// receiptHeader tells what became of a change beyond this PDP.
const receiptHeader = "Jobward-Receipt"

// ownProject finds the project of ":id", which the user has to see.
func (c *call) ownProject() (engine.SeenProject, error) {
	return c.seen(c.owner)
}

// seen finds a project by what stands in a path.
func (c *call) seen(text string) (engine.SeenProject, error) {
	at, ok := readTarget(text)
	if !ok {
		return engine.SeenProject{}, notFound("Project")
	}
	p, err := c.engine.SeeProject(c.r.Context(), c.by, at)
	if authz.KindOf(err) == authz.KindNotFound {
		return p, notFound("Project")
	}
	return p, err
}

// settle waits for the receipt of a change that is made and durable by now, and tells it in a
// header: no caller is told that a change is done while a sidecar may still answer from before it,
// unless the header says so.
func (c *call) settle(done engine.Done) {
	ctx, cancel := context.WithTimeout(c.r.Context(), c.opt.ReceiptWait)
	defer cancel()
	r := c.engine.Await(ctx, engine.WaitEffective, done.Awaits())
	state := "effective"
	if !r.Effective {
		state = "pending"
	}
	c.w.Header().Set(receiptHeader, fmt.Sprintf("%s; revision=%d", state, r.Revision))
}

// getScope is GET /projects/:id/job_token_scope. The inbound list counts as on also while the instance
// keeps it in force: that is what jobs meet (SEMANTICS §7.4).
func (c *call) getScope() error {
	p, err := c.ownProject()
	if err != nil {
		return err
	}
	info, err := c.engine.GetAllowlist(c.r.Context(), c.by, p.ID)
	if err != nil {
		return err
	}
	return c.answer(200, struct {
		InboundEnabled  bool `json:"inbound_enabled"`
		OutboundEnabled bool `json:"outbound_enabled"`
	}{info.InboundOn || info.Enforced, info.OutboundOn})
}

// patchScope is PATCH /projects/:id/job_token_scope. As in GitLab other parameters mean nothing.
func (c *call) patchScope() error {
	on, err := c.params.flag("enabled")
	if err != nil {
		return err
	}
	p, err := c.ownProject()
	if err != nil {
		return err
	}
	edit := engine.AllowlistEdit{Project: p.ID}
	_, done, err := c.engine.UpdateAllowlist(c.r.Context(), c.by, engine.AllowlistSettings{AllowlistEdit: edit, InboundOn: &on})
	if err != nil {
		return err
	}
	c.settle(done)
	return c.done()
}
