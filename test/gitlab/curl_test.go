package gitlab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/pep"
	"github.com/jobward/jobward/test/programs"
)

// examples are the commands in the package comment of pdp/gitlab.
func examples(t *testing.T) (commands []string) {
	t.Helper()
	text, err := os.ReadFile("../../pdp/gitlab/doc.go")
	if err != nil {
		t.Fatal(err)
	}
	more := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(strings.TrimPrefix(line, "//\t"), "\n")
		switch {
		case more:
			commands[len(commands)-1] += "\n" + line
		case strings.HasPrefix(line, "curl "):
			commands = append(commands, line)
		default:
			continue
		}
		more = strings.HasSuffix(line, `\`)
	}
	return commands
}

// TestExamples runs the documentation's commands as somebody would who pastes them, one after the other.
func TestExamples(t *testing.T) {
	programs.Find(t, "curl")
	commands := examples(t)
	if len(commands) != 2 {
		t.Fatalf("%d commands: %q", len(commands), commands)
	}
	p := run(t, "--development")
	var out []byte
	for _, c := range commands {
		if !strings.Contains(c, "127.0.0.1:7422") {
			t.Fatalf("%s asks another PDP", c)
		}
		cmd := exec.Command("bash", "-c", strings.ReplaceAll(c, "127.0.0.1:7422", p.REST.String()))
		cmd.Env = programs.Environ("http_proxy=", "HTTP_PROXY=")
		var errs bytes.Buffer
		cmd.Stderr = &errs
		var err error
		if out, err = cmd.Output(); err != nil {
			t.Fatalf("%s\n%v %s", c, err, errs.String())
		}
	}
	var list []struct {
		Path    string `json:"path_with_namespace"`
		Default bool   `json:"default_permissions"`
	}
	if err := json.Unmarshal(out, &list); err != nil || len(list) != 2 || list[1].Path != "acme/web/site" || !list[1].Default {
		t.Errorf("the list: %s %v", out, err)
	}
}

// TestReceipt lets a project in, has a sidecar cache the answer, and takes the entry away by DELETE: when that has returned, no check
// that starts afterwards allows (P1). Nothing is waited for but the answer itself.
func TestReceipt(t *testing.T) {
	p := run(t, "--development")
	conn, err := grpc.NewClient(p.GRPC[0].String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	issued, err := jobwardv1.NewTokenServiceClient(conn).Issue(ctx, &jobwardv1.IssueRequest{JobId: "1", ProjectId: 11, UserId: 103})
	if err != nil {
		t.Fatal(err)
	}
	d, err := pep.New(pep.Config{Addresses: []string{p.GRPC[0].String()}, Development: true, Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close(context.Background())
	if err := d.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	question := authz.Request{Token: sha256.Sum256([]byte(issued.GetToken())), Permission: "read_packages", Target: authz.Target{ID: 16}}
	allowed := func() bool {
		t.Helper()
		dec, err := d.Check(ctx, question)
		if err != nil {
			t.Fatal(err)
		}
		return dec.Allow
	}
	const list = "/api/v4/projects/acme%2Fplatform%2Fdata%2Fwarehouse/job_token_scope/allowlist"
	for i := range 50 {
		change(t, p, "POST", list, `{"target_project_id":11}`, 201)
		for _, when := range []string{"at first", "from the cache"} {
			if !allowed() {
				t.Fatalf("round %d: not let in %s", i, when)
			}
		}
		if r := change(t, p, "DELETE", list+"/11", "", 204); !strings.HasPrefix(r, "effective; ") {
			t.Fatalf("round %d: %s", i, r)
		}
		if allowed() {
			t.Fatalf("round %d: still let in after the DELETE", i)
		}
	}
}

// change makes one change for erin and gives its receipt.
func change(t *testing.T, p *pdp, method, path, body string, status int) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.REST.String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Sudo", "erin")
	c := http.Client{Timeout: time.Minute}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	c.CloseIdleConnections()
	if resp.StatusCode != status {
		t.Fatalf("%s %s: %s", method, path, resp.Status)
	}
	return resp.Header.Get("Jobward-Receipt")
}
