package server

import (
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/audit"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// wantAllSet fails when a field of the message has nothing in it: the record was full,
// so a field that is empty was forgotten.
func wantAllSet(t *testing.T, m proto.Message, except ...protoreflect.Name) {
	t.Helper()
	skip := map[protoreflect.Name]bool{}
	for _, n := range except {
		skip[n] = true
	}
	r := m.ProtoReflect()
	for i := range r.Descriptor().Fields().Len() {
		if f := r.Descriptor().Fields().Get(i); !r.Has(f) && !skip[f.Name()] {
			t.Errorf("%s.%s has nothing in it", r.Descriptor().Name(), f.Name())
		}
	}
}

// wantFull fails when the test's own record leaves a field out.
func wantFull(t *testing.T, rec any) {
	t.Helper()
	v := reflect.ValueOf(rec)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("the test's %s has nothing in %s", v.Type(), v.Type().Field(i).Name)
		}
	}
}

func TestDirectoryRoundTrip(t *testing.T) {
	g := state.Group{ID: 1, Parent: 2, Name: "g", Visibility: authz.Public, State: authz.StateArchived}
	p := state.Project{
		ID: 3, Group: 4, Namespace: "dev", Name: "p", Visibility: authz.Internal, State: authz.StatePendingDelete,
		PublicBuilds: true, ReadOnly: true, Hidden: true,
	}
	for f := range p.Features {
		p.Features[f] = authz.FeatureLevel(f % 4)
	}
	u := state.User{ID: 5, Name: "u", State: authz.UserStateBanned, External: true, Admin: true}
	m := engine.Membership{User: 6, Membership: state.Membership{Scope: authz.InGroup(7), Role: authz.RoleOwner}}
	for _, rec := range []any{g, p, u, m} {
		wantFull(t, rec)
	}

	gm, pm := groupToProto(engine.GroupInfo{Group: g, Path: "a/g", Changed: 9}), projectToProto(engine.ProjectInfo{Project: p, Path: "a/p", Changed: 9})
	um, mm := userToProto(engine.UserInfo{User: u, Changed: 9}), membershipToProto(m)
	for _, msg := range []proto.Message{gm, pm, um, mm} {
		wantAllSet(t, msg)
	}
	for name, c := range map[string]struct {
		in   *jobwardv1.Change
		want engine.Change
	}{
		"group":      {&jobwardv1.Change{Change: &jobwardv1.Change_SetGroup{SetGroup: gm}}, engine.Change{Group: &g}},
		"project":    {&jobwardv1.Change{Change: &jobwardv1.Change_SetProject{SetProject: pm}}, engine.Change{Project: &p}},
		"user":       {&jobwardv1.Change{Change: &jobwardv1.Change_SetUser{SetUser: um}}, engine.Change{User: &u}},
		"membership": {&jobwardv1.Change{Change: &jobwardv1.Change_SetMembership{SetMembership: mm}}, engine.Change{Membership: &m}},
		"no group":   {&jobwardv1.Change{Change: &jobwardv1.Change_RemoveGroupId{RemoveGroupId: 1}}, engine.Change{DeleteGroup: 1}},
		"no project": {&jobwardv1.Change{Change: &jobwardv1.Change_RemoveProjectId{RemoveProjectId: 2}}, engine.Change{DeleteProject: 2}},
		"no user":    {&jobwardv1.Change{Change: &jobwardv1.Change_RemoveUserId{RemoveUserId: 3}}, engine.Change{DeleteUser: 3}},
		"no membership": {
			&jobwardv1.Change{Change: &jobwardv1.Change_RemoveMembership{RemoveMembership: &jobwardv1.MembershipKey{UserId: 4, Scope: &jobwardv1.Scope{ProjectId: 5}}}},
			engine.Change{DeleteMembership: &engine.MembershipRef{User: 4, Scope: authz.InProject(5)}},
		},
	} {
		if got, err := changeFromProto(c.in, "changes[0]"); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, c.want)
		}
	}
	kinds := (&jobwardv1.Change{}).ProtoReflect().Descriptor().Fields().Len()
	if kinds != 8 {
		t.Errorf("a Change has %d kinds, this test knows 8", kinds)
	}
}

// TestChangeDefaults: what is left out is private and closed, in use and enabled.
func TestChangeDefaults(t *testing.T) {
	c, err := changeFromProto(&jobwardv1.Change{Change: &jobwardv1.Change_SetProject{SetProject: &jobwardv1.Project{ProjectId: 1}}}, "x")
	if want := (&state.Project{ID: 1}); err != nil || !reflect.DeepEqual(c.Project, want) {
		t.Errorf("got %+v, %v; want %+v", c.Project, err, want)
	}
	if p := c.Project; p.Visibility != authz.Private || p.State != authz.StateActive || p.Features[authz.FeaturePackages] != authz.FeatureEnabled {
		t.Errorf("the defaults are %+v", p)
	}
}

// TestChangeRefuses: numbers that are not declared become no default, whether or not
// the rules ran before.
func TestChangeRefuses(t *testing.T) {
	feature := func(f, l int32) *jobwardv1.FeatureSetting {
		return &jobwardv1.FeatureSetting{Feature: jobwardv1.Feature(f), Level: jobwardv1.FeatureLevel(l)}
	}
	project := func(p *jobwardv1.Project) *jobwardv1.Change {
		return &jobwardv1.Change{Change: &jobwardv1.Change_SetProject{SetProject: p}}
	}
	for field, c := range map[string]*jobwardv1.Change{
		"c":                         {},
		"c.set_group.state":         {Change: &jobwardv1.Change_SetGroup{SetGroup: &jobwardv1.Group{State: 99}}},
		"c.set_group.visibility":    {Change: &jobwardv1.Change_SetGroup{SetGroup: &jobwardv1.Group{Visibility: -1}}},
		"c.set_project.visibility":  project(&jobwardv1.Project{Visibility: 4}),
		"c.set_project.state":       project(&jobwardv1.Project{State: 6}),
		"c.set_project.features":    project(&jobwardv1.Project{Features: []*jobwardv1.FeatureSetting{feature(1, 2), feature(1, 3)}}),
		"c.set_user.state":          {Change: &jobwardv1.Change_SetUser{SetUser: &jobwardv1.User{State: 257}}},
		"c.set_membership.role":     {Change: &jobwardv1.Change_SetMembership{SetMembership: &jobwardv1.Membership{Role: 51}}},
		"c.set_membership.scope":    {Change: &jobwardv1.Change_SetMembership{SetMembership: &jobwardv1.Membership{Scope: &jobwardv1.Scope{}}}},
		"c.remove_membership.scope": {Change: &jobwardv1.Change_RemoveMembership{RemoveMembership: &jobwardv1.MembershipKey{Scope: &jobwardv1.Scope{}}}},
	} {
		_, err := changeFromProto(c, "c")
		wantField(t, err, field)
	}
	for _, fs := range []*jobwardv1.FeatureSetting{feature(0, 1), feature(99, 1), feature(1, 99), feature(-1, 1)} {
		_, err := changeFromProto(project(&jobwardv1.Project{Features: []*jobwardv1.FeatureSetting{fs}}), "c")
		wantField(t, err, "c.set_project.features")
	}
}

func wantField(t *testing.T, err error, field string) {
	t.Helper()
	var e *authz.Error
	if !errors.As(err, &e) || e.Kind != authz.KindInvalid || e.Violations[0].Field != field {
		t.Errorf("the error is %v; want one about %s", err, field)
	}
}

func TestJobToProto(t *testing.T) {
	j := &state.Job{
		ID: "j", Digest: authz.Digest{1}, Project: 1, User: 2, Pipeline: 3, Ref: "main", Runner: "r", Term: time.Minute, Issued: 4, IssuedAt: 5e9,
		Expires: 100e9, Status: authz.JobCanceling, Erased: true, Lapsed: true, Ended: 6, EndedAt: 7e9,
		Limits: policy.Limits{Permissions: []authz.Permission{"p"}, Targets: []authz.Scope{authz.InGroup(8)}},
	}
	wantFull(t, *j)
	info := engine.JobInfo{Job: j, Live: true, Reason: authz.AllowedOwnJob, Deadline: 65e9, Revision: 9}
	m := jobToProto(info)
	wantAllSet(t, m)
	if m.Status != jobwardv1.JobStatus_JOB_STATUS_CANCELING || m.HeartbeatDeadline.Seconds != 65 || m.EndTime.Seconds != 7 || m.ExpireTime.Seconds != 100 {
		t.Errorf("got %v", m)
	}
	for now, want := range map[authz.Stamp]time.Duration{60e9: 5 * time.Second, 65e9: 0, 200e9: 0} {
		if got := lifeLeft(info, now); got.AsDuration() != want || (want == 0) != (got == nil) {
			t.Errorf("at %d %v are left; want %v", now, got, want)
		}
	}
	info.Deadline = 0
	if got := lifeLeft(info, 60e9).AsDuration(); got != 40*time.Second {
		t.Errorf("without a heartbeat %v are left", got)
	}
	info.Live = false
	if got := lifeLeft(info, 60e9); got != nil {
		t.Errorf("a dead token has %v left", got)
	}
}

// TestLimits: no list limits nothing, an empty one leaves nothing, and a list limits
// without its flag.
func TestLimits(t *testing.T) {
	none, empty := policy.Limits{}, policy.Limits{Permissions: []authz.Permission{}, Targets: []authz.Scope{}}
	some := policy.Limits{Permissions: []authz.Permission{"a", "b"}, Targets: []authz.Scope{authz.InProject(1)}}
	for _, want := range []policy.Limits{none, empty, some, {Permissions: some.Permissions}, {Targets: empty.Targets}} {
		r := &reader{}
		if got := limitsFromProto(r, limitsToProto(want)); r.err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v comes back as %+v, %v", want, got, r.err)
		}
	}
	bare := &jobwardv1.Limits{Permissions: []string{"a", "b"}, Targets: []*jobwardv1.Scope{{ProjectId: 1}}}
	if got := limitsFromProto(&reader{}, bare); !reflect.DeepEqual(got, some) {
		t.Errorf("lists without flags become %+v", got)
	}
	r := &reader{}
	limitsFromProto(r, &jobwardv1.Limits{Targets: []*jobwardv1.Scope{{}}})
	wantField(t, r.err, "limits.targets")
}

func TestOutcomes(t *testing.T) {
	want := map[jobwardv1.Outcome]engine.Outcome{
		jobwardv1.Outcome_OUTCOME_UNSPECIFIED: engine.Canceled, jobwardv1.Outcome_OUTCOME_SUCCESS: engine.Succeeded,
		jobwardv1.Outcome_OUTCOME_FAILED: engine.Failed, jobwardv1.Outcome_OUTCOME_SKIPPED: engine.Skipped,
		jobwardv1.Outcome_OUTCOME_CANCELED: engine.Canceled, jobwardv1.Outcome_OUTCOME_ERASED: engine.Erased,
	}
	for num := range jobwardv1.Outcome_name {
		o := jobwardv1.Outcome(num)
		if w, ok := want[o]; !ok || outcomeFromProto(o) != w {
			t.Errorf("%v becomes %v", o, outcomeFromProto(o))
		}
	}
	seen := map[jobwardv1.RevokeEffect]bool{}
	for e := engine.EndedNow; e <= engine.TokenUnknown; e++ {
		m := revocationToProto(engine.Revocation{Job: "j", Ending: e, Revision: 1})
		wantAllSet(t, m)
		seen[m.Effect] = true
	}
	if len(seen) != len(jobwardv1.RevokeEffect_name)-1 {
		t.Errorf("the endings become %v", seen)
	}
}

func TestAllowlistToProto(t *testing.T) {
	e := engine.Entry{
		Direction: engine.Outbound, Owner: 1, Other: authz.InGroup(2), OwnerPath: "a", OtherPath: "b", Default: true, Policies: []string{"p"},
		Autopopulated: true, Implied: true,
	}
	wantFull(t, e)
	if m := entryToProto(e); m.DefaultPermissions || m.Policies != nil {
		t.Errorf("an outbound entry grants %v", m)
	}
	e.Direction = engine.Inbound
	wantAllSet(t, entryToProto(e))
	for _, on := range []bool{false, true} {
		for _, enforced := range []bool{false, true} {
			if got := settingsToProto(engine.AllowlistInfo{InboundOn: on, Enforced: enforced}); got.InboundEffective != (on || enforced) || got.InboundEnabled != on {
				t.Errorf("on %t, enforced %t become %v", on, enforced, got)
			}
		}
	}
	wantAllSet(t, settingsToProto(engine.AllowlistInfo{InboundOn: true, OutboundOn: true, PushSelf: true, PushCross: true}))

	edit := engine.AllowlistEdit{Project: 1}
	in := &jobwardv1.AllowlistEntry{Scope: &jobwardv1.Scope{ProjectId: 2}, Policies: []string{"p"}}
	got, err := entryFromProto(edit, jobwardv1.Direction_DIRECTION_INBOUND, in)
	want := engine.EntryEdit{AllowlistEdit: edit, Direction: engine.Inbound, Other: authz.InProject(2), Policies: []string{"p"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if got, err := entryFromProto(edit, jobwardv1.Direction_DIRECTION_OUTBOUND, in); err != nil || got.Direction != engine.Outbound {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = entryFromProto(edit, 0, in)
	wantField(t, err, "direction")
	_, err = entryFromProto(edit, 1, &jobwardv1.AllowlistEntry{Scope: &jobwardv1.Scope{}})
	wantField(t, err, "entry.scope")
}

func TestInstanceAndCatalogue(t *testing.T) {
	info := engine.InstanceInfo{Instance: state.Instance{
		Instance:          policy.Instance{PublicScope: authz.ScopeStrict, EnforceInbound: true, AnyoneCanPull: true},
		MaxProjectEntries: 1, MaxGroupEntries: 2,
	}}
	m := instanceToProto(info)
	wantAllSet(t, m)
	rev := uint64(7)
	edit, err := instanceFromProto(&jobwardv1.UpdateInstanceSettingsRequest{
		PublicScope: &m.PublicScope, EnforceInbound: &m.EnforceInbound, AnyoneCanPull: &m.AnyoneCanPull,
		MaxProjectEntries: &m.MaxProjectEntries, MaxGroupEntries: &m.MaxGroupEntries, ExpectedRevision: &rev, RequestId: "r", ValidateOnly: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	wantFull(t, edit)
	if *edit.PublicScope != authz.ScopeStrict || *edit.MaxProjectEntries != 1 || *edit.MaxGroupEntries != 2 || *edit.Expected != 7 {
		t.Errorf("got %+v", edit)
	}
	if edit, err := instanceFromProto(&jobwardv1.UpdateInstanceSettingsRequest{}); err != nil || !reflect.DeepEqual(edit, engine.InstanceEdit{}) {
		t.Errorf("nothing set becomes %+v, %v", edit, err)
	}
	_, err = instanceFromProto(&jobwardv1.UpdateInstanceSettingsRequest{PublicScope: new(jobwardv1.PublicScope)})
	wantField(t, err, "public_scope")

	wantAllSet(t, permissionToProto(&policy.Permission{
		Name: "p", Surface: authz.SurfaceREST, Action: policy.ActionRead, Role: authz.RoleGuest, Public: true, OwnProject: true, OwnJob: true,
		Builds: true, SkipPolicies: true, Policies: []string{"x"}, Features: []authz.Feature{0}, Exempt: []authz.Feature{1}, Closed: true,
	}))
	for _, p := range policy.Builtin().Permissions() {
		if _, ok := jobwardv1.Action_name[int32(permissionToProto(p).Action)]; !ok {
			t.Errorf("%s: the API does not declare the action", p.Name)
		}
	}
	for action, name := range map[policy.Action]string{
		policy.ActionRead: "ACTION_READ", policy.ActionWrite: "ACTION_WRITE", policy.ActionDestroy: "ACTION_DESTROY", policy.ActionPush: "ACTION_PUSH",
	} {
		if got := permissionToProto(&policy.Permission{Action: action}).Action.String(); got != name {
			t.Errorf("%s becomes %s", name, got)
		}
	}
}

func TestStatusAndDifference(t *testing.T) {
	s := engine.DirectoryStatus{Mark: state.Mark{Epoch: state.Epoch{Counter: 1, ID: [16]byte{0xab}}, Revision: 2}, Time: 3e9}
	for k := range s.Counts {
		s.Counts[k] = 10 + k
	}
	m := statusToProto(s)
	wantAllSet(t, m, "uptime", "version", "development_mode")
	if m.EpochId != "ab000000000000000000000000000000" || m.Jobs != 10+int64(state.KindJob) {
		t.Errorf("got %v", m)
	}
	d := engine.DiffCount{Created: 1, Updated: 2, Removed: 3, Unchanged: 4, Younger: 5}
	wantFull(t, d)
	wantAllSet(t, differenceToProto(d))
}

func TestAuditToProto(t *testing.T) {
	e := audit.Event{
		Time: 1e9, Revision: 2, Actor: "a", OnBehalf: 3, Verb: "check", Reason: authz.NotMember.String(), Job: "j", Source: 4, Target: 5, User: 6,
		Permission: "p", Count: 7, Detail: "d", Decision: "i",
	}
	wantFull(t, e)
	m := eventToProto(e)
	wantAllSet(t, m)
	if m.Reason != jobwardv1.Reason_REASON_NOT_MEMBER {
		t.Errorf("the reason is %v", m.Reason)
	}
	if got := eventToProto(audit.Event{Verb: "issue"}); got.Reason != 0 {
		t.Errorf("a change has the reason %v", got.Reason)
	}

	q, err := eventFilter(&jobwardv1.ListEventsRequest{
		StartTime: &timestamppb.Timestamp{Seconds: 1}, EndTime: &timestamppb.Timestamp{Seconds: 2}, JobId: "j", ProjectId: 1, UserId: 2,
		Actor: "a", Verb: "v", Reason: m.Reason, DenialsOnly: true, ChangesOnly: true,
	})
	if err != nil || q.From != 1e9 || q.To != 2e9 {
		t.Errorf("got %+v, %v", q, err)
	}
	wantFull(t, q.Filter)
	if q, err := eventFilter(&jobwardv1.ListEventsRequest{}); err != nil || q != (engine.EventQuery{}) {
		t.Errorf("no filter becomes %+v, %v", q, err)
	}
	_, err = eventFilter(&jobwardv1.ListEventsRequest{StartTime: &timestamppb.Timestamp{Seconds: math.MaxInt64}})
	wantField(t, err, "start_time")
	_, err = eventFilter(&jobwardv1.ListEventsRequest{EndTime: &timestamppb.Timestamp{Nanos: -1}})
	wantField(t, err, "end_time")
	_, err = eventFilter(&jobwardv1.ListEventsRequest{Reason: 99})
	wantField(t, err, "reason")
}

func TestSmallConversions(t *testing.T) {
	if got := firstIDs([]authz.JobID{"a", "b", "c"}, 2); !reflect.DeepEqual(got, []string{"a", "b"}) {
		t.Errorf("got %v", got)
	}
	if got := jobIDs(firstIDs([]authz.JobID{"a"}, 2)); !reflect.DeepEqual(got, []authz.JobID{"a"}) {
		t.Errorf("got %v", got)
	}
	steps := stepsToProto([]policy.Step{{Rule: 1, Name: "n", Saw: "s", Reason: authz.TokenUnknown}, {Rule: 2, Name: "m"}})
	wantAllSet(t, steps[0])
	if steps[1].Text != "" || steps[0].Reason != wire.ReasonToProto(authz.TokenUnknown) {
		t.Errorf("got %v", steps)
	}
	if expected(nil) != nil {
		t.Error("nothing expected becomes something")
	}
}
