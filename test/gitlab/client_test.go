package gitlab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/test/certs"
	"github.com/jobward/jobward/test/files"
	"github.com/jobward/jobward/test/programs"
)

// call is what the program in client reads, and result what it prints; its comments say more.
type (
	call struct {
		Method        string
		Key, Job      string
		Bearer        bool
		Sudo, Path    string
		ID            int64
		Target        *int64
		On            bool
		Page, PerPage int64
	}
	result struct {
		Status             int
		Error              string
		NotFound           bool
		Value              json.RawMessage
		Next, Total, Pages int64
		Receipt            string
	}
)

// build builds the program from its module. Where that module cannot be had the test is skipped.
func build(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"main.go", "go.mod", "go.sum"} { // so that go test knows what this rests on
		if _, err := os.ReadFile(filepath.Join("client", name)); err != nil {
			t.Fatal(err)
		}
	}
	tool := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = "client"
		cmd.Env = programs.Environ("GOWORK=off", "GOFLAGS=-mod=readonly")
		return cmd.CombinedOutput()
	}
	programs.Find(t, "go")
	if out, err := tool("mod", "download"); err != nil {
		programs.Missing(t, fmt.Sprintf("GitLab's client (%v: %s)", err, out))
	}
	program := filepath.Join(t.TempDir(), "client")
	if out, err := tool("build", "-o", program, "."); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// rig is a PDP over TLS with the sample world, and keys.
type rig struct {
	*pdp
	ca   *certs.Authority
	keys map[string]string
	job  string // the token of erin's job 4711 in acme/platform/api
}

// newRig lets a PDP in development mode make the sample world and a job, and starts it again with TLS.
func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	data := "--data-dir=" + filepath.Join(dir, "data")
	r := &rig{ca: certs.New(t, dir), keys: map[string]string{}}
	first := run(t, data, "--development", "--rest-addr=off")
	conn, err := grpc.NewClient(first.GRPC[0].String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	issued, err := jobwardv1.NewTokenServiceClient(conn).Issue(ctx, &jobwardv1.IssueRequest{JobId: "4711", ProjectId: 14, UserId: 103, PipelineId: 9, Ref: "main"})
	if err != nil {
		t.Fatal(err)
	}
	r.job = issued.GetToken()
	conn.Close()
	first.stop()

	rows := "keys:\n"
	for name, more := range map[string]string{"erin": ", user: 103", "dana": ", user: 102", "mallory": ", user: 105", "front": ""} {
		key, hash := identity.NewKey()
		rows += fmt.Sprintf("- {name: %s, sha256: %s, roles: [maintainer]%s}\n", name, hash, more)
		r.keys[name] = key
	}
	cert, key := r.ca.Issue(dir, "server", "", time.Now().Add(time.Hour))
	r.pdp = run(t, data, "--tls-cert-file="+cert, "--tls-key-file="+key, "--callers-file="+files.Write(t, filepath.Join(dir, "callers.yaml"), rows, 0o600),
		"--external-url=https://forge.example")
	return r
}

// step is a call and what is to come of it: a status, and parts of the value or of the error.
type step struct {
	call
	status int
	parts  []string
}

func to(id int64) *int64 { return &id }

// steps drive every method of the service, and each of its errors. Project 14 is acme/platform/api, which lets the group acme/web in; erin maintains it.
func steps(r *rig) []step {
	const api = "acme/platform/api"
	erin, dana := r.keys["erin"], r.keys["dana"]
	const list, add, remove = "GetProjectJobTokenInboundAllowList", "AddProjectToJobScopeAllowList", "RemoveProjectFromJobScopeAllowList"
	const groups, addGroup, removeGroup = "GetJobTokenAllowlistGroups", "AddGroupToJobTokenAllowlist", "RemoveGroupFromJobTokenAllowlist"
	const get, patch = "GetProjectJobTokenAccessSettings", "PatchProjectJobTokenAccessSettings"
	s := func(status int, c call, parts ...string) step { return step{c, status, parts} }
	return []step{
		s(200, call{Method: get, Key: erin, ID: 14}, `"inbound_enabled":true`),
		s(200, call{Method: get, Key: erin, Path: api}, `"inbound_enabled":true`),
		s(200, call{Method: get, Key: erin, Bearer: true, Path: api}, `"inbound_enabled":true`),
		s(200, call{Method: get, Key: r.keys["front"], Sudo: "erin", ID: 14}, `"inbound_enabled":true`),
		s(403, call{Method: get, Key: r.keys["front"], ID: 14}, "acts for no user"),
		s(403, call{Method: get, Key: dana, ID: 14}, "403 Forbidden"),
		s(403, call{Method: get, Key: r.keys["mallory"], ID: 14}, "not active"),
		s(404, call{Method: get, Key: dana, ID: 99}),
		s(404, call{Method: get, Key: erin, Path: "acme/platform/none"}),
		s(401, call{Method: get, Key: "jobk-nobody", ID: 14}, "401 Unauthorized"),
		s(401, call{Method: get, Key: r.job, ID: 14}, "a job token opens nothing here"),
		s(401, call{Method: get, Job: r.job, ID: 14}, "a job token opens nothing here"),

		s(204, call{Method: patch, Key: erin, ID: 14, On: true}),
		s(400, call{Method: patch, Key: erin, Path: api, On: false}, "the instance keeps every inbound list in force"),
		s(403, call{Method: patch, Key: dana, ID: 14, On: true}, "403 Forbidden"),

		s(200, call{Method: list, Key: erin, ID: 14}, `"id":14`, `"path_with_namespace":"acme/platform/api"`, `"web_url":"https://forge.example/acme/platform/api"`),
		s(201, call{Method: add, Key: erin, Path: api, Target: to(13)}, `"source_project_id":14`, `"target_project_id":13`),
		s(201, call{Method: add, Key: erin, ID: 14, Target: to(11)}, `"target_project_id":11`),
		s(400, call{Method: add, Key: erin, ID: 14, Target: to(11)}, "already"),
		s(400, call{Method: add, Key: erin, ID: 14, Target: to(14)}, "always reaches itself"),
		s(400, call{Method: add, Key: erin, ID: 14}, "target_project_id is missing"),
		s(404, call{Method: add, Key: erin, ID: 14, Target: to(18)}),
		s(404, call{Method: add, Key: erin, ID: 14, Target: to(1 << 60)}),
		s(403, call{Method: add, Key: dana, ID: 14, Target: to(13)}, "403 Forbidden"),
		s(200, call{Method: list, Key: erin, ID: 14, PerPage: 2}, `"id":14`, `"id":11`),
		s(200, call{Method: list, Key: erin, ID: 14, PerPage: 2, Page: 2}, `"id":13`, `"namespace":{"id":2,"name":"web"`),
		s(200, call{Method: "Scan", Key: erin, Path: api}, `"id":14`, `"id":11`, `"id":13`),
		s(204, call{Method: remove, Key: erin, Path: api, Target: to(11)}),
		s(400, call{Method: remove, Key: erin, ID: 14, Target: to(11)}, "project 11 is not on the list"),
		s(404, call{Method: remove, Key: erin, ID: 14, Target: to(4711)}),
		s(400, call{Method: remove, Key: erin, ID: 14, Target: to(14)}, "always reaches itself"),
		s(403, call{Method: remove, Key: dana, ID: 14, Target: to(13)}, "403 Forbidden"),

		s(200, call{Method: groups, Key: erin, ID: 14}, `"id":2`, `"name":"web"`, `"web_url":"https://forge.example/groups/acme/web"`),
		s(201, call{Method: addGroup, Key: erin, Path: api, Target: to(4)}, `"source_project_id":14`, `"target_group_id":4`),
		s(400, call{Method: addGroup, Key: erin, ID: 14, Target: to(4)}, "already"),
		s(400, call{Method: addGroup, Key: erin, ID: 14}, "target_group_id is missing"),
		s(404, call{Method: addGroup, Key: erin, ID: 14, Target: to(99)}),
		s(204, call{Method: removeGroup, Key: erin, Path: api, Target: to(4)}),
		s(400, call{Method: removeGroup, Key: erin, ID: 14, Target: to(4)}, "group 4 is not on the list"),
		s(403, call{Method: groups, Key: dana, ID: 14}, "403 Forbidden"),

		s(200, call{Method: "CurrentUser", Key: dana}, `"id":102`, `"username":"dana"`),
		s(401, call{Method: "CurrentUser", Key: r.job}, "a job token opens nothing here"),
		s(200, call{Method: "GetProject", Key: dana, Path: api}, `"id":14`, `"visibility":"private"`),
		s(200, call{Method: "EditProject", Key: erin, Path: api, On: true}, `"ci_push_repository_for_job_token_allowed":true`),
		s(403, call{Method: "EditProject", Key: dana, Path: api, On: true}, "403 Forbidden"),
		s(200, call{Method: "GetSettings", Key: erin}, `"enforce_ci_inbound_job_token_scope_enabled":true`),
		s(200, call{Method: "GetJobTokensJob", Job: r.job}, `"id":4711`, `"status":"running"`, `"username":"erin"`),
		s(401, call{Method: "GetJobTokensJob", Job: r.job + "x"}, "401 Unauthorized"),
		s(401, call{Method: "GetJobTokensJob", Key: erin}, "401 Unauthorized"),
	}
}

// TestClient drives every method of the service JobTokenScope of GitLab's own client, unmodified, against a PDP over TLS.
func TestClient(t *testing.T) {
	program := build(t)
	r := newRig(t)
	all := steps(r)
	var in bytes.Buffer
	enc := json.NewEncoder(&in)
	driven := map[string]bool{}
	for _, s := range all {
		if err := enc.Encode(s.call); err != nil {
			t.Fatal(err)
		}
		driven[s.Method] = true
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-url=https://"+r.REST.String(), "-ca="+r.ca.File)
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stderr, cmd.Env = &in, &errs, programs.Environ("HTTPS_PROXY=", "https_proxy=")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	for i, s := range all {
		var got result
		if err := dec.Decode(&got); err != nil {
			t.Fatalf("step %d: %v", i+1, err)
		}
		s.judge(t, fmt.Sprintf("step %d, %s", i+1, s.Method), got)
	}
	methods, err := exec.CommandContext(ctx, program, "-methods").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(methods))
	if len(names) < 8 {
		t.Errorf("the client has only these: %v", names)
	}
	for _, m := range names {
		if !driven[m] {
			t.Errorf("no call of %s", m)
		}
	}
	for _, secret := range append([]string{r.job}, r.keys["erin"], r.keys["front"]) {
		if r.log.Has(secret[6:20]) || strings.Contains(string(out), secret[6:20]) {
			t.Error("a key or a token is in the log or in an answer")
		}
	}
}

func (s step) judge(t *testing.T, name string, got result) {
	t.Helper()
	if got.Status != s.status || (got.Error == "") != (s.status < 400) || got.NotFound != (s.status == 404) {
		t.Errorf("%s: %d %s %s, want %d", name, got.Status, got.Value, got.Error, s.status)
	}
	for _, part := range s.parts {
		if !strings.Contains(string(got.Value)+got.Error, part) {
			t.Errorf("%s: no %s in %s %s", name, part, got.Value, got.Error)
		}
	}
	writes := slices.ContainsFunc([]string{"Add", "Remove", "Patch", "Edit"}, func(p string) bool { return strings.HasPrefix(s.Method, p) })
	if writes && s.status < 300 && !strings.HasPrefix(got.Receipt, "effective; revision=") {
		t.Errorf("%s: the receipt is %q", name, got.Receipt)
	}
	if s.PerPage == 2 && (got.Total != 3 || got.Pages != 2 || got.Next != map[int64]int64{0: 2, 2: 0}[s.Page]) {
		t.Errorf("%s: %d in %d pages, next %d", name, got.Total, got.Pages, got.Next)
	}
}
