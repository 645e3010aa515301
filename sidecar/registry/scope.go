package registry

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
)

// Bounds of what one login may ask.
const (
	maxScopes = 16
	maxScope  = 512
)

// actions is a set of what can be done to a repository.
type actions uint8

const (
	pull actions = 1 << iota
	push
	remove // "delete" on the wire
	every  // "*" on the wire; in a scope it comes with the other three

	each = pull | push | remove
)

// actionNames is the order in which tokens list them.
var actionNames = [...]struct {
	action     actions
	name       string
	permission authz.Permission
}{
	{pull, "pull", "pull_image"},
	{push, "push", "push_image"},
	{remove, "delete", "delete_image"},
	{every, "*", ""},
}

func (a actions) names() []string {
	list := []string{}
	for _, n := range actionNames {
		if a&n.action != 0 {
			list = append(list, n.name)
		}
	}
	return list
}

// actionNamed gives an action by its name; none for one that is not known.
func actionNamed(name string) actions {
	for _, n := range actionNames {
		if n.name == name {
			if n.action == every {
				return every | each
			}
			return n.action
		}
	}
	return 0
}

// scope is what a login asks for on one repository.
type scope struct {
	name    string
	actions actions
}

// parseScopes reads the values of the parameter scope. What can be left out is; the package comment tells which. Errors are for the client and
// repeat nothing of it.
func parseScopes(values []string) (list []scope, err error) {
	count := 0
	for _, value := range values {
		for text := range strings.SplitSeq(value, " ") {
			if text == "" {
				continue
			}
			if count++; count > maxScopes {
				return nil, fmt.Errorf("more than %d scopes at once", maxScopes)
			}
			s, err := parseScope(text)
			if err != nil {
				return nil, fmt.Errorf("scope %d: %w", count, err)
			}
			if s.actions != 0 {
				list = add(list, s)
			}
		}
	}
	return list, nil
}

func add(list []scope, s scope) []scope {
	for i := range list {
		if list[i].name == s.name {
			list[i].actions |= s.actions
			return list
		}
	}
	return append(list, s)
}

// parseScope reads one scope; its actions are none when it is to be left out.
func parseScope(text string) (s scope, err error) {
	if len(text) > maxScope {
		return s, fmt.Errorf("it has more than %d bytes", maxScope)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return s, errors.New("it has characters other than printable ASCII")
	}
	// The name may hold a colon, of a host with a port.
	first, last := strings.IndexByte(text, ':'), strings.LastIndexByte(text, ':')
	if first <= 0 || last <= first+1 {
		return s, errors.New("it must be type:name:action,action")
	}
	kind, name, wanted := text[:first], text[first+1:last], text[last+1:]
	plain, class, classed := strings.Cut(kind, "(")
	if !only(plain, "") || plain == "" || classed && (len(class) < 2 || class[len(class)-1] != ')' || !only(class[:len(class)-1], "")) {
		return s, errors.New("its type must be a word, with a class in parentheses or without")
	}
	for a := range strings.SplitSeq(wanted, ",") {
		if a != "*" && !only(a, "_-") || a == "" && wanted != "" {
			return s, errors.New("its actions must be words, or *")
		}
		s.actions |= actionNamed(a)
	}
	if kind != "repository" || !validName(name) {
		return scope{}, nil
	}
	s.name = name
	return s, nil
}
