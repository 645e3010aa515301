package wire

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/pdp/authz"
)

// full has something in every field.
func full() authz.Decision {
	return authz.Decision{
		Reason: authz.FeatureMembersOnly, Revision: 1 << 60, ValidFor: 90*time.Second + 7,
		Job: "job-1", Source: 2, User: 3, Target: authz.MaxID,
		Entry: authz.InGroup(5), Role: authz.RoleGuest, RoleScope: authz.InProject(6), Need: authz.RoleReporter,
		Feature: authz.FeatureInfrastructure, Missing: []string{"read_packages", "admin_jobs"},
		Keys:   []authz.Key{authz.TheInstance, authz.JobKey("job-1"), authz.ProjectKey(2)},
		Number: 1 << 50, Cached: true,
	}
}

// TestDecisionHasAllFields fails when authz.Decision or the message gets a field that
// this package does not carry.
func TestDecisionHasAllFields(t *testing.T) {
	d := full()
	allow := full()
	allow.Allow, allow.Reason = true, authz.AllowedListed
	v := reflect.ValueOf(d)
	for i := range v.NumField() {
		if f := v.Type().Field(i).Name; v.Field(i).IsZero() && f != "Allow" {
			t.Errorf("the test's decision has nothing in %s", f)
		}
	}
	m := DecisionToProto(&d, "id-1").ProtoReflect()
	for i := range m.Descriptor().Fields().Len() {
		if f := m.Descriptor().Fields().Get(i); !m.Has(f) && f.Name() != "allow" {
			t.Errorf("the message has nothing in %s", f.Name())
		}
	}
	if a := DecisionToProto(&allow, ""); !a.Allow {
		t.Error("an allow does not become one")
	}
}

// TestDecisionRoundTrip takes every reason, role, feature and scope through bytes.
func TestDecisionRoundTrip(t *testing.T) {
	var all []authz.Decision
	for r := range authz.NumReasons {
		d := full()
		d.Reason = authz.Reason(r)
		d.Allow = d.Reason.Allows()
		if d.Reason != authz.FeatureIsDisabled && d.Reason != authz.FeatureMembersOnly {
			d.Feature = 0
		}
		all = append(all, d)
	}
	for f := range authz.NumFeatures {
		d := full()
		d.Feature = authz.Feature(f)
		all = append(all, d)
	}
	for _, role := range []authz.Role{0, 5, 10, 15, 20, 25, 30, 40, 50} {
		all = append(all, authz.Decision{Reason: authz.RoleTooLow, Role: role, Need: authz.RoleOwner})
	}
	for _, want := range all[1:] { // the first has no reason
		raw, err := proto.Marshal(DecisionToProto(&want, "id"))
		if err != nil {
			t.Fatal(err)
		}
		m := &jobwardv1.Decision{}
		if err := proto.Unmarshal(raw, m); err != nil {
			t.Fatal(err)
		}
		if got, err := DecisionFromProto(m); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v comes back as\n%+v, %v; want\n%+v", want.Reason, got, err, want)
		}
	}
}

// TestFillForgets: memory that is used again shows nothing of the decision before.
func TestFillForgets(t *testing.T) {
	d, empty := full(), authz.Decision{Reason: authz.TokenUnknown}
	var a answer
	a.fill(&d, "before", nil)
	a.fill(&empty, "", nil)
	if want := DecisionToProto(&empty, ""); !proto.Equal(&a.msg, want) {
		t.Errorf("what is left is %v; want %v", &a.msg, want)
	}
	d.Entry, d.RoleScope = d.RoleScope, d.Entry
	a.fill(&d, "", nil)
	if want := DecisionToProto(&d, ""); !proto.Equal(&a.msg, want) {
		t.Errorf("with the scopes exchanged it is %v; want %v", &a.msg, want)
	}
	a.fill(&empty, "", nil)
	a.msg.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if f.Name() != "reason" {
			t.Errorf("%s is still set", f.Name())
		}
		return true
	})
}

// TestAnswers: messages keep their own contents, more than room was made for, and over
// several rounds.
func TestAnswers(t *testing.T) {
	var a Answers
	for round := range 3 {
		a.Reset(4)
		var want []*jobwardv1.Decision
		for i := range 20 {
			d := full()
			d.User = authz.UserID(100*round + i + 1)
			d.Keys = nil
			for k := range i {
				d.Keys = append(d.Keys, authz.ProjectKey(authz.ProjectID(k+1)))
			}
			id := fmt.Sprint(i)
			a.Add(&d, id)
			want = append(want, DecisionToProto(&d, id))
		}
		for i, got := range a.Decisions() {
			if !proto.Equal(got, want[i]) {
				t.Errorf("round %d, answer %d is %v; want %v", round, i, got, want[i])
			}
		}
		if len(a.Decisions()) != len(want) {
			t.Errorf("%d answers; want %d", len(a.Decisions()), len(want))
		}
	}
}

// TestKeysAreNotShared: appending to the keys of one answer does not reach the next.
func TestKeysAreNotShared(t *testing.T) {
	var a Answers
	d := full()
	a.Reset(9)
	for range 9 { // so that there is room behind the first keys of the next round
		a.Add(&d, "")
	}
	a.Reset(2)
	a.Add(&d, "")
	a.Add(&d, "")
	first, second := a.Decisions()[0], a.Decisions()[1]
	first.DependencyKeys = append(first.DependencyKeys, 99)
	if second.DependencyKeys[0] != uint64(d.Keys[0]) {
		t.Error("the second answer's keys changed")
	}
	d.Keys[0] = 0
	if second.DependencyKeys[0] == 0 {
		t.Error("the message rests on the caller's keys")
	}
}

// TestDecisionAllocations: one for an answer, none in a stream that is warm.
func TestDecisionAllocations(t *testing.T) {
	d := full()
	var sink *jobwardv1.CheckResponse
	if n := testing.AllocsPerRun(100, func() { sink = CheckResponse(&d, "id") }); n != 1 {
		t.Errorf("CheckResponse: %v allocations", n)
	}
	_ = sink
	var a Answers
	if n := testing.AllocsPerRun(100, func() {
		a.Reset(64)
		for range 64 {
			a.Add(&d, "id")
		}
	}); n != 0 {
		t.Errorf("a warm Answers: %v allocations", n)
	}
}

// TestDecisionFromProtoRefuses: nothing doubtful becomes an allow, or an answer at all.
func TestDecisionFromProtoRefuses(t *testing.T) {
	base := full()
	for name, change := range map[string]func(*jobwardv1.Decision){
		"no reason":               func(m *jobwardv1.Decision) { m.Reason = 0 },
		"allow without a reason":  func(m *jobwardv1.Decision) { m.Reason, m.Allow = 0, true },
		"allow for a refusal":     func(m *jobwardv1.Decision) { m.Allow = true },
		"refusal for an allow":    func(m *jobwardv1.Decision) { m.Reason = jobwardv1.Reason_REASON_ALLOWED_SELF },
		"a reason to come":        func(m *jobwardv1.Decision) { m.Reason = jobwardv1.Reason(authz.NumReasons) },
		"an allow to come":        func(m *jobwardv1.Decision) { m.Reason, m.Allow = jobwardv1.Reason(authz.NumReasons), true },
		"a reason that wraps":     func(m *jobwardv1.Decision) { m.Reason, m.Allow = 256+jobwardv1.Reason_REASON_ALLOWED_SELF, true },
		"a negative reason":       func(m *jobwardv1.Decision) { m.Reason = -1 },
		"an unknown role":         func(m *jobwardv1.Decision) { m.Role = 33 },
		"an unknown needed role":  func(m *jobwardv1.Decision) { m.NeededRole = 256 },
		"an unknown feature":      func(m *jobwardv1.Decision) { m.Feature = 99 },
		"no feature":              func(m *jobwardv1.Decision) { m.Feature = 0 },
		"an entry for two":        func(m *jobwardv1.Decision) { m.Entry = &jobwardv1.Scope{ProjectId: 1, GroupId: 1} },
		"a role scope of nothing": func(m *jobwardv1.Decision) { m.RoleScope = &jobwardv1.Scope{} },
	} {
		m := DecisionToProto(&base, "")
		change(m)
		if d, err := DecisionFromProto(m); err == nil || d.Allow {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	if _, err := DecisionFromProto(nil); err == nil {
		t.Error("no decision at all is accepted")
	}
}

func BenchmarkCheckResponse(b *testing.B) {
	d := full()
	b.ReportAllocs()
	for b.Loop() {
		CheckResponse(&d, "id")
	}
}

func BenchmarkAnswers100(b *testing.B) {
	d := full()
	var a Answers
	b.ReportAllocs()
	for b.Loop() {
		a.Reset(100)
		for range 100 {
			a.Add(&d, "id")
		}
	}
}
