package server

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// receipts is what a verb answers with, and asks with.
type receipts interface{ GetReceipt() *jobwardv1.Receipt }

func receiptOf(out receipts, err error) (*jobwardv1.Receipt, error) { return out.GetReceipt(), err }

// verb is one change of something that the rig's holder believes, with the wait that is
// asked for.
type verb struct {
	method string
	user   int64 // whose job is believed in; the maintainer's without one
	before func(ctx context.Context) error
	do     func(ctx context.Context, wait jobwardv1.ReceiptWait) (*jobwardv1.Receipt, error)
}

// verbs are all methods with a receipt_wait, in an order in which each changes something.
func (r *rig) verbs() []verb {
	off, strict := false, jobwardv1.PublicScope_PUBLIC_SCOPE_STRICT
	scope := &jobwardv1.Scope{ProjectId: app}
	type wait = jobwardv1.ReceiptWait
	change := func(c *jobwardv1.Change) verb {
		return verb{method: "ApplyChanges", do: func(ctx context.Context, w wait) (*jobwardv1.Receipt, error) {
			return receiptOf(r.directory.ApplyChanges(ctx, &jobwardv1.ApplyChangesRequest{Changes: []*jobwardv1.Change{c}, ReceiptWait: w}))
		}}
	}
	return []verb{
		{method: "Issue", do: func(ctx context.Context, w wait) (*jobwardv1.Receipt, error) { // replaces
			return receiptOf(r.token.Issue(ctx, &jobwardv1.IssueRequest{JobId: "job-Issue", ProjectId: app, UserId: maintainer, ReceiptWait: w}))
		}},
		{method: "Revoke", do: func(ctx context.Context, w wait) (*jobwardv1.Receipt, error) {
			return receiptOf(r.token.Revoke(ctx, &jobwardv1.RevokeRequest{JobIds: []string{"job-Revoke"}, ReceiptWait: w}))
		}},
		{method: "UpdateEntry", do: func(ctx context.Context, w wait) (*jobwardv1.Receipt, error) {
			return receiptOf(r.allowlists.UpdateEntry(ctx, &jobwardv1.UpdateEntryRequest{ProjectId: lib, ActingUserId: maintainer, ReceiptWait: w,
				Entry: &jobwardv1.AllowlistEntry{Scope: scope, Policies: []string{"read_packages"}}}))
		}},
		{method: "RemoveEntry", do: func(ctx context.Context, w wait) (*jobwardv1.Receipt, error) {
			return receiptOf(r.allowlists.RemoveEntry(ctx, &jobwardv1.RemoveEntryRequest{ProjectId: lib, ActingUserId: maintainer, Direction: 1, Scope: scope, ReceiptWait: w}))
		}},
		{method: "AddEntry", do: func(ctx context.Context, w wait) (*jobwardv1.Receipt, error) {
			return receiptOf(r.allowlists.AddEntry(ctx, &jobwardv1.AddEntryRequest{ProjectId: lib, ActingUserId: maintainer, Direction: 1, ReceiptWait: w,
				Entry: &jobwardv1.AllowlistEntry{Scope: scope, DefaultPermissions: true}}))
		}},
		{method: "UpdateSettings", do: func(ctx context.Context, w wait) (*jobwardv1.Receipt, error) {
			return receiptOf(r.allowlists.UpdateSettings(ctx, &jobwardv1.UpdateSettingsRequest{ProjectId: lib, ActingUserId: maintainer, InboundEnabled: &off, ReceiptWait: w}))
		}},
		change(&jobwardv1.Change{Change: &jobwardv1.Change_SetMembership{SetMembership: &jobwardv1.Membership{
			UserId: maintainer, Scope: &jobwardv1.Scope{GroupId: acme}, Role: jobwardv1.Role_ROLE_OWNER}}}),
		change(&jobwardv1.Change{Change: &jobwardv1.Change_SetGroup{SetGroup: &jobwardv1.Group{GroupId: acme, Name: "acme2"}}}),
		change(&jobwardv1.Change{Change: &jobwardv1.Change_SetProject{SetProject: &jobwardv1.Project{ProjectId: lib, GroupId: acme, Name: "lib", PublicBuilds: true, ReadOnly: true}}}),
		{method: "UpdateInstanceSettings", do: func(ctx context.Context, w wait) (*jobwardv1.Receipt, error) {
			return receiptOf(r.directory.UpdateInstanceSettings(ctx, &jobwardv1.UpdateInstanceSettingsRequest{ActingUserId: admin, PublicScope: &strict, ReceiptWait: w}))
		}},
		{method: "UpdateCatalogue", do: func(ctx context.Context, w wait) (*jobwardv1.Receipt, error) {
			return receiptOf(r.directory.UpdateCatalogue(ctx, &jobwardv1.UpdateCatalogueRequest{Document: []byte(`{"policies":[],"permissions":[]}`), ReceiptWait: w}))
		}},
		{method: "Reconcile", do: func(ctx context.Context, w wait) (*jobwardv1.Receipt, error) {
			stream, err := r.token.Reconcile(ctx)
			if err != nil {
				return nil, err
			}
			stream.Send(&jobwardv1.ReconcileRequest{Part: &jobwardv1.ReconcileRequest_Header{Header: &jobwardv1.ReconcileHeader{AsOfRevision: uint64(r.head()), ReceiptWait: w}}})
			return receiptOf(stream.CloseAndRecv())
		}},
		{method: "BlockUser", user: dev, do: func(ctx context.Context, w wait) (*jobwardv1.Receipt, error) {
			return receiptOf(r.directory.BlockUser(ctx, &jobwardv1.BlockUserRequest{UserId: dev, ReceiptWait: w}))
		}},
		{method: "UnblockUser", user: admin, before: func(ctx context.Context) error {
			_, err := r.directory.BlockUser(ctx, &jobwardv1.BlockUserRequest{UserId: admin})
			return err
		}, do: func(ctx context.Context, w wait) (*jobwardv1.Receipt, error) {
			return receiptOf(r.directory.UnblockUser(ctx, &jobwardv1.UnblockUserRequest{UserId: admin, ReceiptWait: w}))
		}},
		{method: "BeginProjectDeletion", do: func(ctx context.Context, w wait) (*jobwardv1.Receipt, error) {
			return receiptOf(r.directory.BeginProjectDeletion(ctx, &jobwardv1.BeginProjectDeletionRequest{ProjectId: lib, ReceiptWait: w}))
		}},
		{method: "FinishProjectDeletion", do: func(ctx context.Context, w wait) (*jobwardv1.Receipt, error) {
			return receiptOf(r.directory.FinishProjectDeletion(ctx, &jobwardv1.FinishProjectDeletionRequest{ProjectId: lib, ReceiptWait: w}))
		}},
		{method: "SyncWorld", do: func(ctx context.Context, w wait) (*jobwardv1.Receipt, error) { // a world with nothing in it
			stream, err := r.directory.SyncWorld(ctx)
			if err != nil {
				return nil, err
			}
			stream.Send(&jobwardv1.SyncWorldRequest{Part: &jobwardv1.SyncWorldRequest_Header{Header: &jobwardv1.SyncHeader{AsOfRevision: uint64(r.head()), ReceiptWait: w}}})
			return receiptOf(stream.CloseAndRecv())
		}},
	}
}

// believe makes the holder believe in a job of the verb's user, by the path and by the id
// of its target, so that it rests on all that there is.
func (v *verb) believe(t *testing.T, r *rig, h *holder, i int) {
	t.Helper()
	job := "job-" + v.method
	if v.method == "ApplyChanges" {
		job += string(rune('a' + i))
	}
	user := v.user
	if user == 0 {
		user = maintainer
	}
	out, err := r.token.Issue(ctx(t), &jobwardv1.IssueRequest{JobId: job, ProjectId: app, UserId: user})
	if err != nil || !out.Receipt.Effective || out.Receipt.Acknowledged != 0 {
		t.Fatalf("%s: a first token: %v, %v", v.method, out.GetReceipt(), err)
	}
	if v.before != nil {
		if err := v.before(ctx(t)); err != nil {
			t.Fatalf("%s: %v", v.method, err)
		}
	}
	for _, q := range []*jobwardv1.CheckRequest{{TargetProjectPath: "acme/lib"}, {TargetProjectId: lib}} {
		q.Token, q.Permission, q.Generation = out.Token, "read_repository", h.welcome.GetGeneration()
		d, err := r.decisions.Check(ctx(t), q)
		if err != nil || d.Decision.AnswerNumber == 0 {
			t.Fatalf("%s: %v, %v", v.method, d, err)
		}
	}
}

// TestEveryChangeHasAReceipt: whatever takes a right away waits for whoever believes in
// it (P1), and a job's first token for nobody.
func TestEveryChangeHasAReceipt(t *testing.T) {
	r := termRig(t, 30*time.Second)
	h := join(t, r.conn, &jobwardv1.WatchHello{})
	for i, v := range r.verbs() {
		v.believe(t, r, h, i)
		got, err := v.do(ctx(t), jobwardv1.ReceiptWait_RECEIPT_WAIT_UNSPECIFIED)
		if err != nil || !got.GetEffective() || got.GetAcknowledged() < 1 || got.GetPending()+got.GetLapsed() != 0 {
			t.Errorf("%s: %v, %v", v.method, got, err)
		}
	}
}

// TestReceiptWait: every verb waits as long as it is asked to. With durable it comes back
// at once and says that it is not effective; with effective it says so when the deadline
// comes first, and the change is made all the same.
func TestReceiptWait(t *testing.T) {
	const near = 400 * time.Millisecond
	for name, c := range map[string]struct {
		wait        jobwardv1.ReceiptWait
		within      time.Duration
		least, most time.Duration
	}{
		"durable":   {durable, 20 * time.Second, 0, 10 * time.Second},
		"effective": {effective, near, near / 2, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			r := termRig(t, 30*time.Second)
			h := join(t, r.conn, &jobwardv1.WatchHello{})
			for i, v := range r.verbs() {
				v.believe(t, r, h, i)
				h.loud(false)
				short, cancel := context.WithTimeout(context.Background(), c.within)
				began := time.Now()
				got, err := v.do(short, c.wait)
				took := time.Since(began)
				cancel()
				if err != nil || got.GetEffective() || got.GetPending() < 1 || got.GetAcknowledged()+got.GetLapsed() != 0 || took < c.least || took > c.most {
					t.Errorf("%s: %v, %v after %v", v.method, got, err, took)
					return
				}
				if got.GetRevision() == 0 || got.GetRevision() > uint64(r.head()) {
					t.Errorf("%s: at revision %d", v.method, got.GetRevision())
				}
				h.ack(h.invalidated(got.GetRevision()).GetRevision())
				h.loud(true)
			}
		})
	}
}

// TestReceiptWaitEverywhere: the verbs above are all that there are.
func TestReceiptWaitEverywhere(t *testing.T) {
	known := map[string]bool{}
	for _, v := range (&rig{}).verbs() {
		known[v.method] = true
	}
	n := 0
	protoregistry.GlobalFiles.RangeFilesByPackage("jobward.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				if !waits(m.Input()) {
					continue
				}
				n++
				if !known[string(m.Name())] {
					t.Errorf("%s waits for receipts, and no test looks at it: add it to verbs", m.FullName())
				}
			}
		}
		return true
	})
	if n != len(known) {
		t.Errorf("%d methods wait, and verbs has %d", n, len(known))
	}
}

// waits reports whether a request, or the header of a stream, has a receipt_wait.
func waits(m protoreflect.MessageDescriptor) bool {
	if m.Fields().ByName("receipt_wait") != nil {
		return true
	}
	header := m.Fields().ByName("header")
	return header != nil && header.Message() != nil && waits(header.Message())
}
