package wire

import (
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/pdp/authz"
)

// pair is one enum on both sides, its conversions reduced to numbers.
type pair struct {
	desc protoreflect.EnumDescriptor
	// name gives the authz name of a number, and whether authz declares it.
	name func(n int) (string, bool)
	to   func(n int) int32
	from func(p int32) (int, bool)
	// unspecified is what UNSPECIFIED gives: a default, or -1 for nothing.
	unspecified int
}

func numbers[A ~uint8, P ~int32](to func(A) P, from func(P) (A, bool)) (func(int) int32, func(int32) (int, bool)) {
	return func(n int) int32 { return int32(to(A(n))) },
		func(p int32) (int, bool) { a, ok := from(P(p)); return int(a), ok }
}

// names tells a declared value by its having a name that parses back.
func names[A interface {
	~uint8
	String() string
}](parse func(string) (A, error)) func(int) (string, bool) {
	return func(n int) (string, bool) {
		s := A(n).String()
		back, err := parse(s)
		return s, err == nil && back == A(n)
	}
}

func pairs() map[string]pair {
	all := map[string]pair{}
	add := func(e protoreflect.Enum, name func(int) (string, bool), unspecified int) func(func(int) int32, func(int32) (int, bool)) {
		return func(to func(int) int32, from func(int32) (int, bool)) {
			d := e.Descriptor()
			all[string(d.Name())] = pair{d, name, to, from, unspecified}
		}
	}
	reason := func(n int) (string, bool) { return authz.Reason(n).String(), n < authz.NumReasons }
	add(jobwardv1.Reason(0), reason, 0)(numbers(ReasonToProto, ReasonFromProto))
	add(jobwardv1.Role(0), names(authz.ParseRole), 0)(numbers(RoleToProto, RoleFromProto))
	add(jobwardv1.Surface(0), names(authz.ParseSurface), 0)(numbers(SurfaceToProto, SurfaceFromProto))
	add(jobwardv1.Visibility(0), names(authz.ParseVisibility), 0)(numbers(VisibilityToProto, VisibilityFromProto))
	add(jobwardv1.ProjectState(0), names(authz.ParseProjectState), 0)(numbers(ProjectStateToProto, ProjectStateFromProto))
	add(jobwardv1.UserState(0), names(authz.ParseUserState), 0)(numbers(UserStateToProto, UserStateFromProto))
	add(jobwardv1.JobStatus(0), names(authz.ParseJobStatus), 0)(numbers(JobStatusToProto, JobStatusFromProto))
	add(jobwardv1.Feature(0), names(authz.ParseFeature), -1)(numbers(FeatureToProto, FeatureFromProto))
	add(jobwardv1.FeatureLevel(0), names(authz.ParseFeatureLevel), 0)(numbers(FeatureLevelToProto, FeatureLevelFromProto))
	add(jobwardv1.PublicScope(0), names(authz.ParsePublicScope), -1)(numbers(PublicScopeToProto, PublicScopeFromProto))
	return all
}

// TestEnums walks both sides: every authz value has a wire value of the same name that
// comes back as itself, and every wire value is one of those or UNSPECIFIED.
func TestEnums(t *testing.T) {
	for enum, p := range pairs() {
		t.Run(enum, func(t *testing.T) {
			hit := map[int32]bool{0: true}
			for n := range 256 {
				name, ok := p.name(n)
				if !ok {
					continue
				}
				num := p.to(n)
				v := p.desc.Values().ByNumber(protoreflect.EnumNumber(num))
				if v == nil {
					t.Errorf("%s (%d) becomes %d, which the API does not declare", name, n, num)
					continue
				}
				if num == 0 {
					if n != 0 || p.unspecified != 0 {
						t.Errorf("%s (%d) becomes UNSPECIFIED", name, n)
					}
				} else if got := strings.ToLower(strings.TrimPrefix(string(v.Name()), prefixOf(p.desc))); got != name {
					t.Errorf("%s becomes %s", name, v.Name())
				}
				if back, ok := p.from(num); !ok || back != n {
					t.Errorf("%s (%d) comes back as %d, %t", name, n, back, ok)
				}
				hit[num] = true
			}
			for i := range p.desc.Values().Len() {
				v := p.desc.Values().Get(i)
				if !hit[int32(v.Number())] {
					t.Errorf("authz has nothing for %s", v.Name())
				}
			}
			if got, ok := p.from(0); ok != (p.unspecified >= 0) || ok && got != p.unspecified {
				t.Errorf("UNSPECIFIED gives %d, %t; want %d", got, ok, p.unspecified)
			}
		})
	}
}

// TestEnumsUndeclared offers numbers that a hostile or newer peer could send.
func TestEnumsUndeclared(t *testing.T) {
	for enum, p := range pairs() {
		for _, num := range []int32{-1, math.MinInt32, 7, 11, 99, 255, 256, 257, 266, 1 << 16, math.MaxInt32} {
			declared := p.desc.Values().ByNumber(protoreflect.EnumNumber(num)) != nil
			if _, ok := p.from(num); ok != declared {
				t.Errorf("%s %d is accepted: %t; declared: %t", enum, num, ok, declared)
			}
		}
	}
}

// TestEnumsAll fails when types.proto gets an enum that this package does not know.
func TestEnumsAll(t *testing.T) {
	known := pairs()
	known["Outcome"], known["ReceiptWait"], known["ReplicaOutcome"] = pair{}, pair{}, pair{} // the engine's and the replicas' own words
	enums := jobwardv1.File_jobward_v1_types_proto.Enums()
	for i := range enums.Len() {
		name := string(enums.Get(i).Name())
		if _, ok := known[name]; !ok {
			t.Errorf("enum %s has no conversions", name)
		}
	}
}

// prefixOf gives "JOB_STATUS_" for JobStatus, as buf lint has it.
func prefixOf(d protoreflect.EnumDescriptor) string {
	return strings.TrimSuffix(string(d.Values().ByNumber(0).Name()), "UNSPECIFIED")
}

func TestScope(t *testing.T) {
	for _, s := range []authz.Scope{{}, authz.InProject(1), authz.InGroup(authz.MaxID)} {
		if back, ok := ScopeFromProto(ScopeToProto(s)); !ok || back != s {
			t.Errorf("%v comes back as %v, %t", s, back, ok)
		}
	}
	for _, p := range []*jobwardv1.Scope{
		{}, {ProjectId: 1, GroupId: 1}, {ProjectId: -1}, {GroupId: authz.MaxID + 1}, {ProjectId: math.MinInt64}, {ProjectId: 1, GroupId: -1},
	} {
		if s, ok := ScopeFromProto(p); ok {
			t.Errorf("%v is taken for %v", p, s)
		}
	}
}

func TestStamp(t *testing.T) {
	for _, s := range []authz.Stamp{0, 1, authz.StampOf(time.Date(2026, 11, 23, 3, 0, 0, 123456789, time.UTC)), 9223372035 * 1e9} {
		if back, ok := StampFromProto(StampToProto(s)); !ok || back != s {
			t.Errorf("%d comes back as %d, %t", s, back, ok)
		}
	}
	for _, p := range []*timestamppb.Timestamp{
		{Seconds: -1}, {Nanos: -1}, {Nanos: 1e9}, {Seconds: math.MaxInt64}, {Seconds: math.MinInt64}, {Seconds: 9223372036}, {Seconds: 253402300799},
	} {
		if s, ok := StampFromProto(p); ok {
			t.Errorf("%v is taken for %d", p, s)
		}
	}
	if d := DurationToProto(0); d != nil {
		t.Errorf("no duration becomes %v", d)
	}
	if d := DurationToProto(1500 * time.Millisecond); d.AsDuration() != 1500*time.Millisecond {
		t.Errorf("1.5s becomes %v", d)
	}
}
