package scenario

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// ReadWorld reads a world alone: one object, in YAML or JSON by the ending of its
// name, the fields of a scenario's world. Unknown fields are refused. The references
// in it are checked by [World.Records]. JSON may have [MaxFileBytes], YAML 8 MiB, which
// is some 40,000 projects.
func ReadWorld(r io.Reader, name string) (World, error) {
	var w World
	var seen bool
	read := func(doc document) error {
		if seen {
			return fmt.Errorf("%s:%d: a world is one object, and this is the second", name, doc.line)
		}
		seen = true
		if line, err := doc.decode(&w); err != nil {
			return fmt.Errorf("%s:%d: %w", name, line, err)
		}
		return nil
	}
	var err error
	if formOf(name) == "json" { // over as many lines as it likes
		err = wholeJSON(r, name, read)
	} else {
		err = documents(r, name, maxYAMLWorld, read)
	}
	if err == nil && !seen {
		err = fmt.Errorf("%s: there is no world in it", name)
	}
	return w, err
}

// wholeJSON takes a file as one object over as many lines as it likes.
func wholeJSON(r io.Reader, name string, fn func(document) error) error {
	text, err := io.ReadAll(&limit{r: r, left: MaxFileBytes})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return fn(document{text: text, line: 1})
}

// WriteYAML writes the world, the same bytes for the same world.
func (w *World) WriteYAML(out io.Writer) error {
	b, err := yaml.MarshalWithOptions(w, yaml.IndentSequence(false))
	if err != nil {
		return err
	}
	_, err = out.Write(b)
	return err
}

// WriteJSON writes the world, indented, the same bytes for the same world.
func (w *World) WriteJSON(out io.Writer) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(w)
}

// FromRecords gives the world that records describe, in order of paths and names and
// with all ids, so that two exports can be compared line by line. Jobs, deaths and
// whatever else is no part of a world are passed over; so are entries and memberships
// of what is no longer there, which let nobody in. What cannot be given a path is an
// error.
func FromRecords(records []state.Record) (World, error) {
	var w World
	x := exporter{groups: map[authz.GroupID]*state.Group{}, paths: map[authz.Scope]string{}, users: map[authz.UserID]string{}}
	for _, r := range records {
		switch r := r.(type) {
		case *state.Instance:
			w.Instance = Instance{
				EnforceInbound: r.EnforceInbound, AnyoneCanPull: unless(true, r.AnyoneCanPull), PublicScope: r.PublicScope.String(),
				MaxProjectEntries: r.MaxProjectEntries, MaxGroupEntries: r.MaxGroupEntries,
			}
		case *state.Catalogue:
			if len(r.Document) > 0 {
				if err := json.Unmarshal(r.Document, &w.Catalogue); err != nil {
					return World{}, fmt.Errorf("catalogue: %w", err)
				}
			}
		case *state.Group:
			x.groups[r.ID] = r
		case *state.User:
			x.users[r.ID] = r.Name
			w.Users = append(w.Users, User{ID: r.ID, Name: r.Name, State: nonzero(r.State), External: r.External, Admin: r.Admin})
		}
	}
	err := errors.Join(x.addGroups(&w), x.addProjects(&w, records))
	if err != nil {
		return World{}, err
	}
	x.addLists(&w, records)
	slices.SortFunc(w.Groups, func(a, b Group) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortFunc(w.Projects, func(a, b Project) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortFunc(w.Users, func(a, b User) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(w.Members, func(a, b Member) int { return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.Scope, b.Scope)) })
	return w, nil
}

type exporter struct {
	groups map[authz.GroupID]*state.Group
	paths  map[authz.Scope]string
	users  map[authz.UserID]string
}

// unless gives nil for the default, so that it is left out.
func unless(absent, b bool) *bool {
	if b == absent {
		return nil
	}
	return &b
}

// nonzero gives the name of a value that is not the default.
func nonzero[T interface {
	comparable
	fmt.Stringer
}](v T) string {
	if v == *new(T) {
		return ""
	}
	return v.String()
}

func (x *exporter) groupPath(id authz.GroupID, depth int) (string, error) {
	g := x.groups[id]
	switch {
	case g == nil:
		return "", fmt.Errorf("group %d is missing", id)
	case depth > len(x.groups):
		return "", fmt.Errorf("group %d is above itself", id)
	case g.Parent == 0:
		return g.Name, nil
	}
	up, err := x.groupPath(g.Parent, depth+1)
	return up + "/" + g.Name, err
}

func (x *exporter) addGroups(w *World) error {
	for id, g := range x.groups {
		path, err := x.groupPath(id, 0)
		if err != nil {
			return err
		}
		x.paths[authz.InGroup(id)] = path
		w.Groups = append(w.Groups, Group{ID: id, Path: path, Visibility: nonzero(g.Visibility), State: nonzero(g.State)})
	}
	return nil
}

func (x *exporter) addProjects(w *World, records []state.Record) error {
	for _, r := range records {
		p, ok := r.(*state.Project)
		if !ok {
			continue
		}
		up := p.Namespace
		if p.Group != 0 {
			var err error
			if up, err = x.groupPath(p.Group, 0); err != nil {
				return fmt.Errorf("project %d: %w", p.ID, err)
			}
		}
		out := Project{
			ID: p.ID, Path: up + "/" + p.Name, Visibility: nonzero(p.Visibility), State: nonzero(p.State), Hidden: p.Hidden,
			ReadOnly: p.ReadOnly, PublicBuilds: unless(true, p.PublicBuilds), InboundEnabled: nil,
		}
		for f, level := range p.Features {
			if level != authz.FeatureEnabled {
				if out.Features == nil {
					out.Features = map[string]string{}
				}
				out.Features[authz.Feature(f).String()] = level.String()
			}
		}
		x.paths[authz.InProject(p.ID)] = out.Path
		w.Projects = append(w.Projects, out)
	}
	return nil
}

func (x *exporter) addLists(w *World, records []state.Record) {
	at := map[authz.ProjectID]*Project{}
	for i := range w.Projects {
		at[w.Projects[i].ID] = &w.Projects[i]
	}
	for _, r := range records {
		switch r := r.(type) {
		case *state.Allowlist:
			if p := at[r.Project]; p != nil {
				x.addAllowlist(p, r)
			}
		case *state.Members:
			user, ok := x.users[r.User]
			for _, m := range r.List {
				if path, there := x.paths[m.Scope]; ok && there {
					w.Members = append(w.Members, Member{User: user, Scope: path, Role: m.Role.String()})
				}
			}
		}
	}
}

func (x *exporter) addAllowlist(p *Project, r *state.Allowlist) {
	p.InboundEnabled, p.OutboundEnabled = unless(true, r.InboundOn), r.OutboundOn
	p.PushSelf, p.PushCross = r.PushSelf, r.PushCross
	for _, e := range r.Inbound {
		path, ok := x.paths[e.Caller]
		if !ok {
			continue
		}
		out := Entry{Path: path, Autopopulated: e.Autopopulated}
		if !e.Default {
			out.Policies = append([]string{}, e.Policies...)
		}
		if e.Caller.Kind == authz.ScopeProject {
			p.InboundAllow = append(p.InboundAllow, out)
		} else {
			p.InboundGroups = append(p.InboundGroups, out)
		}
	}
	for _, id := range r.Outbound {
		if path, ok := x.paths[authz.InProject(id)]; ok {
			p.Outbound = append(p.Outbound, path)
		}
	}
	byPath := func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) }
	slices.SortFunc(p.InboundAllow, byPath)
	slices.SortFunc(p.InboundGroups, byPath)
	slices.Sort(p.Outbound)
}
