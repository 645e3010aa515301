package cli

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"time"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/scenario"
	"github.com/jobward/jobward/pdp/state"
)

// worldCmd is "pdpctl world".
type worldCmd struct {
	Export worldExportCmd `cmd:"" help:"Write settings, catalogue, groups, projects with their allowlists, users and memberships to a file."`
	Import worldImportCmd `cmd:"" help:"Make the directory and the allowlists what a file says. What the file does not have is removed."`
}

type worldExportCmd struct {
	File string `arg:"" optional:"" help:"Where to: YAML, or JSON when the name ends in .json. Without a file: standard output, JSON with -o json, else YAML."`
}

// Run writes the world.
func (c *worldExportCmd) Run(s *session) error {
	records, err := s.pullWorld()
	if err != nil {
		return err
	}
	w, err := scenario.FromRecords(records)
	if err != nil {
		return fmt.Errorf("the directory changed while it was read, export again: %w", err)
	}
	var text bytes.Buffer
	write, most := w.WriteYAML, 8<<20 // what scenario.ReadWorld takes of either form
	if strings.HasSuffix(c.File, ".json") || (c.File == "" && s.globals.Output == "json") {
		write, most = w.WriteJSON, scenario.MaxFileBytes
	}
	if err := write(&text); err != nil {
		return err
	}
	if text.Len() > most {
		fmt.Fprintf(s.err, "%d bytes are more than import takes of this form, %d (JSON may have %d)\n", text.Len(), most, scenario.MaxFileBytes)
	}
	if c.File != "" {
		return os.WriteFile(c.File, text.Bytes(), 0o600)
	}
	_, err = s.out.Write(text.Bytes())
	return err
}

type worldImportCmd struct {
	File       string `arg:"" help:"The world, as export writes it. Ids may be left out: what is there by the same path or name keeps its own."`
	DryRun     bool   `help:"Show the difference and change nothing."`
	Allowlists bool   `default:"true" negatable:"" help:"Also make the allowlists what the file says, empty where it has none. With --no-allowlists they stay as they are."`
}

// Run takes the world into the PDP: limits and catalogue, the directory, the lists, and the other settings last, enforcement among them,
// which keeps lists from being switched off. A run that breaks is completed by repeating it.
func (c *worldImportCmd) Run(s *session) error {
	f, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	w, err := scenario.ReadWorld(f, c.File)
	if err != nil {
		return err
	}
	held, err := s.pullWorld()
	if err != nil {
		return err
	}
	keepIDs(&w, held)
	wanted, _, err := w.Records()
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	for _, r := range wanted {
		if _, ok := r.(*state.Death); ok {
			return fmt.Errorf("%s: killed is for scenarios; block the user or delete the project instead", c.File)
		}
	}
	if err := s.importSettings(&w, wanted, held, c.DryRun, false); err != nil {
		return err
	}
	resp, err := s.pushWorld(wanted, c.DryRun)
	if err != nil {
		return err
	}
	if err := s.print(resp, func(t *table) { drawSync(t, resp) }); err != nil {
		return err
	}
	if c.Allowlists {
		if err := s.importLists(wanted, held, c.DryRun); err != nil {
			return err
		}
	}
	if err := s.importSettings(&w, wanted, held, c.DryRun, true); err != nil {
		return err
	}
	return s.settle()
}

func drawSync(t *table, r *jobwardv1.SyncWorldResponse) {
	t.row("", "CREATED", "UPDATED", "REMOVED", "LEFT ALONE", "UNCHANGED")
	line := func(name string, d *jobwardv1.Difference) {
		t.row(name, d.GetCreated(), d.GetUpdated(), d.GetRemoved(), d.GetYounger(), d.GetUnchanged())
	}
	line("groups", r.GetGroups())
	line("projects", r.GetProjects())
	line("users", r.GetUsers())
	line("memberships", r.GetMemberships())
	for _, text := range r.GetSamples() {
		t.linef("%s", text)
	}
}

// note tells of a change that is no part of SyncWorld: beside the table, or aside where the output is for machines.
func (s *session) note(format string, args ...any) {
	out := s.out
	if s.globals.Output != "table" {
		out = s.err
	}
	fmt.Fprintf(out, format+"\n", args...)
}

// progress speaks on standard error once something takes long.
type progress struct {
	s    *session
	next time.Time
}

func (s *session) progress() *progress { return &progress{s, time.Now().Add(2 * time.Second)} }

func (p *progress) tell(format string, args ...any) {
	if now := time.Now(); now.After(p.next) {
		p.next = now.Add(2 * time.Second)
		fmt.Fprintf(p.s.err, format+"\n", args...)
	}
}

// keepIDs gives what has no id in the file the id of what is there by the same path or name, and the rest ids above all others:
// otherwise the numbers that a file is given on its own would turn things into one another.
func keepIDs(w *scenario.World, held []state.Record) {
	old, err := scenario.FromRecords(held)
	if err != nil {
		return // a broken directory has no paths to go by
	}
	keep(old.Groups, w.Groups, func(g *scenario.Group) (*authz.GroupID, string) { return &g.ID, g.Path })
	keep(old.Projects, w.Projects, func(p *scenario.Project) (*authz.ProjectID, string) { return &p.ID, p.Path })
	keep(old.Users, w.Users, func(u *scenario.User) (*authz.UserID, string) { return &u.ID, u.Name })
}

func keep[T any, ID ~int64](old, list []T, of func(*T) (*ID, string)) {
	ids, taken, top := map[string]ID{}, map[ID]bool{}, ID(0)
	for i := range old {
		id, name := of(&old[i])
		ids[name], top = *id, max(top, *id)
	}
	for i := range list {
		id, _ := of(&list[i])
		taken[*id], top = true, max(top, *id)
	}
	for i := range list {
		id, name := of(&list[i])
		if *id != 0 {
			continue
		}
		if *id = ids[name]; *id == 0 || taken[*id] {
			top++
			*id = top
		}
		taken[*id] = true
	}
}

// pushWorld streams the records of the directory and gives the difference. It has no deadline: a large world takes as long as it takes.
func (s *session) pushWorld(records []state.Record, dryRun bool) (*jobwardv1.SyncWorldResponse, error) {
	dir, err := s.directory()
	if err != nil {
		return nil, err
	}
	stream, err := dir.SyncWorld(s.ctx)
	if err != nil {
		return nil, err
	}
	slow := s.progress()
	// A send that fails says only that the server has ended the call: why comes with CloseAndRecv.
	failed := stream.Send(&jobwardv1.SyncWorldRequest{Part: &jobwardv1.SyncWorldRequest_Header{Header: &jobwardv1.SyncHeader{ValidateOnly: dryRun}}})
	part, size := &jobwardv1.SyncRecords{}, 0
	send := func() {
		if failed == nil && size > 0 {
			failed = stream.Send(&jobwardv1.SyncWorldRequest{Part: &jobwardv1.SyncWorldRequest_Records{Records: part}})
		}
		part, size = &jobwardv1.SyncRecords{}, 0
	}
	for i, r := range records {
		switch r := r.(type) {
		case *state.Group:
			part.Groups = append(part.Groups, groupMessage(r))
			size++
		case *state.Project:
			part.Projects = append(part.Projects, projectMessage(r))
			size++
		case *state.User:
			part.Users = append(part.Users, userMessage(r))
			size++
		case *state.Members:
			for _, m := range r.List {
				part.Memberships = append(part.Memberships, memberMessage(r.User, m))
				if size++; size >= worldPage {
					send()
				}
			}
		}
		if size >= worldPage {
			send()
			slow.tell("sending: %d of %d records", i+1, len(records))
		}
	}
	send()
	if len(records) > 20*worldPage {
		fmt.Fprintln(s.err, "everything is sent; the PDP works out the difference")
	}
	resp, err := stream.CloseAndRecv()
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// The messages of records.

func groupMessage(g *state.Group) *jobwardv1.Group {
	return &jobwardv1.Group{
		GroupId: int64(g.ID), ParentId: int64(g.Parent), Name: g.Name, Visibility: wire.VisibilityToProto(g.Visibility), State: wire.ProjectStateToProto(g.State),
	}
}

func projectMessage(p *state.Project) *jobwardv1.Project {
	m := &jobwardv1.Project{
		ProjectId: int64(p.ID), GroupId: int64(p.Group), Namespace: p.Namespace, Name: p.Name, Visibility: wire.VisibilityToProto(p.Visibility),
		State: wire.ProjectStateToProto(p.State), PublicBuilds: p.PublicBuilds, ReadOnly: p.ReadOnly, Hidden: p.Hidden,
	}
	for f, level := range p.Features {
		if level != authz.FeatureEnabled {
			m.Features = append(m.Features, &jobwardv1.FeatureSetting{Feature: wire.FeatureToProto(authz.Feature(f)), Level: wire.FeatureLevelToProto(level)})
		}
	}
	return m
}

func userMessage(u *state.User) *jobwardv1.User {
	return &jobwardv1.User{UserId: int64(u.ID), Name: u.Name, State: wire.UserStateToProto(u.State), External: u.External, Admin: u.Admin}
}

func memberMessage(user authz.UserID, m state.Membership) *jobwardv1.Membership {
	return &jobwardv1.Membership{UserId: int64(user), Scope: wire.ScopeToProto(m.Scope), Role: wire.RoleToProto(m.Role)}
}

func entryMessage(e state.Entry) *jobwardv1.AllowlistEntry {
	return &jobwardv1.AllowlistEntry{Scope: wire.ScopeToProto(e.Caller), DefaultPermissions: e.Default, Policies: e.Policies}
}
