package hot

import (
	"testing"

	"google.golang.org/protobuf/proto"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// mostSyncRecords is how many records of a kind one message of SyncWorld can hold; package server has the bound.
const mostSyncRecords = 5000

// TestPartsOfGoodMessages: the largest messages that the API promises to take have
// fewer parts than the bound.
func TestPartsOfGoodMessages(t *testing.T) {
	sync, ids := &jobwardv1.SyncRecords{}, &jobwardv1.JobIds{}
	for i := range mostSyncRecords {
		p := &jobwardv1.Project{ProjectId: int64(i + 1), Name: "p"}
		for f := range int32(len(jobwardv1.Feature_name) - 1) {
			p.Features = append(p.Features, &jobwardv1.FeatureSetting{Feature: jobwardv1.Feature(f + 1), Level: 2})
		}
		sync.Projects = append(sync.Projects, p)
		sync.Groups = append(sync.Groups, &jobwardv1.Group{GroupId: 1})
		sync.Users = append(sync.Users, &jobwardv1.User{UserId: 1})
		sync.Memberships = append(sync.Memberships, &jobwardv1.Membership{UserId: 1, Scope: &jobwardv1.Scope{GroupId: 1}})
	}
	for range 10_000 {
		ids.JobIds = append(ids.JobIds, "j")
	}
	for _, m := range []proto.Message{
		&jobwardv1.SyncWorldRequest{Part: &jobwardv1.SyncWorldRequest_Records{Records: sync}},
		&jobwardv1.ReconcileRequest{Part: &jobwardv1.ReconcileRequest_Running{Running: ids}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if left := countParts(m.ProtoReflect().Descriptor(), b, maxParts); left < maxParts/5 {
			t.Errorf("%T: %d parts are left", m, left)
		}
	}
	// Everything counted: two changes, a project and a feature, a scope in a membership.
	b, err := proto.Marshal(&jobwardv1.ApplyChangesRequest{Changes: []*jobwardv1.Change{
		{Change: &jobwardv1.Change_SetProject{SetProject: &jobwardv1.Project{Features: []*jobwardv1.FeatureSetting{{Feature: 1}}}}},
		{Change: &jobwardv1.Change_SetMembership{SetMembership: &jobwardv1.Membership{Scope: &jobwardv1.Scope{ProjectId: 1}}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	d := (&jobwardv1.ApplyChangesRequest{}).ProtoReflect().Descriptor()
	if left := countParts(d, b, 10); left != 10-6 {
		t.Errorf("%d are left; want 4", left)
	}
	if left := countParts(d, b, 3); left >= 0 {
		t.Errorf("%d are left; want too many", left)
	}
}
