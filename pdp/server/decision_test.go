package server

import (
	"testing"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

func TestSmoke(t *testing.T) {
	r := newRig(t)
	tok := r.issue(t, "j1", maintainer)
	out, err := r.decisions.Check(ctx(t), &jobwardv1.CheckRequest{Token: tok, TargetProjectId: lib, Permission: "read_repository"})
	t.Log(out, err)
	out2, err := r.decisions.BatchCheck(ctx(t), &jobwardv1.BatchCheckRequest{Token: tok, Questions: []*jobwardv1.Question{{TargetProjectId: lib, Permission: "read_repository"}, {TargetProjectPath: "acme/closed", Permission: "read_repository"}}})
	t.Log(out2, err)
	rv, err := r.token.Revoke(ctx(t), &jobwardv1.RevokeRequest{JobIds: []string{"j1"}})
	t.Log(rv, err)
	out, err = r.decisions.Check(ctx(t), &jobwardv1.CheckRequest{Token: tok, TargetProjectId: lib, Permission: "read_repository"})
	t.Log(out, err)
	out, err = r.decisions.Check(ctx(t), &jobwardv1.CheckRequest{Token: "", TargetProjectId: lib, Permission: "read_repository"})
	t.Log(out, err)
	st, err := r.directory.GetStatus(ctx(t), &jobwardv1.GetStatusRequest{})
	t.Log(st, err)
}
