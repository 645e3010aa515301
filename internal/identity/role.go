package identity

import (
	"fmt"
	"iter"
	"math/bits"
	"strings"
)

// Role is a kind of caller. The zero Role is none. Numbers are not stored anywhere; names are.
type Role uint8

// The roles, in the words of the design (§7).
const (
	Runner     Role = iota + 1 // runners and CI coordinators: issue, keep alive, revoke, reconcile
	Service                    // internal services and doors that ask for decisions themselves
	Sidecar                    // sidecars: decisions, and leases to cache them
	Directory                  // the forge's sync of projects, groups, users and memberships
	Maintainer                 // edits allowlists on behalf of a named user, whose own role is judged besides
	Admin                      // operators
	Peer                       // other decision points of the same installation
)

const lastRole = Peer

// String returns the name used in files and messages.
func (r Role) String() string {
	names := [...]string{Runner: "runner", Service: "service", Sidecar: "sidecar", Directory: "directory",
		Maintainer: "maintainer", Admin: "admin", Peer: "peer"}
	if r == 0 || r > lastRole {
		return fmt.Sprintf("role(%d)", uint8(r))
	}
	return names[r]
}

// ParseRole is the inverse of [Role.String]. The error lists the names there are.
func ParseRole(name string) (Role, error) {
	for r := range AllRoles().All() {
		if r.String() == name {
			return r, nil
		}
	}
	return 0, fmt.Errorf("no role is called %q; there are %v", name, AllRoles())
}

// RoleSet is a set of roles. The zero RoleSet is empty.
type RoleSet uint16

// Roles returns the set of the given roles.
func Roles(roles ...Role) RoleSet {
	var s RoleSet
	for _, r := range roles {
		s |= 1 << r
	}
	return s
}

// AllRoles returns the set of every role there is.
func AllRoles() RoleSet { return 1<<(lastRole+1) - 1<<1 }

// Has reports whether r is in s.
func (s RoleSet) Has(r Role) bool { return s&(1<<r) != 0 }

// Meets reports whether s and other have a role in common: whether a caller with s may pass a door that is open to other.
func (s RoleSet) Meets(other RoleSet) bool { return s&other != 0 }

// String returns the names, separated by ", ", in the order of the constants; "none" if s is empty.
func (s RoleSet) String() string {
	if s == 0 {
		return "none"
	}
	names := make([]string, 0, bits.OnesCount16(uint16(s)))
	for r := range s.All() {
		names = append(names, r.String())
	}
	return strings.Join(names, ", ")
}

// All yields the roles in s in the order of the constants.
func (s RoleSet) All() iter.Seq[Role] {
	return func(yield func(Role) bool) {
		for r := Role(1); r <= lastRole; r++ {
			if s.Has(r) && !yield(r) {
				return
			}
		}
	}
}
