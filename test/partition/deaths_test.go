package partition

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// receipted is an answer that has a receipt.
type receipted interface {
	GetReceipt() *jobwardv1.Receipt
}

// TestEveryReceipt takes rights away by every verb that has a receipt, with one sidecar that can be told and one that cannot: after the receipt neither
// allows (P1).
func TestEveryReceipt(t *testing.T) {
	t.Parallel()
	d := startPDP(t, plant{})
	away := startRelay(t, d.at)
	sides := []*side{startSide(t, "told", d.at, plant{}), startSide(t, "away", away.addr(), plant{})}
	const design, alice = 12, 101
	in := jobwardv1.Direction_DIRECTION_INBOUND
	group := &jobwardv1.Scope{GroupId: web}
	for i, c := range []struct {
		name         string
		source, user int64
		do           func(ctx context.Context, c grpc.ClientConnInterface, job, token string) (receipted, error)
	}{
		{"Revoke by token", shop, dana, func(ctx context.Context, c grpc.ClientConnInterface, _, token string) (receipted, error) {
			return jobwardv1.NewTokenServiceClient(c).Revoke(ctx, &jobwardv1.RevokeRequest{Tokens: []string{token}})
		}},
		{"Issue once more", shop, dana, func(ctx context.Context, c grpc.ClientConnInterface, job, _ string) (receipted, error) {
			return jobwardv1.NewTokenServiceClient(c).Issue(ctx, &jobwardv1.IssueRequest{JobId: job, ProjectId: shop, UserId: dana})
		}},
		{"Reconcile", shop, dana, func(ctx context.Context, c grpc.ClientConnInterface, _, _ string) (receipted, error) {
			head, err := jobwardv1.NewDirectoryServiceClient(c).GetStatus(ctx, &jobwardv1.GetStatusRequest{})
			if err != nil {
				return nil, err
			}
			stream, err := jobwardv1.NewTokenServiceClient(c).Reconcile(ctx)
			if err != nil {
				return nil, err
			}
			header := &jobwardv1.ReconcileHeader{AsOfRevision: head.Revision}
			stream.Send(&jobwardv1.ReconcileRequest{Part: &jobwardv1.ReconcileRequest_Header{Header: header}}) // the answer tells
			return stream.CloseAndRecv()
		}},
		{"UpdateEntry", shop, dana, func(ctx context.Context, c grpc.ClientConnInterface, _, _ string) (receipted, error) {
			entry := &jobwardv1.AllowlistEntry{Scope: group, Policies: []string{"read_releases"}}
			return jobwardv1.NewAllowlistServiceClient(c).UpdateEntry(ctx, &jobwardv1.UpdateEntryRequest{ProjectId: api, ActingUserId: erin, Entry: entry})
		}},
		{"RemoveEntry", shop, dana, func(ctx context.Context, c grpc.ClientConnInterface, _, _ string) (receipted, error) {
			return jobwardv1.NewAllowlistServiceClient(c).RemoveEntry(ctx, &jobwardv1.RemoveEntryRequest{ProjectId: api, ActingUserId: erin, Direction: in, Scope: group})
		}},
		{"BlockUser", shop, alice, func(ctx context.Context, c grpc.ClientConnInterface, _, _ string) (receipted, error) {
			return jobwardv1.NewDirectoryServiceClient(c).BlockUser(ctx, &jobwardv1.BlockUserRequest{UserId: alice, State: jobwardv1.UserState_USER_STATE_BLOCKED})
		}},
		{"BeginProjectDeletion of the source", design, dana, func(ctx context.Context, c grpc.ClientConnInterface, _, _ string) (receipted, error) {
			return jobwardv1.NewDirectoryServiceClient(c).BeginProjectDeletion(ctx, &jobwardv1.BeginProjectDeletionRequest{ProjectId: design})
		}},
		{"ApplyChanges to a membership", shop, dana, func(ctx context.Context, c grpc.ClientConnInterface, _, _ string) (receipted, error) {
			key := &jobwardv1.MembershipKey{UserId: dana, Scope: &jobwardv1.Scope{GroupId: 3}}
			change := &jobwardv1.Change{Change: &jobwardv1.Change_RemoveMembership{RemoveMembership: key}}
			return jobwardv1.NewDirectoryServiceClient(c).ApplyChanges(ctx, &jobwardv1.ApplyChangesRequest{Changes: []*jobwardv1.Change{change}})
		}},
		{"BeginProjectDeletion of the target", shop, erin, func(ctx context.Context, c grpc.ClientConnInterface, _, _ string) (receipted, error) {
			return jobwardv1.NewDirectoryServiceClient(c).BeginProjectDeletion(ctx, &jobwardv1.BeginProjectDeletionRequest{ProjectId: api})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			// What the cases before have done to the list is undone.
			lists := jobwardv1.NewAllowlistServiceClient(d.conn)
			lists.RemoveEntry(ctx, &jobwardv1.RemoveEntryRequest{ProjectId: api, ActingUserId: erin, Direction: in, Scope: group}) // it may not be there
			entry := &jobwardv1.AllowlistEntry{Scope: group, DefaultPermissions: true}
			if _, err := lists.AddEntry(ctx, &jobwardv1.AddEntryRequest{ProjectId: api, ActingUserId: erin, Direction: in, Entry: entry}); err != nil {
				t.Fatal(err)
			}
			job := fmt.Sprint("job-", i)
			resp, err := jobwardv1.NewTokenServiceClient(d.conn).Issue(ctx, &jobwardv1.IssueRequest{JobId: job, ProjectId: c.source, UserId: c.user})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range sides {
				s.holds(resp.Token)
			}
			away.stall()
			defer away.heal()
			out, err := c.do(ctx, d.conn, job, resp.Token)
			if err != nil {
				t.Fatal(err)
			}
			if r := out.GetReceipt(); !r.GetEffective() || r.Acknowledged+r.Lapsed == 0 {
				t.Errorf("the receipt: %v", r)
			} else {
				t.Log(r)
			}
			for _, s := range sides {
				if answer, err := s.ask(resp.Token); err == nil && answer.Allow {
					t.Errorf("%s allows after the receipt: %v", s.name, answer)
				}
			}
		})
	}
}
