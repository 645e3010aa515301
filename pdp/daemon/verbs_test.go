package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/test/files"
)

// TestFsck looks at a store that is in use, one that is whole, a damaged one, and none.
func TestFsck(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	fsck := func(want int, text string) {
		t.Helper()
		code, out, errs := pdp(nil, "fsck", "--data-dir="+dir)
		if code != want || !strings.Contains(out+errs, text) {
			t.Errorf("code %d, want %d with %q:\n%s%s", code, want, text, out, errs)
		}
	}
	fsck(settings.ExitRefused, "pdp: refused: data-dir: ")
	if _, err := os.Stat(dir); err == nil {
		t.Error("fsck made the directory")
	}
	l := runLocal(t, nil, small(dir, nil)...)
	token := issue(t, dial(t, l.GRPC[0].String()), "job-1")
	fsck(settings.ExitRefused, "pdp: refused: data-dir: ")
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	fsck(settings.ExitOK, "no problems")

	tables, err := filepath.Glob(filepath.Join(dir, "badger", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal("the store has no table", err)
	}
	data, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/3] ^= 1
	files.Write(t, tables[0], string(data), 0o600)
	fsck(settings.ExitFailed, "PROBLEM: ")
	if _, err := tryLocal(t, nil, small(dir, nil)...); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged store is served: %v", err)
	} else if strings.Contains(err.Error(), token) {
		t.Error("the error holds a token")
	}
}

// TestNewKey puts what "keys new" prints where it says.
func TestNewKey(t *testing.T) {
	code, out, errs := pdp(nil, "keys", "new", "forge-sync", "--role=directory,maintainer")
	if code != settings.ExitOK {
		t.Fatal(errs)
	}
	key, row, _ := strings.Cut(out, "\n")
	row = row[strings.Index(row, "  - name:"):]
	if strings.Contains(row, key) {
		t.Error("the row holds the key")
	}
	callers, err := identity.LoadCallers(files.Write(t, filepath.Join(t.TempDir(), "callers.yaml"), "keys:\n"+row, 0o600))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	who, err := callers.Authenticate(nil, []string{"Bearer " + key})
	if want := identity.Roles(identity.Directory, identity.Maintainer); err != nil || who.Name != "key:forge-sync" || who.Roles != want {
		t.Errorf("the key is that of %v, %v", who, err)
	}
	for _, args := range [][]string{{"x", "--role=admin", "--user=5"}, {"x", "--role=maintainer", "--user=-5"}, {"x", "--role=maintainer", "--user=dana"}, {}, {"a b", "--role=admin"}, {"x"}, {"x", "--role=boss"}, {"", "--role=admin"}} {
		if code, out, _ := pdp(nil, append([]string{"keys", "new"}, args...)...); code != settings.ExitRefused || out != "" {
			t.Errorf("%q: code %d, printed %q", args, code, out)
		}
	}
}

// TestNewKeyOfAUser: the row that is printed makes the key that user's.
func TestNewKeyOfAUser(t *testing.T) {
	code, out, errs := pdp(nil, "keys", "new", "terraform", "--role=maintainer", "--user=103")
	if code != settings.ExitOK {
		t.Fatal(errs)
	}
	key, row, _ := strings.Cut(out, "\n")
	callers, err := identity.LoadCallers(files.Write(t, filepath.Join(t.TempDir(), "callers.yaml"), "keys:\n"+row[strings.Index(row, "  - name:"):], 0o600))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if who, err := callers.Authenticate(nil, []string{"Bearer " + key}); err != nil || who.User != 103 {
		t.Errorf("the key is that of %+v, %v", who, err)
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"version", settings.ExitOK, "pdp "},
		{"--help", settings.ExitOK, "JOBWARD_SOME_NAME"},
		{"keys new --help", settings.ExitOK, "runner, service"},
		{"config check", settings.ExitOK, "the settings are good"},
		{"nonsense", settings.ExitRefused, "unexpected argument nonsense"},
		{"--grpc-adr=x", settings.ExitRefused, `did you mean "--grpc-addr"`},
		{"config", settings.ExitRefused, "expected one of"},
	} {
		code, out, errs := pdp(nil, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("%s: code %d\n%s%s", c.args, code, out, errs)
		}
	}
}

// TestCatalogueFile commits the file once, keeps it without the setting, and takes a changed one.
func TestCatalogueFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "catalogue.json")
	data := filepath.Join(dir, "data")
	run := func(args ...string) (revision uint64, reason string) {
		t.Helper()
		l := runLocal(t, nil, small(data, args)...)
		c := dial(t, l.GRPC[0].String())
		status, err := jobwardv1.NewDirectoryServiceClient(c).GetStatus(t.Context(), &jobwardv1.GetStatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		token := issue(t, c, "job-1")
		reason = check(t, c, token, shop, "deploy_robot")
		if err := l.stop(); err != nil {
			t.Fatal(err)
		}
		return status.Revision, reason
	}
	if _, got := run(); got != "permission_unknown" {
		t.Errorf("without a file: %s", got)
	}
	files.Write(t, file, `{"permissions": [{"name": "deploy_robot", "surface": "policy", "role": "developer"}]}`, 0o600)
	first, got := run("--catalogue-file=" + file)
	if got != "allowed_self" {
		t.Errorf("with the file: %s", got)
	}
	again, got := run("--catalogue-file=" + file)
	if got != "allowed_self" || again != first+1 { // one for the token
		t.Errorf("the same file again: %s, revision %d after %d", got, again, first)
	}
	if _, got := run(); got != "allowed_self" {
		t.Errorf("without the setting: %s", got)
	}
	files.Write(t, file, `{"permissions": []}`, 0o600)
	if _, got := run("--catalogue-file=" + file); got != "permission_unknown" {
		t.Errorf("with an empty list: %s", got)
	}
}

// TestMetrics scrapes what the state and a decision leave.
func TestMetrics(t *testing.T) {
	l := runLocal(t, nil, small(t.TempDir(), nil)...)
	c := dial(t, l.GRPC[0].String())
	check(t, c, issue(t, c, "job-1"), api, "read_packages")
	_, body := l.get("/metrics")
	for _, want := range []string{
		"jobward_head_revision ", "jobward_epoch 1\n", `jobward_records{kind="project"} 8`, `jobward_records{kind="job"} 1`, "jobward_audit_lost_total 0",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in\n%s", want, body)
		}
	}
}
