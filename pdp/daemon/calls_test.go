package daemon

import (
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// Ids of the sample world.
const (
	shop      = 11
	api       = 14
	deploy    = 15
	warehouse = 16
	dana      = 102
	mallory   = 105
)

// issue gives dana's job in the shop a token.
func issue(t *testing.T, c grpc.ClientConnInterface, job string) string {
	t.Helper()
	resp, err := jobwardv1.NewTokenServiceClient(c).Issue(t.Context(), &jobwardv1.IssueRequest{
		JobId: job, ProjectId: shop, UserId: dana, Timeout: durationpb.New(3600e9),
	})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Token
}

func revoke(t *testing.T, c grpc.ClientConnInterface, job string) {
	t.Helper()
	_, err := jobwardv1.NewTokenServiceClient(c).Revoke(t.Context(), &jobwardv1.RevokeRequest{JobIds: []string{job}})
	if err != nil {
		t.Fatal(err)
	}
}

// check asks whether the token may do something and gives the reason's name, in lower case.
func check(t *testing.T, c grpc.ClientConnInterface, token string, target int64, permission string) string {
	t.Helper()
	resp, err := jobwardv1.NewDecisionServiceClient(c).Check(t.Context(), &jobwardv1.CheckRequest{
		Token: token, TargetProjectId: target, Permission: permission,
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.ToLower(strings.TrimPrefix(resp.Decision.Reason.String(), "REASON_"))
}

// TestSampleWorld gets the answers that the sample world was made to give.
func TestSampleWorld(t *testing.T) {
	l := runLocal(t, nil, small(t.TempDir(), nil)...)
	c := dial(t, l.GRPC[0].String())
	token := issue(t, c, "job-1")
	for _, q := range []struct {
		target     int64
		permission string
		want       string
	}{
		{shop, "download_code", "allowed_self"},
		{shop, "push_code", "allowed_self"},
		{api, "read_packages", "allowed_listed"},
		{api, "create_package", "role_too_low"},
		{deploy, "read_packages", "allowed_listed"},
		{deploy, "read_job_artifacts", "policy_missing"},
		{warehouse, "read_packages", "inbound_not_listed"},
		{13, "download_code", "allowed_open"},
		{12, "download_code", "allowed_open"},
		{18, "download_code", "inbound_not_listed"},
		{99, "download_code", "target_not_found"},
	} {
		if got := check(t, c, token, q.target, q.permission); got != q.want {
			t.Errorf("%s on %d: %s, want %s", q.permission, q.target, got, q.want)
		}
	}
	for _, u := range []int64{mallory, 999} {
		_, err := jobwardv1.NewTokenServiceClient(c).Issue(t.Context(), &jobwardv1.IssueRequest{JobId: "x", ProjectId: shop, UserId: u})
		if err == nil {
			t.Errorf("user %d got a token", u)
		}
	}
	outbound, err := jobwardv1.NewTokenServiceClient(c).Issue(t.Context(), &jobwardv1.IssueRequest{JobId: "job-2", ProjectId: 17, UserId: 103})
	if err != nil {
		t.Fatal(err)
	}
	if got := check(t, c, outbound.Token, api, "read_packages"); got != "outbound_not_listed" {
		t.Errorf("out of the pipelines: %s", got)
	}
	revoke(t, c, "job-1")
	if got := check(t, c, token, shop, "download_code"); got != "job_not_running" {
		t.Errorf("after the revocation: %s", got)
	}
	for _, secret := range []string{token, outbound.Token} {
		if strings.Contains(l.log.String()+l.out.String(), secret) {
			t.Error("a token is in the output")
		}
	}
}
