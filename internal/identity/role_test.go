package identity

import (
	"slices"
	"strings"
	"testing"
)

func TestRoleNames(t *testing.T) {
	want := []string{"runner", "service", "sidecar", "directory", "maintainer", "admin", "peer"}
	var got []string
	for r := range AllRoles().All() {
		got = append(got, r.String())
		if back, err := ParseRole(r.String()); err != nil || back != r {
			t.Errorf("ParseRole(%v) = %v, %v", r, back, err)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the roles are %v, want %v", got, want)
	}
	for _, name := range []string{"", "Runner", "runner ", "none", "role(0)", "root"} {
		if r, err := ParseRole(name); err == nil || r != 0 || !strings.Contains(err.Error(), "sidecar, directory") {
			t.Errorf("ParseRole(%q) = %v, %v; want an error that lists the names", name, r, err)
		}
	}
	if Role(0).String() != "role(0)" || Role(99).String() != "role(99)" {
		t.Errorf("names of no roles: %v, %v", Role(0), Role(99))
	}
}

func TestRoleSet(t *testing.T) {
	s := Roles(Sidecar, Runner, Runner)
	for r := range AllRoles().All() {
		if s.Has(r) != (r == Sidecar || r == Runner) {
			t.Errorf("%v.Has(%v) = %v", s, r, s.Has(r))
		}
	}
	if s.String() != "runner, sidecar" || Roles().String() != "none" {
		t.Errorf("%v and %v", s, Roles())
	}
	if !s.Meets(Roles(Peer, Runner)) || s.Meets(Roles(Peer)) || s.Meets(0) || RoleSet(0).Meets(AllRoles()) {
		t.Error("Meets is wrong")
	}
	if Roles().Has(0) || AllRoles().Has(0) {
		t.Error("the zero Role is in a set")
	}
	for r := range s.All() {
		if r != Runner {
			t.Errorf("began with %v", r)
		}
		break
	}
}
