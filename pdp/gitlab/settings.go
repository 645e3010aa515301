package gitlab

import (
	"github.com/jobward/jobward/pdp/engine"
)

// Parameters of PUT /application/settings.
const (
	paramEnforce = "enforce_ci_inbound_job_token_scope_enabled"
	paramAnyone  = "package_registry_allow_anyone_to_pull_option"
)

// settings are those of the instance that are here. The last three are extensions.
type settings struct {
	Enforce     bool   `json:"enforce_ci_inbound_job_token_scope_enabled"`
	Anyone      bool   `json:"package_registry_allow_anyone_to_pull_option"`
	PublicScope string `json:"job_token_public_scope"`
	MaxProjects int    `json:"job_token_max_project_entries"`
	MaxGroups   int    `json:"job_token_max_group_entries"`
}

func (c *call) showSettings(in engine.InstanceInfo) error {
	return c.answer(200, settings{in.EnforceInbound, in.AnyoneCanPull, in.PublicScope.String(), in.MaxProjectEntries, in.MaxGroupEntries})
}

// getSettings is GET /application/settings. GitLab shows them to administrators; here every user may know what
// binds their lists, and Terraform does not have to guess.
func (c *call) getSettings() error { return c.showSettings(c.engine.GetInstance(c.r.Context())) }

// putSettings is PUT /application/settings, for instance administrators.
func (c *call) putSettings() error {
	if err := c.params.only(paramEnforce, paramAnyone); err != nil {
		return err
	}
	enforce, err := c.params.maybe(paramEnforce)
	if err != nil {
		return err
	}
	anyone, err := c.params.maybe(paramAnyone)
	if err != nil {
		return err
	}
	if enforce == nil && anyone == nil {
		return badParam("%s, %s are missing, at least one parameter must be provided", paramEnforce, paramAnyone)
	}
	in, done, err := c.engine.UpdateInstance(c.r.Context(), c.by, engine.InstanceEdit{EnforceInbound: enforce, AnyoneCanPull: anyone})
	if err != nil {
		return err
	}
	c.settle(done)
	return c.showSettings(in)
}
