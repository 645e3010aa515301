package wire

import (
	"errors"
	"strings"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// These tests hold for the proto files as they are: every rule compiles, every field
// from outside has a bound, and every violation names a field.

var files = []protoreflect.FileDescriptor{
	jobwardv1.File_jobward_v1_types_proto, jobwardv1.File_jobward_v1_decision_proto, jobwardv1.File_jobward_v1_token_proto,
	jobwardv1.File_jobward_v1_allowlist_proto, jobwardv1.File_jobward_v1_directory_proto, jobwardv1.File_jobward_v1_audit_proto,
	jobwardv1.File_jobward_v1_watch_proto,
}

type rpc struct {
	service, method string
	input, output   protoreflect.MessageDescriptor
}

func eachRPC(fn func(rpc)) {
	for _, f := range files {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				fn(rpc{string(s.Name()), string(m.Name()), m.Input(), m.Output()})
			}
		}
	}
}

// eachMessage visits every message of the API; fields of each are its Fields.
func eachMessage(fn func(protoreflect.MessageDescriptor)) {
	for _, f := range files {
		for i := range f.Messages().Len() {
			fn(f.Messages().Get(i))
		}
	}
}

func newMessage(t *testing.T, d protoreflect.MessageDescriptor) proto.Message {
	t.Helper()
	mt, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil {
		t.Fatal(err)
	}
	return mt.New().Interface()
}

func validator(t *testing.T) protovalidate.Validator {
	t.Helper()
	v, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestRulesCompile validates an empty message of each kind: a rule that does not
// compile shows as an error that is no violation.
func TestRulesCompile(t *testing.T) {
	v := validator(t)
	eachMessage(func(d protoreflect.MessageDescriptor) {
		err := v.Validate(newMessage(t, d))
		var bad *protovalidate.ValidationError
		if err != nil && !errors.As(err, &bad) {
			t.Errorf("%s: %v", d.Name(), err)
		}
	})
}

// TestRuleIDsNameFields is the convention that fieldOf rests on: the id of a rule on a
// message begins with one of its fields, and no rule on a field is written in CEL.
func TestRuleIDsNameFields(t *testing.T) {
	eachMessage(func(d protoreflect.MessageDescriptor) {
		rules, _ := proto.GetExtension(d.Options(), validate.E_Message).(*validate.MessageRules)
		if len(rules.GetCelExpression()) > 0 {
			t.Errorf("%s has a rule without an id", d.Name())
		}
		for _, r := range rules.GetCel() {
			field, rest, _ := strings.Cut(r.GetId(), ".")
			if d.Fields().ByName(protoreflect.Name(field)) == nil || rest == "" || r.GetMessage() == "" {
				t.Errorf("%s: the id of rule %q does not begin with a field, or it has no message", d.Name(), r.GetId())
			}
		}
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			if r := fieldRules(f); len(r.GetCel())+len(r.GetCelExpression()) > 0 {
				t.Errorf("%s has a rule in CEL", f.FullName())
			}
		}
	})
}

func fieldRules(f protoreflect.FieldDescriptor) *validate.FieldRules {
	r, _ := proto.GetExtension(f.Options(), validate.E_Field).(*validate.FieldRules)
	return r
}

// TestEverythingIsBounded walks from every request: text, bytes and lists have an upper
// bound, ids and enums a range. What the hot path checks by hand is left out.
func TestEverythingIsBounded(t *testing.T) {
	byHand := map[protoreflect.Name]bool{
		"CheckRequest": true, "BatchCheckRequest": true, "CheckStreamRequest": true, "Question": true, "IntrospectRequest": true,
	}
	outputOnly := map[string]bool{
		"Group.full_path": true, "Project.full_path": true, "AllowlistEntry.full_path": true,
		"ExplainRequest.token": true, "RevokeRequest.tokens": true, // any text is a token to ask about (§4.8)
	}
	seen := map[protoreflect.FullName]bool{}
	var walk func(d protoreflect.MessageDescriptor)
	walk = func(d protoreflect.MessageDescriptor) {
		if seen[d.FullName()] || byHand[d.Name()] || d.ParentFile().Package() != "jobward.v1" {
			return
		}
		seen[d.FullName()] = true
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			if f.Message() != nil {
				walk(f.Message())
			}
			if why := unbounded(f); why != "" && !outputOnly[string(d.Name())+"."+string(f.Name())] {
				t.Errorf("%s: %s", f.FullName(), why)
			}
		}
	}
	eachRPC(func(r rpc) { walk(r.input) })
	if len(seen) < 40 {
		t.Errorf("walked over %d messages only", len(seen))
	}
}

func unbounded(f protoreflect.FieldDescriptor) string {
	r := fieldRules(f)
	if f.IsList() {
		if r.GetRepeated().GetMaxItems() == 0 {
			return "a list without an end"
		}
		r = r.GetRepeated().GetItems()
	}
	switch f.Kind() {
	case protoreflect.StringKind:
		if r.GetString().GetMaxBytes() == 0 {
			return "text without an end"
		}
	case protoreflect.BytesKind:
		if r.GetBytes().GetMaxLen() == 0 {
			return "bytes without an end"
		}
	case protoreflect.EnumKind:
		if !r.GetEnum().GetDefinedOnly() {
			return "an enum that takes any number"
		}
	case protoreflect.Int64Kind:
		if strings.HasSuffix(string(f.Name()), "_id") && f.Name() != "pipeline_id" && r.GetInt64().GetLte() != 1<<53-1 {
			return "an id that can be too large for JSON"
		}
		if r.GetInt64().GetGreaterThan() == nil {
			return "a number that can be negative"
		}
	case protoreflect.Int32Kind:
		if r.GetInt32().GetGreaterThan() == nil {
			return "a number that can be negative"
		}
	}
	return ""
}

// TestTokensAreMarked is P7: whatever holds the text of a token says so to tools that
// print messages.
func TestTokensAreMarked(t *testing.T) {
	marked := 0
	eachMessage(func(d protoreflect.MessageDescriptor) {
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			opts, _ := f.Options().(*descriptorpb.FieldOptions)
			isToken := f.Kind() == protoreflect.StringKind && (f.Name() == "token" || f.Name() == "tokens")
			if isToken != opts.GetDebugRedact() {
				t.Errorf("%s: holds a token: %t, debug_redact: %t", f.FullName(), isToken, opts.GetDebugRedact())
			}
			if isToken {
				marked++
			}
		}
	})
	if marked < 6 {
		t.Errorf("found %d tokens", marked)
	}
}

// TestViolationsNameFields validates bad requests with the real validator and reads
// the fields out of what comes back on the other side of a connection.
func TestViolationsNameFields(t *testing.T) {
	project := func(change func(*jobwardv1.Project)) *jobwardv1.ApplyChangesRequest {
		p := &jobwardv1.Project{ProjectId: 1, GroupId: 1, Name: "p"}
		change(p)
		ok := &jobwardv1.Change{Change: &jobwardv1.Change_RemoveUserId{RemoveUserId: 1}}
		return &jobwardv1.ApplyChangesRequest{Changes: []*jobwardv1.Change{ok, {Change: &jobwardv1.Change_SetProject{SetProject: p}}}}
	}
	issue := func(change func(*jobwardv1.IssueRequest)) *jobwardv1.IssueRequest {
		m := &jobwardv1.IssueRequest{JobId: "j", ProjectId: 1, UserId: 1}
		change(m)
		return m
	}
	entry := func(dir jobwardv1.Direction, e *jobwardv1.AllowlistEntry) *jobwardv1.AddEntryRequest {
		return &jobwardv1.AddEntryRequest{ProjectId: 1, ActingUserId: 1, Direction: dir, Entry: e}
	}
	toProject, toGroup := &jobwardv1.Scope{ProjectId: 2}, &jobwardv1.Scope{GroupId: 2}
	on := true
	for _, c := range []struct {
		name   string
		m      proto.Message
		fields []string
	}{
		{"good issue", issue(func(*jobwardv1.IssueRequest) {}), nil},
		{"empty issue", &jobwardv1.IssueRequest{}, []string{"job_id", "project_id", "user_id"}},
		{"job id with a space", issue(func(m *jobwardv1.IssueRequest) { m.JobId = "a b" }), []string{"job_id"}},
		{"job id too long", issue(func(m *jobwardv1.IssueRequest) { m.JobId = strings.Repeat("x", 129) }), []string{"job_id"}},
		{"job id with a line break", issue(func(m *jobwardv1.IssueRequest) { m.JobId = "a\n" }), []string{"job_id"}},
		{"id too large", issue(func(m *jobwardv1.IssueRequest) { m.ProjectId = 1 << 53 }), []string{"project_id"}},
		{"final status", issue(func(m *jobwardv1.IssueRequest) { m.Status = jobwardv1.JobStatus_JOB_STATUS_FAILED }), []string{"status"}},
		{"unknown status", issue(func(m *jobwardv1.IssueRequest) { m.Status = 77 }), []string{"status"}},
		{"no time", issue(func(m *jobwardv1.IssueRequest) { m.Timeout = &durationpb.Duration{} }), []string{"timeout"}},
		{"too much time", issue(func(m *jobwardv1.IssueRequest) { m.Timeout = &durationpb.Duration{Seconds: 1 << 40} }), []string{"timeout"}},
		{"heartbeat of nobody", issue(func(m *jobwardv1.IssueRequest) { m.HeartbeatTerm = &durationpb.Duration{Seconds: 60} }), []string{"runner_id"}},
		{"limit to nothing named", issue(func(m *jobwardv1.IssueRequest) {
			m.Limits = &jobwardv1.Limits{Permissions: []string{"ok", ""}, Targets: []*jobwardv1.Scope{toGroup, {}}}
		}), []string{"limits.permissions[1]", "limits.targets[1]"}},
		{"revoke nothing", &jobwardv1.RevokeRequest{}, []string{"job_ids"}},
		{"revoke a token", &jobwardv1.RevokeRequest{Tokens: []string{"x"}}, nil},
		{"revoke 1001", &jobwardv1.RevokeRequest{Tokens: many("x", 501), JobIds: many("j", 500)}, []string{"job_ids"}},
		{"reconcile nothing", &jobwardv1.ReconcileRequest{}, []string{"part"}},
		{"explain nobody", &jobwardv1.ExplainRequest{}, []string{"subject", "question"}},
		{"list before the first", &jobwardv1.ListJobsRequest{PageSize: -1}, []string{"page_size"}},
		{"get both", &jobwardv1.GetProjectRequest{ProjectId: 1, FullPath: "a"}, []string{"project_id"}},
		{"get neither", &jobwardv1.GetProjectRequest{}, []string{"project_id"}},
		{"get by path", &jobwardv1.GetProjectRequest{FullPath: "a"}, nil},
		{"members of nowhere", &jobwardv1.ListMembersRequest{Scope: &jobwardv1.Scope{}}, []string{"scope"}},
		{"members of a group", &jobwardv1.ListMembersRequest{Scope: toGroup}, nil},
		{"no changes", &jobwardv1.ApplyChangesRequest{}, []string{"changes"}},
		{"empty change", &jobwardv1.ApplyChangesRequest{Changes: []*jobwardv1.Change{{}}}, []string{"changes[0].change"}},
		{"good project", project(func(*jobwardv1.Project) {}), nil},
		{"project nowhere", project(func(p *jobwardv1.Project) { p.GroupId = 0 }), []string{"changes[1].set_project.group_id"}},
		{"project with a slash", project(func(p *jobwardv1.Project) { p.Name = "a/b" }), []string{"changes[1].set_project.name"}},
		{"feature twice wrong", project(func(p *jobwardv1.Project) { p.Features = []*jobwardv1.FeatureSetting{{Feature: 99}} }),
			[]string{"changes[1].set_project.features[0].feature", "changes[1].set_project.features[0].level"}},
		{"good entry", entry(jobwardv1.Direction_DIRECTION_INBOUND, &jobwardv1.AllowlistEntry{Scope: toGroup, DefaultPermissions: true}), nil},
		{"entry for two", entry(jobwardv1.Direction_DIRECTION_INBOUND, &jobwardv1.AllowlistEntry{Scope: &jobwardv1.Scope{ProjectId: 1, GroupId: 1}}), []string{"entry.scope"}},
		{"entry for nobody", entry(jobwardv1.Direction_DIRECTION_INBOUND, &jobwardv1.AllowlistEntry{}), []string{"entry.scope"}},
		{"no entry", entry(jobwardv1.Direction_DIRECTION_INBOUND, nil), []string{"entry"}},
		{"default and policies", entry(jobwardv1.Direction_DIRECTION_INBOUND, &jobwardv1.AllowlistEntry{Scope: toProject, DefaultPermissions: true, Policies: []string{"p"}}),
			[]string{"entry.policies"}},
		{"outbound group", entry(jobwardv1.Direction_DIRECTION_OUTBOUND, &jobwardv1.AllowlistEntry{Scope: toGroup}), []string{"entry"}},
		{"outbound project", entry(jobwardv1.Direction_DIRECTION_OUTBOUND, &jobwardv1.AllowlistEntry{Scope: toProject}), nil},
		{"no direction", entry(0, &jobwardv1.AllowlistEntry{Scope: toProject}), []string{"direction"}},
		{"no settings", &jobwardv1.UpdateSettingsRequest{ProjectId: 1}, []string{"inbound_enabled"}},
		{"a setting", &jobwardv1.UpdateSettingsRequest{ProjectId: 1, InboundEnabled: &on}, nil},
		{"block into active", &jobwardv1.BlockUserRequest{UserId: 1, State: jobwardv1.UserState_USER_STATE_ACTIVE}, []string{"state"}},
		{"block", &jobwardv1.BlockUserRequest{UserId: 1}, nil},
		{"public scope of nothing", &jobwardv1.UpdateInstanceSettingsRequest{PublicScope: new(jobwardv1.PublicScope)}, []string{"public_scope"}},
		{"hello", &jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Hello{Hello: &jobwardv1.WatchHello{Name: "side-1", Keys: many(uint64(1), 20_000)}}}, nil},
		{"hello of many", &jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Hello{Hello: &jobwardv1.WatchHello{Name: "a b", Keys: many(uint64(1), 20_001)}}},
			[]string{"hello.name", "hello.keys"}},
		{"forget many", &jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Forget{Forget: &jobwardv1.DroppedKeys{Keys: many(uint64(1), 20_001)}}},
			[]string{"forget.keys"}},
		{"nothing to watch", &jobwardv1.WatchRequest{}, []string{"part"}},
		{"less than none held", &jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Renew{Renew: &jobwardv1.LeaseRenewal{Entries: -1}}}, []string{"renew.entries"}},
		{"access of nobody", &jobwardv1.ReportRequest{Part: &jobwardv1.ReportRequest_Accesses{Accesses: &jobwardv1.AccessBatch{
			Accesses: []*jobwardv1.Access{{Count: 1}, {LastAge: durationpb.New(-1), Reason: 99}}, Dropped: -1}}},
			[]string{"accesses.accesses[1].reason", "accesses.accesses[1].count", "accesses.accesses[1].last_age", "accesses.dropped"}},
		{"receipt of the empty store", &jobwardv1.AwaitReceiptRequest{}, []string{"revision"}},
		{"tail of nothing", &jobwardv1.TailRequest{}, []string{"invalidations"}},
		{"denials and changes", &jobwardv1.ListEventsRequest{DenialsOnly: true, ChangesOnly: true}, []string{"denials_only"}},
		{"request id too long", &jobwardv1.UnblockUserRequest{UserId: 1, RequestId: strings.Repeat("x", 129)}, []string{"request_id"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := validator(t).Validate(c.m)
			if err == nil {
				wantFields(t, nil, c.fields...)
				return
			}
			wantFields(t, AsError(received(t, ToStatus(err))), c.fields...)
		})
	}
}
