package policy

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
)

//go:embed catalogue.json
var builtin []byte

// Limits of a catalogue extension, so that a file cannot make decisions slow.
const (
	MaxCatalogueBytes       = 1 << 20
	maxPermissions          = 2000
	maxPoliciesOfPermission = 8
	maxName                 = 64
)

// Catalogue is the set of permissions that exist, and what each needs
// (SEMANTICS §8.4). It does not change after it is made.
type Catalogue struct {
	permissions map[authz.Permission]*Permission
	policies    map[string]bool
}

// Permission is one thing a job can be allowed to do.
type Permission struct {
	Name authz.Permission
	// Surface is the kind of door it belongs to; SurfacePolicy goes with any.
	Surface authz.Surface
	// Action decides what the state of the target refuses.
	Action Action
	// Role is the least role on a target that is not open to the user.
	Role authz.Role
	// Public says that the permission is in the public set (§8.3).
	Public bool
	// OwnProject limits it to the job's own project. OwnJob asks nothing but a live
	// token, whatever the target: the door compares the job asked for with the Job of
	// the decision, since another job of the same project is not the own one either.
	OwnProject, OwnJob bool
	// Builds makes guests and the public depend on the public-pipelines flag (§8.7).
	Builds bool
	// SkipPolicies takes it out of the fine-grained permissions (§9.2 step 1).
	SkipPolicies bool
	// Policies must all be granted by a fine-grained entry, sorted.
	Policies []string
	// Features gate it; Exempt are those that, all open on a target open to the user,
	// make the fine-grained check unnecessary (§9.6).
	Features, Exempt []authz.Feature
	// Closed permissions are known and never given (§20, routes that take no token).
	Closed bool
}

// Action is what a permission does to its target (§14).
type Action uint8

// The actions. Writing to secure files and Terraform state counts as a write on an
// archived project too (§0.8).
const (
	ActionRead Action = iota
	ActionWrite
	ActionDestroy
	ActionPush
)

var actionNames = []string{"read", "write", "destroy", "push"}

type permissionJSON struct {
	Name         string   `json:"name"`
	Surface      string   `json:"surface"`
	Action       string   `json:"action,omitempty"`
	Role         string   `json:"role,omitempty"`
	Public       bool     `json:"public,omitempty"`
	OwnProject   bool     `json:"own_project,omitempty"`
	OwnJob       bool     `json:"own_job,omitempty"`
	Builds       bool     `json:"public_builds,omitempty"`
	SkipPolicies bool     `json:"skip_policies,omitempty"`
	Policies     []string `json:"policies,omitempty"`
	Features     []string `json:"features,omitempty"`
	Exempt       []string `json:"exempt_features,omitempty"`
	Closed       bool     `json:"closed,omitempty"`
}

type catalogueJSON struct {
	// Policies lists the names an allowlist entry may grant. A name "admin_x" grants
	// "read_x" too.
	Policies    []string         `json:"policies"`
	Permissions []permissionJSON `json:"permissions"`
}

// Builtin gives the catalogue of SEMANTICS §8.4.
func Builtin() *Catalogue {
	c, err := Extend(nil)
	if err != nil {
		panic("policy: the built-in catalogue is broken: " + err.Error())
	}
	return c
}

// Extend gives the built-in catalogue with the permissions and policies of an
// operator's JSON document added. The document cannot change or remove what is built
// in. Errors say which permission is wrong and why.
func Extend(document []byte) (*Catalogue, error) {
	c := &Catalogue{permissions: map[authz.Permission]*Permission{}, policies: map[string]bool{}}
	if err := c.add(builtin); err != nil {
		return nil, err
	}
	if len(document) == 0 {
		return c, nil
	}
	if len(document) > MaxCatalogueBytes {
		return nil, fmt.Errorf("the catalogue has %d bytes, the limit is %d", len(document), MaxCatalogueBytes)
	}
	if err := c.add(document); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Catalogue) add(document []byte) error {
	dec := json.NewDecoder(strings.NewReader(string(document)))
	dec.DisallowUnknownFields()
	var doc catalogueJSON
	if err := dec.Decode(&doc); err != nil {
		return fmt.Errorf("the catalogue is not the JSON it should be: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("the catalogue has something after its JSON object")
	}
	for _, p := range doc.Policies {
		if !validName(p) {
			return fmt.Errorf("policy %q: names are 1 to %d of a-z, 0-9 and _", p, maxName)
		}
		c.policies[p] = true
	}
	if len(c.permissions)+len(doc.Permissions) > maxPermissions {
		return fmt.Errorf("more than %d permissions", maxPermissions)
	}
	for _, pj := range doc.Permissions {
		p, err := c.permission(pj)
		if err != nil {
			return fmt.Errorf("permission %q: %w", pj.Name, err)
		}
		c.permissions[p.Name] = p
	}
	return nil
}

func (c *Catalogue) permission(pj permissionJSON) (*Permission, error) {
	name := authz.Permission(pj.Name)
	if !validName(pj.Name) {
		return nil, fmt.Errorf("names are 1 to %d of a-z, 0-9 and _", maxName)
	}
	if c.permissions[name] != nil {
		return nil, fmt.Errorf("there is one of this name already, and it cannot be changed")
	}
	p := &Permission{
		Name: name, Public: pj.Public, OwnProject: pj.OwnProject, OwnJob: pj.OwnJob, Builds: pj.Builds,
		SkipPolicies: pj.SkipPolicies, Closed: pj.Closed, Policies: slices.Clone(pj.Policies),
	}
	var err error
	if p.Surface, err = authz.ParseSurface(pj.Surface); err != nil {
		return nil, err
	}
	if p.Surface == authz.SurfaceDefault {
		return nil, fmt.Errorf("surface must name a kind of door, not %q", pj.Surface)
	}
	if p.Role, err = authz.ParseRole(cmp.Or(pj.Role, "owner")); err != nil {
		return nil, err
	}
	i := slices.Index(actionNames, cmp.Or(pj.Action, "read"))
	if i < 0 {
		return nil, fmt.Errorf("unknown action %q: use %s", pj.Action, strings.Join(actionNames, ", "))
	}
	p.Action = Action(i)
	if p.Features, err = features(pj.Features); err != nil {
		return nil, err
	}
	if p.Exempt, err = features(pj.Exempt); err != nil {
		return nil, err
	}
	return p, c.check(p)
}

// check refuses combinations that would mean nothing or open more than the words
// say.
func (c *Catalogue) check(p *Permission) error {
	if p.Role < authz.RoleGuest && !p.OwnJob && !p.Closed {
		return fmt.Errorf("role %s opens the permission to everybody; use guest or higher", p.Role)
	}
	if (p.Surface == authz.SurfaceGraphQL || p.Surface == authz.SurfaceUnlisted) && !p.Closed {
		return fmt.Errorf("surface %s takes no job token; say closed", p.Surface)
	}
	if len(p.Policies) > maxPoliciesOfPermission {
		return fmt.Errorf("needs more than %d policies", maxPoliciesOfPermission)
	}
	for _, pol := range p.Policies {
		if !c.policies[pol] {
			return fmt.Errorf("needs the policy %q, which the list of policies does not have", pol)
		}
	}
	if slices.Sort(p.Policies); len(slices.Compact(slices.Clone(p.Policies))) < len(p.Policies) {
		return fmt.Errorf("names a policy twice")
	}
	if p.Action != ActionRead && (p.Public || len(p.Exempt) > 0) {
		return fmt.Errorf("action %s cannot be public or exempt: what changes the target is never open to everybody", actionNames[p.Action])
	}
	if p.SkipPolicies && len(p.Policies) > 0 {
		return fmt.Errorf("skip_policies and policies contradict each other")
	}
	return nil
}

// Permission finds a permission by name.
func (c *Catalogue) Permission(name authz.Permission) (*Permission, bool) {
	p, ok := c.permissions[name]
	return p, ok
}

// HasPolicy reports whether name is one that an allowlist entry may grant.
func (c *Catalogue) HasPolicy(name string) bool { return c.policies[name] }

// Permissions gives all permissions sorted by name.
func (c *Catalogue) Permissions() []*Permission {
	all := make([]*Permission, 0, len(c.permissions))
	for _, p := range c.permissions {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *Permission) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return all
}

// Policies gives the names an allowlist entry may grant, sorted.
func (c *Catalogue) Policies() []string {
	all := make([]string, 0, len(c.policies))
	for p := range c.policies {
		all = append(all, p)
	}
	slices.Sort(all)
	return all
}

func features(names []string) ([]authz.Feature, error) {
	var fs []authz.Feature
	for _, n := range names {
		f, err := authz.ParseFeature(n)
		if err != nil {
			return nil, err
		}
		if slices.Contains(fs, f) {
			return nil, fmt.Errorf("feature %s is named twice", n)
		}
		fs = append(fs, f)
	}
	return fs, nil
}

func validName(s string) bool {
	if len(s) == 0 || len(s) > maxName {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' {
			return false
		}
	}
	return true
}
