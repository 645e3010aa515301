package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/pdp/authz"
)

// The life of a token, as somebody at a terminal sees it: the exit codes, and words that say what happened.
func TestTokenLife(t *testing.T) {
	addr := newPDP(t)
	code, token, errout := ctl(t, addr, "token", "issue", "-q", "--job", "j1", "--project", "acme/web/shop", "--user", "dana", "--runner", "r1")
	token = strings.TrimSpace(token)
	if code != ExitOK || !strings.HasPrefix(token, "jobt-") {
		t.Fatalf("issue: %d %q %s", code, token, errout)
	}
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	own := []string{"-p", "read_releases", "--target", "acme/web/shop"}
	steps := []struct {
		args  string
		input string
		code  int
		want  string
	}{
		{"check - " + strings.Join(own, " "), token, ExitOK, "ALLOW  allowed_self"},
		{"check --token-file " + tokenFile + " " + strings.Join(own, " "), "", ExitOK, "ALLOW"},
		{"check --job j1 " + strings.Join(own, " "), "", ExitOK, "ALLOW"},
		{"check - -p fly --target acme/web/shop", token, ExitDenied, "permission_unknown"},
		{"check -p read_releases", "", ExitFailed, "give a token"},
		{"check --anonymous -p read_releases --target acme/web/shop", "", ExitDenied, "token_missing"},
		{"check --anonymous -p read_releases --target acme/web/site", "", ExitOK, "ALLOW  allowed_open"},
		{"explain --anonymous -p read_releases --target acme/web/shop", "", ExitDenied, "=> token_missing"},
		{"explain --anonymous -p fly --target acme/web/shop", "", ExitDenied, "=> permission_unknown"},
		{"explain --anonymous --job j1 -p fly", "", ExitFailed, "leave out"},
		{"check - --anonymous -p fly", token, ExitFailed, "leave out"},
		{"check nonsense " + strings.Join(own, " "), "", ExitDenied, "token_malformed"},
		{"explain --job j1 " + strings.Join(own, " "), "", ExitOK, "fine-grained permissions"},
		{"token introspect -", token, ExitOK, "lives"},
		{"token get j1", "", ExitOK, "running"},
		{"token get j2", "", ExitFailed, "JOB_NOT_FOUND"},
		{"token list --live --project acme/web/shop", "", ExitOK, "j1"},
		{"token keepalive r1", "", ExitOK, "live jobs"},
		{"token keepalive", "", ExitFailed, "runner"},
		{"token issue --job j9 --project acme/nowhere --user dana", "", ExitFailed, "acme/nowhere"},
		{"token issue --job j9 --project acme/web/shop --user nobody", "", ExitFailed, "no user is named nobody"},
		{"token issue --job j9 --project acme/web/shop --user dana --validate-only", "", ExitOK, "could be issued"},
		{"token revoke", "", ExitFailed, "nothing to revoke"},
		{"token reconcile - --as-of 1 --dry-run", "j1\nghost\n", ExitOK, "! not live"},
		{"token revoke --job j1 --validate-only", "", ExitOK, "revoked"},
		{"token revoke - --outcome success", token, ExitOK, "effective"},
		{"check - " + strings.Join(own, " "), token, ExitDenied, "job_not_running"},
		{"token introspect -", token, ExitDenied, "not running"},
		{"explain --job j1 " + strings.Join(own, " "), "", ExitDenied, "=> job_not_running"},
		{"token issue --job j1 --project acme/web/shop --user dana", "", ExitFailed, "JOB_ENDED"},
		{"token revoke --job j1", "", ExitOK, "already_dead"},
		{"audit list --job j1 --changes", "", ExitOK, "revoke"},
		{"audit list --changes --denials", "", ExitFailed, "together"},
		{"health", "", ExitOK, "serving"},
		{"health -o json", "", ExitOK, `"revision"`},
		{"health -o yaml", "", ExitOK, "revision:"},
		{"health -o xml", "", ExitFailed, "output"},
		{"version", "", ExitOK, "pdpctl"},
		{"fly", "", ExitFailed, "--help"},
	}
	for _, s := range steps {
		code, out, errout := ctlWith(t, addr, s.input, strings.Fields(s.args)...)
		if code != s.code || !strings.Contains(out+errout, s.want) {
			t.Errorf("pdpctl %s: code %d, want %d with %q\n%s%s", strings.ReplaceAll(s.args, token, "TOKEN"), code, s.code, s.want, out, errout)
		}
		if strings.Contains(out+errout, token) {
			t.Errorf("pdpctl %s printed the token", strings.Fields(s.args)[0])
		}
	}
}

func TestJSONIsTheMessage(t *testing.T) {
	addr := newPDP(t)
	code, out, errout := ctl(t, addr, "-o", "json", "token", "issue", "--job", "j", "--project", "acme/web/shop", "--user", "dana")
	var got struct {
		Token   string `json:"token"`
		Receipt struct {
			Effective bool `json:"effective"`
		} `json:"receipt"`
	}
	if err := json.Unmarshal([]byte(out), &got); code != ExitOK || err != nil || got.Token == "" || !got.Receipt.Effective {
		t.Fatalf("%d %s%s %v", code, out, errout, err)
	}
}

func TestNoPDP(t *testing.T) {
	code, _, errout := ctl(t, "unix:"+filepath.Join(t.TempDir(), "none"), "--timeout", "2s", "health")
	if code != ExitFailed || !strings.Contains(errout, "no PDP answers at") {
		t.Fatalf("%d %s", code, errout)
	}
}

// What cannot be read is named before anything is sent.
func TestTLSFlags(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{
		{"--ca", filepath.Join(dir, "missing.pem"), "health"},
		{"--key-file", filepath.Join(dir, "missing"), "health"},
		{"--cert", filepath.Join(dir, "missing.pem"), "--key", filepath.Join(dir, "missing.key"), "health"},
	} {
		if code, _, errout := ctl(t, "127.0.0.1:1", args...); code != ExitFailed || !strings.Contains(errout, "missing") {
			t.Errorf("%v: %d %s", args, code, errout)
		}
	}
}

// Every denial that there is comes with a word on what would help (user: "errors that do not say what is wrong").
func TestAdviceForEveryDenial(t *testing.T) {
	for r := authz.ReasonNone + 1; int(r) < authz.NumReasons; r++ {
		got := advice(&jobwardv1.Decision{Reason: jobwardv1.Reason(r)})
		if r.Allows() != (got == "") {
			t.Errorf("%s: advice %q", r, got)
		}
	}
}

func TestCompletionKnowsEveryVerb(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		code, out, errout := ctl(t, "", "completion", shell)
		if code != ExitOK {
			t.Fatalf("%s: %d %s", shell, code, errout)
		}
		for _, word := range []string{"token", "reconcile", "allowlist", "memberships", "directory", "world", "export", "settings", "catalogue", "audit", "health", "test", "--outcome"} {
			if !strings.Contains(out, word) {
				t.Errorf("%s does not complete %s", shell, word)
			}
		}
	}
	if code, _, _ := ctl(t, "", "completion", "tcsh"); code != ExitFailed {
		t.Error("tcsh was accepted")
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{nil, {"--help"}, {"token", "--help"}, {"check", "--help"}} {
		if code, out, errout := ctl(t, "", args...); code != ExitOK || !strings.Contains(out, "Usage: pdpctl") {
			t.Errorf("%v: %d %s%s", args, code, out, errout)
		}
	}
}
