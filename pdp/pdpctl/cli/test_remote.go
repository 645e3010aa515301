package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/scenario"
	"github.com/jobward/jobward/pdp/state"
)

// bench runs scenarios against a PDP that has a world of its own. Each gets a scratch world beside that one: every path and name
// begins with the prefix, every id stands in a range that no forge reaches, and all of it is removed before the next.
type bench struct {
	s      *session
	dir    jobwardv1.DirectoryServiceClient
	lists  jobwardv1.AllowlistServiceClient
	tokens jobwardv1.TokenServiceClient
	asks   jobwardv1.DecisionServiceClient
	prefix string
	base   int64 // the ids of the scratch world are just above
	runs   int

	allowSettings    bool
	home, now        *jobwardv1.InstanceSettings
	homeDoc, nowDoc  []byte
	settingsMayStray bool // a change was tried, so that they have to be put back
}

// maxScratch is how much one ApplyChanges takes; larger scenarios are skipped.
const maxScratch = 1000

// bench reads the settings of the PDP and draws a prefix.
func (s *session) bench(allowSettings bool) (*bench, error) {
	// Ctrl-C ends the run between two scenarios: what one has begun is always cleaned up, under the deadline of each call.
	calm := *s
	calm.ctx = context.WithoutCancel(s.ctx)
	b := &bench{s: &calm, allowSettings: allowSettings}
	conn, err := s.dial()
	if err != nil {
		return nil, err
	}
	calm.conn = conn
	b.dir, b.lists = jobwardv1.NewDirectoryServiceClient(conn), jobwardv1.NewAllowlistServiceClient(conn)
	b.tokens, b.asks = jobwardv1.NewTokenServiceClient(conn), jobwardv1.NewDecisionServiceClient(conn)
	got, err := call(s, b.dir.GetInstanceSettings, &jobwardv1.GetInstanceSettingsRequest{})
	if err != nil {
		return nil, err
	}
	cat, err := call(s, b.dir.GetCatalogue, &jobwardv1.GetCatalogueRequest{})
	if err != nil {
		return nil, err
	}
	b.home, b.now, b.homeDoc, b.nowDoc = got.GetSettings(), got.GetSettings(), cat.GetDocument(), cat.GetDocument()
	var random [8]byte
	rand.Read(random[:])
	b.prefix = "pdpctl-test-" + hex.EncodeToString(random[:4]) + "-"
	b.base = 1<<52 + int64(binary.LittleEndian.Uint32(random[4:]))<<16
	return b, nil
}

// close puts the settings back.
func (b *bench) close() error {
	if !b.settingsMayStray {
		return nil
	}
	return errors.Join(b.setInstance(b.home), b.setCatalogue(b.homeDoc))
}

// scratch is the world of one scenario on the PDP.
type scratch struct {
	b     *bench
	sc    *scenario.Scenario
	w     scenario.World // in the names and ids of the scratch world
	ix    *scenario.Index
	final []state.Record
	job   string
	ghost struct {
		project authz.ProjectID // the job's project, where the scenario has none
		user    authz.UserID
	}
}

// test runs one scenario.
func (b *bench) test(sc *scenario.Scenario) (v verdict) {
	x, why, err := b.prepare(sc)
	switch {
	case err != nil:
		return verdict{failed: err.Error()}
	case why != "":
		return verdict{skipped: why}
	}
	if why, err := b.settle(&x.w, x.final); err != nil {
		return verdict{failed: b.s.words(err).Error()}
	} else if why != "" {
		return verdict{skipped: why}
	}
	defer func() {
		if err := x.clean(); err != nil {
			v.failed = fmt.Sprintf("%s; what begins with %s could not be cleaned up: %v", cmp.Or(v.failed, "answered well"), b.prefix, b.s.words(err))
		}
	}()
	shown, err := x.build()
	if err != nil {
		return verdict{failed: "the PDP did not take the scenario: " + b.s.words(err).Error()}
	}
	return x.ask(shown)
}

// prepare moves the scenario to its prefix and ids, and tells why it cannot be run against a PDP, if so.
func (b *bench) prepare(sc *scenario.Scenario) (x *scratch, why string, err error) {
	if _, _, _, err := sc.Records(); err != nil {
		return nil, "", err
	}
	if why := beyondAPI(sc); why != "" {
		return nil, why, nil
	}
	b.runs++
	x = &scratch{b: b, sc: sc, w: sc.World, job: fmt.Sprintf("%sjob-%d", b.prefix, b.runs)}
	x.rename()
	if x.final, x.ix, err = x.w.Records(); err != nil {
		return nil, "", fmt.Errorf("in the scratch world: %w", err)
	}
	n := 2
	for _, r := range x.final {
		if m, ok := r.(*state.Members); ok {
			n += len(m.List)
		}
		n++
	}
	if n > maxScratch {
		return nil, fmt.Sprintf("more than %d records", maxScratch), nil
	}
	return x, "", nil
}

// beyondAPI tells what of a scenario no call can make true.
func beyondAPI(sc *scenario.Scenario) string {
	switch executing := sc.Job.State == "" || sc.Job.State == "running" || sc.Job.State == "canceling"; {
	case sc.Job.Heartbeat == "lapsed":
		return "no call makes a job lapsed"
	case sc.Job.Erased && executing:
		return "erasing a job through the API ends it too"
	}
	for _, g := range sc.World.Groups {
		if g.State == "deletion_in_progress" || g.State == "pending_delete" {
			return "the API deletes projects, not groups"
		}
	}
	for _, p := range sc.World.Projects {
		if slices.ContainsFunc(p.InboundAllow, func(e scenario.Entry) bool { return e.Path == p.Path }) || slices.Contains(p.Outbound, p.Path) {
			return "the API takes no entry of a project for itself"
		}
	}
	return ""
}

// at is a path or name in the scratch world.
func (x *scratch) at(name string) string {
	if name == "" {
		return ""
	}
	return x.b.prefix + name
}

func (x *scratch) rename() {
	w := &x.w
	w.Groups, w.Projects, w.Members = slices.Clone(w.Groups), slices.Clone(w.Projects), slices.Clone(w.Members)
	user := cmp.Or(x.sc.Job.User, "dev")
	users := slices.Clone(w.Users)
	if w.Users == nil { // everybody whom members or the job name
		seen := map[string]bool{}
		for _, name := range append([]string{user}, memberNames(w.Members)...) {
			if !seen[name] {
				seen[name] = true
				users = append(users, scenario.User{Name: name})
			}
		}
	}
	w.Users = users
	entries := func(list []scenario.Entry) []scenario.Entry {
		list = slices.Clone(list)
		for i := range list {
			list[i].Path = x.at(list[i].Path)
		}
		return list
	}
	for i := range w.Groups {
		g := &w.Groups[i]
		g.ID, g.Path, g.Parent = authz.GroupID(x.b.base+int64(i)+1), x.at(g.Path), nil
	}
	for i := range w.Projects {
		p := &w.Projects[i]
		p.ID, p.Path = authz.ProjectID(x.b.base+int64(i)+1), x.at(p.Path)
		p.InboundAllow, p.InboundGroups, p.Outbound = entries(p.InboundAllow), entries(p.InboundGroups), slices.Clone(p.Outbound)
		for j := range p.Outbound {
			p.Outbound[j] = x.at(p.Outbound[j])
		}
	}
	for i := range w.Users {
		w.Users[i].ID, w.Users[i].Name = authz.UserID(x.b.base+int64(i)+1), x.at(w.Users[i].Name)
	}
	for i := range w.Members {
		w.Members[i].User, w.Members[i].Scope = x.at(w.Members[i].User), x.at(w.Members[i].Scope)
	}
	if !x.visitor() && !slices.ContainsFunc(w.Projects, func(p scenario.Project) bool { return p.Path == x.at(x.sc.Job.Project) }) {
		x.ghost.project = authz.ProjectID(x.b.base + int64(len(w.Projects)) + 1)
	}
	if !x.visitor() && !slices.ContainsFunc(w.Users, func(u scenario.User) bool { return u.Name == x.at(user) }) {
		x.ghost.user = authz.UserID(x.b.base + int64(len(w.Users)) + 1)
	}
	x.b.base += maxScratch // ids are never used twice: those of deleted projects keep their dead
}

// visitor reports whether the question is that of somebody without a token, who has no job.
func (x *scratch) visitor() bool { return x.sc.Job.Token == "none" }

func memberNames(list []scenario.Member) (names []string) {
	for _, m := range list {
		names = append(names, m.User)
	}
	return names
}

// settle gives the PDP the settings of a scenario, if it may, and says what differs, if not.
func (b *bench) settle(w *scenario.World, records []state.Record) (why string, err error) {
	i, document := settingsOf(records)
	want := proto.Clone(b.home).(*jobwardv1.InstanceSettings)
	want.PublicScope, want.EnforceInbound, want.AnyoneCanPull = wire.PublicScopeToProto(i.PublicScope), i.EnforceInbound, i.AnyoneCanPull
	want.MaxProjectEntries = cmp.Or(int32(w.Instance.MaxProjectEntries), want.MaxProjectEntries)
	want.MaxGroupEntries = cmp.Or(int32(w.Instance.MaxGroupEntries), want.MaxGroupEntries)
	sameSettings, sameCatalogue := proto.Equal(want, b.now), sameJSON(document, b.nowDoc)
	switch {
	case sameSettings && sameCatalogue:
		return "", nil
	case !b.allowSettings && !sameSettings:
		return "the settings of the PDP are others (--allow-settings-changes sets and restores them)", nil
	case !b.allowSettings:
		return "the catalogue of the PDP is another (--allow-settings-changes sets and restores it)", nil
	}
	b.settingsMayStray = true
	if !sameCatalogue {
		err = b.setCatalogue(document)
	}
	if !sameSettings {
		err = errors.Join(err, b.setInstance(want))
	}
	return "", err
}

func (b *bench) setInstance(to *jobwardv1.InstanceSettings) error {
	_, err := call(b.s, b.dir.UpdateInstanceSettings, &jobwardv1.UpdateInstanceSettingsRequest{
		PublicScope: to.GetPublicScope().Enum(), EnforceInbound: &to.EnforceInbound, AnyoneCanPull: &to.AnyoneCanPull,
		MaxProjectEntries: &to.MaxProjectEntries, MaxGroupEntries: &to.MaxGroupEntries,
	})
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	b.now = to
	return nil
}

func (b *bench) setCatalogue(document []byte) error {
	if _, err := call(b.s, b.dir.UpdateCatalogue, &jobwardv1.UpdateCatalogueRequest{Document: document}); err != nil {
		return fmt.Errorf("catalogue: %w", err)
	}
	b.nowDoc = document
	return nil
}

// ask puts the question and, when the answer is wrong, asks why.
func (x *scratch) ask(shown string) verdict {
	r := &x.sc.Request
	surface := jobwardv1.Surface_SURFACE_UNSPECIFIED
	if r.Surface != "" {
		parsed, err := authz.ParseSurface(r.Surface)
		if err != nil {
			return verdict{failed: err.Error()}
		}
		surface = wire.SurfaceToProto(parsed)
	}
	target := x.at(r.TargetProject)
	q := &jobwardv1.CheckRequest{Token: shown, TargetProjectPath: target, Permission: string(r.Permission), Surface: surface}
	about := &jobwardv1.ExplainRequest{Subject: &jobwardv1.ExplainRequest_Token{Token: shown}}
	if x.visitor() {
		q.TokenDigest, about.Subject = authz.Nobody[:], &jobwardv1.ExplainRequest_Anonymous{Anonymous: true}
	}
	got, err := call(x.b.s, x.b.asks.Check, q)
	if err != nil {
		return verdict{failed: x.b.s.words(err).Error()}
	}
	d, err := wire.DecisionFromProto(got.GetDecision())
	if err != nil {
		return verdict{failed: err.Error()}
	}
	v := verdict{failed: x.sc.Judge(d)}
	if v.failed == "" {
		return v
	}
	about.Question = &jobwardv1.Question{TargetProjectPath: target, Permission: string(r.Permission), Surface: surface}
	told, err := call(x.b.s, x.b.asks.Explain, about)
	if err != nil {
		v.failed += "; it could not be explained: " + x.b.s.words(err).Error()
	}
	for _, step := range told.GetSteps() {
		reason, _ := wire.ReasonFromProto(step.GetReason())
		v.steps = append(v.steps, policy.Step{Rule: int(step.GetRule()), Name: step.GetName(), Saw: step.GetSaw(), Reason: reason})
	}
	return v
}
