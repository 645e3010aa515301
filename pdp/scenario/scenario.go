package scenario

import (
	"fmt"

	"github.com/jobward/jobward/pdp/authz"
)

// Scenario is one case: a world, a job in it, a question, and the answer expected.
type Scenario struct {
	// ID is unique in its file; what stands before the first "-" is the family, and a
	// suffix "@exempt" or "@strict" marks the same question in the other mode.
	ID           string  `json:"id"`
	World        World   `json:"world"`
	Job          Job     `json:"job"`
	Request      Request `json:"request"`
	Expect       string  `json:"expect"`
	ExpectReason string  `json:"expect_reason,omitzero"`
	Why          string  `json:"why,omitzero"`

	// File and Line tell where it was read; empty for one made in memory.
	File string `json:"-"`
	Line int    `json:"-"`
}

// World is a whole installation, in names. Strings that have a fixed set of values
// take those of SEMANTICS §1; empty means the default of the package comment.
type World struct {
	Instance Instance `json:"instance,omitzero"`
	// Catalogue is the document of [policy.Extend], decoded; nil for the built-in one.
	Catalogue any       `json:"catalogue,omitzero"`
	Groups    []Group   `json:"groups,omitzero"`
	Projects  []Project `json:"projects,omitzero"`
	// Users is nil when the list was left out.
	Users   []User   `json:"users,omitzero"`
	Members []Member `json:"members,omitzero"`
}

// Instance holds the settings of the installation. Zero limits mean the built-in ones.
type Instance struct {
	EnforceInbound    bool   `json:"enforce_inbound,omitzero"`
	AnyoneCanPull     *bool  `json:"anyone_can_pull,omitzero"`
	PublicScope       string `json:"public_scope,omitzero"`
	MaxProjectEntries int    `json:"max_project_entries,omitzero"`
	MaxGroupEntries   int    `json:"max_group_entries,omitzero"`
}

// Group is one group. A nil Parent is found from the path.
type Group struct {
	ID         authz.GroupID `json:"id,omitzero"`
	Path       string        `json:"path"`
	Parent     *string       `json:"parent,omitzero"`
	Visibility string        `json:"visibility,omitzero"`
	State      string        `json:"state,omitzero"`
}

// Project is one project with its allowlists.
type Project struct {
	ID              authz.ProjectID   `json:"id,omitzero"`
	Path            string            `json:"path"`
	Visibility      string            `json:"visibility,omitzero"`
	State           string            `json:"state,omitzero"`
	Hidden          bool              `json:"hidden,omitzero"`
	ReadOnly        bool              `json:"read_only,omitzero"`
	Killed          bool              `json:"killed,omitzero"`
	Features        map[string]string `json:"features,omitzero"`
	PublicBuilds    *bool             `json:"public_builds,omitzero"`
	InboundEnabled  *bool             `json:"inbound_enabled,omitzero"`
	OutboundEnabled bool              `json:"outbound_enabled,omitzero"`
	PushSelf        bool              `json:"push_self,omitzero"`
	PushCross       bool              `json:"push_cross,omitzero"`
	InboundAllow    []Entry           `json:"inbound_allow,omitzero"`
	InboundGroups   []Entry           `json:"inbound_groups,omitzero"`
	Outbound        []string          `json:"outbound,omitzero"`
}

// Entry is one entry of an inbound list. Nil Policies are the default permissions,
// empty ones a fine-grained entry that grants nothing.
type Entry struct {
	Path          string   `json:"path"`
	Policies      []string `json:"policies,omitzero"`
	Autopopulated bool     `json:"autopopulated,omitzero"`
}

// User is somebody who can cause jobs.
type User struct {
	ID       authz.UserID `json:"id,omitzero"`
	Name     string       `json:"name"`
	State    string       `json:"state,omitzero"`
	External bool         `json:"external,omitzero"`
	Admin    bool         `json:"admin,omitzero"`
	Killed   bool         `json:"killed,omitzero"`
}

// Member is one role on a project or group, named by its path.
type Member struct {
	User  string `json:"user"`
	Scope string `json:"scope"`
	Role  string `json:"role"`
}

// Job is the job that asks.
type Job struct {
	Project string `json:"project"`
	User    string `json:"user,omitzero"`
	State   string `json:"state,omitzero"`
	Erased  bool   `json:"erased,omitzero"`
	// Token tells what the job shows: valid, expired, replaced, unknown or malformed; or
	// none, for an anonymous visitor, who shows nothing and needs no job.
	Token     string  `json:"token,omitzero"`
	Heartbeat string  `json:"heartbeat,omitzero"`
	Limits    *Limits `json:"limits,omitzero"`
}

// Limits is the job's wish for less. A nil list limits nothing, an empty one leaves
// nothing.
type Limits struct {
	Permissions []authz.Permission `json:"permissions,omitzero"`
	Targets     []string           `json:"targets,omitzero"`
}

// Request is the question.
type Request struct {
	TargetProject string           `json:"target_project"`
	Permission    authz.Permission `json:"permission"`
	Surface       string           `json:"surface,omitzero"`
}

// Judge compares an answer with what was expected. It gives "" when they agree, else
// one phrase on how they differ.
func (s *Scenario) Judge(d authz.Decision) string {
	got := "deny"
	if d.Allow {
		got = "allow"
	}
	switch {
	case got != s.Expect:
		return fmt.Sprintf("expected %s, got %s (%s: %s)", s.Expect, got, d.Reason, d.Reason.Text())
	case s.ExpectReason != "" && s.ExpectReason != d.Reason.String():
		return fmt.Sprintf("%s as expected, but for %s and not for %s", got, d.Reason, s.ExpectReason)
	}
	return ""
}

// check refuses what no reader of the file could make sense of. The world is checked
// when records are made of it.
func (s *Scenario) check() error {
	switch {
	case s.ID == "":
		return fmt.Errorf("id is missing")
	case s.Expect != "allow" && s.Expect != "deny":
		return fmt.Errorf("expect: %q is neither allow nor deny", s.Expect)
	}
	if s.ExpectReason != "" {
		if r, ok := authz.ParseReason(s.ExpectReason); !ok || r == authz.ReasonNone {
			return fmt.Errorf("expect_reason: there is no reason %q", s.ExpectReason)
		} else if r.Allows() != (s.Expect == "allow") {
			return fmt.Errorf("expect_reason: %s is no reason to %s", s.ExpectReason, s.Expect)
		}
	}
	return nil
}
