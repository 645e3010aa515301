package server

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

const toIn, toOut = jobwardv1.Direction_DIRECTION_INBOUND, jobwardv1.Direction_DIRECTION_OUTBOUND

func TestSettings(t *testing.T) {
	r := newRig(t)
	req := &jobwardv1.UpdateSettingsRequest{
		ProjectId: lib, ActingUserId: maintainer, InboundEnabled: new(false), PushCross: new(true), ExpectedRevision: proto.Uint64(1), RequestId: "q1",
	}
	out, err := r.allowlists.UpdateSettings(ctx(t), req)
	if err != nil || out.Settings.InboundEnabled || out.Settings.InboundEffective || !out.Settings.PushCross || out.Settings.PushSelf || out.Receipt.Revision != uint64(r.head()) {
		t.Fatalf("%v, %v", out, err)
	}
	got, err := r.allowlists.GetAllowlist(ctx(t), &jobwardv1.GetAllowlistRequest{ProjectId: lib, ActingUserId: maintainer})
	if err != nil || !proto.Equal(got.Settings, out.Settings) || got.AllowlistRevision != out.Receipt.Revision || got.InboundProjects != 1 || got.MaxProjects != 200 || got.MaxGroups != 200 {
		t.Errorf("%v, %v", got, err)
	}
	head := r.head()
	if again, err := r.allowlists.UpdateSettings(ctx(t), req); err != nil || r.head() != head || again.Receipt.Revision != out.Receipt.Revision {
		t.Errorf("the same request id: %v, %v", again, err)
	}
	req.RequestId = "q2"
	_, err = r.allowlists.UpdateSettings(ctx(t), req)
	wantError(t, err, codes.Aborted, "REVISION_MISMATCH")
	req.RequestId, req.PushSelf = "q1", new(true)
	_, err = r.allowlists.UpdateSettings(ctx(t), req)
	wantError(t, err, codes.InvalidArgument, "REQUEST_ID_REUSED")

	for user, want := range map[int64]string{dev: "PROJECT_NOT_FOUND", 99: "USER_NOT_ACTIVE"} {
		_, err := r.allowlists.GetAllowlist(ctx(t), &jobwardv1.GetAllowlistRequest{ProjectId: lib, ActingUserId: user})
		if got := oneInfo(t, err).Reason; got != want {
			t.Errorf("user %d: %v; want %s", user, err, want)
		}
	}
	if _, err := r.directory.UpdateInstanceSettings(ctx(t), &jobwardv1.UpdateInstanceSettingsRequest{EnforceInbound: new(true)}); err != nil {
		t.Fatal(err)
	}
	got, err = r.allowlists.GetAllowlist(ctx(t), &jobwardv1.GetAllowlistRequest{ProjectId: lib, ActingUserId: maintainer})
	if err != nil || got.Settings.InboundEnabled || !got.Settings.InboundEffective {
		t.Errorf("%v, %v", got, err)
	}
}

func TestEntries(t *testing.T) {
	r := newRig(t)
	group := &jobwardv1.AllowlistEntry{Scope: &jobwardv1.Scope{GroupId: deep}, Policies: []string{"read_packages", "read_jobs"}}
	add := &jobwardv1.AddEntryRequest{ProjectId: lib, ActingUserId: maintainer, Direction: toIn, Entry: group, ValidateOnly: true}
	before := r.head()
	if out, err := r.allowlists.AddEntry(ctx(t), add); err != nil || out.Receipt.Effective || r.head() != before {
		t.Errorf("validating: %v, %v", out, err)
	}
	add.ValidateOnly = false
	out, err := r.allowlists.AddEntry(ctx(t), add)
	if err != nil || out.Entry.FullPath != "acme/deep" || out.Entry.DefaultPermissions || len(out.Entry.Policies) != 2 || out.Entry.Policies[0] != "read_jobs" {
		t.Fatalf("%v, %v", out, err)
	}
	_, err = r.allowlists.AddEntry(ctx(t), add)
	wantError(t, err, codes.AlreadyExists, "ENTRY_EXISTS")
	add.Entry = &jobwardv1.AllowlistEntry{Scope: &jobwardv1.Scope{GroupId: acme}, Policies: []string{"fly"}}
	_, err = r.allowlists.AddEntry(ctx(t), add)
	wantError(t, err, codes.InvalidArgument, "POLICY_UNKNOWN")

	update := &jobwardv1.UpdateEntryRequest{
		ProjectId: lib, ActingUserId: maintainer, Entry: &jobwardv1.AllowlistEntry{Scope: &jobwardv1.Scope{GroupId: deep}, DefaultPermissions: true},
	}
	if out, err := r.allowlists.UpdateEntry(ctx(t), update); err != nil || !out.Entry.DefaultPermissions || len(out.Entry.Policies) != 0 {
		t.Errorf("%v, %v", out, err)
	}
	update.Entry.Scope = &jobwardv1.Scope{GroupId: acme}
	_, err = r.allowlists.UpdateEntry(ctx(t), update)
	wantError(t, err, codes.NotFound, "ENTRY_NOT_FOUND")

	out, err = r.allowlists.AddEntry(ctx(t), &jobwardv1.AddEntryRequest{
		ProjectId: app, ActingUserId: maintainer, Direction: toOut, Entry: &jobwardv1.AllowlistEntry{Scope: &jobwardv1.Scope{ProjectId: closed}},
	})
	if err != nil || out.Entry.DefaultPermissions {
		t.Errorf("outbound: %v, %v", out, err)
	}
	list := func(req *jobwardv1.ListEntriesRequest, want ...string) {
		t.Helper()
		var got []string
		for {
			page, err := r.allowlists.ListEntries(ctx(t), req)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Entries {
				got = append(got, e.FullPath)
				if e.Implied != (req.Direction == toIn && e.Scope.ProjectId == req.ProjectId) {
					t.Errorf("%v", e)
				}
			}
			if req.PageToken = page.NextPageToken; req.PageToken == "" {
				break
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%v; want %v", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%v; want %v", got, want)
			}
		}
	}
	list(&jobwardv1.ListEntriesRequest{ProjectId: lib, ActingUserId: maintainer, Direction: toIn, PageSize: 1}, "acme/lib", "acme/deep/app", "acme/deep")
	list(&jobwardv1.ListEntriesRequest{ProjectId: app, ActingUserId: maintainer, Direction: toOut}, "acme/closed")

	in, err := r.allowlists.ListListings(ctx(t), &jobwardv1.ListListingsRequest{ProjectId: app, ActingUserId: maintainer, Direction: toIn})
	if err != nil || len(in.Listings) != 2 || in.Listings[0].OwnerPath != "acme/lib" || in.Listings[0].OwnerProjectId != lib {
		t.Errorf("%v, %v", in, err)
	}
	to, err := r.allowlists.ListListings(ctx(t), &jobwardv1.ListListingsRequest{ProjectId: closed, ActingUserId: maintainer, Direction: toOut})
	if err != nil || len(to.Listings) != 1 || to.Listings[0].OwnerProjectId != app {
		t.Errorf("%v, %v", to, err)
	}

	remove := &jobwardv1.RemoveEntryRequest{ProjectId: lib, ActingUserId: maintainer, Direction: toIn, Scope: &jobwardv1.Scope{GroupId: deep}}
	if out, err := r.allowlists.RemoveEntry(ctx(t), remove); err != nil || !out.Receipt.Effective {
		t.Errorf("%v, %v", out, err)
	}
	_, err = r.allowlists.RemoveEntry(ctx(t), remove)
	wantError(t, err, codes.NotFound, "ENTRY_NOT_FOUND")
	remove.Direction = 0
	_, err = r.allowlists.RemoveEntry(ctx(t), remove)
	wantInvalid(t, err, "direction")
}
