package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sampleCorpus = "../../scenario/testdata/sample.jsonl"

// lastLine gives the last line of an output.
func lastLine(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return lines[len(lines)-1]
}

func scenarioFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "cases.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

const wrongScenario = `
id: read-unlisted
world:
  groups: [{path: acme}]
  projects: [{path: acme/app}, {path: acme/lib}]
  members: [{user: dev, scope: acme, role: developer}]
job: {project: acme/app}
request: {target_project: acme/lib, permission: create_release}
expect: allow
why: planted
`

func TestTestInProcess(t *testing.T) {
	code, out, errout := ctl(t, "", "test", sampleCorpus)
	if code != ExitOK || lastLine(out) != "128 passed, 0 failed, 0 skipped" {
		t.Errorf("code %d\n%s%s", code, out, errout)
	}
	code, out, _ = ctl(t, "", "test", "--run", "^live-", sampleCorpus)
	if code != ExitOK || strings.HasPrefix(lastLine(out), "128 ") {
		t.Errorf("--run: code %d\n%s", code, out)
	}
}

func TestTestFailure(t *testing.T) {
	code, out, errout := ctl(t, "", "test", scenarioFile(t, wrongScenario))
	if code != ExitDenied || lastLine(out) != "0 passed, 1 failed, 0 skipped" {
		t.Errorf("code %d\n%s%s", code, out, errout)
	}
	for _, want := range []string{"FAIL ", "read-unlisted: expected allow, got deny", "why: planted", "R1 ", "inbound_not_listed"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestTestUsage(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no file":    {[]string{"test", filepath.Join(t.TempDir(), "none.yaml")}, "no such file"},
		"bad regex":  {[]string{"test", "--run", "(", sampleCorpus}, "--run"},
		"no match":   {[]string{"test", "--run", "^nothing$", sampleCorpus}, "no scenario was run"},
		"not a case": {[]string{"test", scenarioFile(t, "{colour: red}")}, "colour"},
	} {
		if code, out, errout := ctl(t, "", c.args...); code != ExitFailed || !strings.Contains(errout, c.want) {
			t.Errorf("%s: code %d, %s%s", name, code, out, errout)
		}
	}
}

// TestTestAgainstPDP runs the corpus and every case against a PDP, and looks at what is left behind.
func TestTestAgainstPDP(t *testing.T) {
	addr := newPDP(t)
	_, before, _ := ctl(t, addr, "world", "export")
	cases, err := filepath.Glob("../../scenario/testdata/cases/*.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatal(err, cases)
	}
	args := append([]string{"test", "--allow-settings-changes", sampleCorpus}, cases...)
	if testing.Short() {
		args = args[:3]
	}
	code, out, errout := ctl(t, addr, args...)
	if code != ExitOK || !strings.Contains(lastLine(out), ", 0 failed, ") || strings.HasPrefix(out, "0 passed") {
		t.Errorf("code %d\n%s%s", code, out, errout)
	}
	if strings.Contains(out, "settings of the PDP are") || strings.Contains(out, "catalogue of the PDP is") {
		t.Errorf("settings were allowed to change, and did not:\n%s", out)
	}
	t.Log(lastLine(out))
	if _, after, _ := ctl(t, addr, "world", "export"); after != before {
		t.Errorf("the world is not as it was:\n%s\n--- before\n%s", after, before)
	}
}

// exported gives the world of a PDP.
func exported(t *testing.T, addr string) string {
	t.Helper()
	code, out, errout := ctl(t, addr, "world", "export")
	if code != ExitOK {
		t.Fatal(errout)
	}
	return out
}

func TestTestSkipsOtherSettings(t *testing.T) {
	addr := newPDP(t)
	before := exported(t, addr)
	code, out, _ := ctl(t, addr, "test", "--run", "^live-", sampleCorpus)
	if code != ExitOK || !strings.HasPrefix(lastLine(out), "0 passed, 0 failed, ") || !strings.Contains(out, "SKIP ") || !strings.Contains(out, "--allow-settings-changes") {
		t.Errorf("code %d\n%s", code, out)
	}
	if after := exported(t, addr); after != before {
		t.Errorf("the world is not as it was:\n%s", after)
	}
}

func TestTestFailureAgainstPDP(t *testing.T) {
	addr := newPDP(t)
	before := exported(t, addr)
	enforced := strings.Replace(wrongScenario, "world:", "world:\n  instance: {enforce_inbound: true}", 1)
	code, out, errout := ctl(t, addr, "test", scenarioFile(t, enforced))
	if code != ExitDenied || lastLine(out) != "0 passed, 1 failed, 0 skipped" || !strings.Contains(out, "R1 ") || !strings.Contains(out, "inbound_not_listed") {
		t.Errorf("code %d\n%s%s", code, out, errout)
	}
	// One that the PDP does not take: its list is longer than the installation allows.
	full := strings.Replace(strings.Replace(enforced, "true}", "true, max_project_entries: 1}", 1),
		"{path: acme/lib}", "{path: acme/lib, outbound: [acme/app, acme/x]}, {path: acme/x}", 1)
	code, out, errout = ctl(t, addr, "test", "--allow-settings-changes", scenarioFile(t, full))
	if code != ExitDenied || !strings.Contains(out, "did not take the scenario") {
		t.Errorf("code %d\n%s%s", code, out, errout)
	}
	if after := exported(t, addr); after != before {
		t.Errorf("the world is not as it was:\n%s", after)
	}
}

// TestTestInterrupted cancels in the middle of a scenario that waits for its token to end.
func TestTestInterrupted(t *testing.T) {
	addr := newPDP(t)
	before := exported(t, addr)
	slow := strings.Replace(strings.Replace(wrongScenario, "world:", "world:\n  instance: {enforce_inbound: true}", 1), "acme/app}\nreq", "acme/app, token: expired}\nreq", 1)
	slow = strings.Replace(slow, "expect: allow", "expect: deny", 1)
	file := scenarioFile(t, slow+"---"+slow+"---"+slow)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var out, errout bytes.Buffer
	done := make(chan int, 1)
	go func() { done <- Main(ctx, []string{"--address", addr, "test", file}, nil, &out, &errout) }()
	for !strings.Contains(exported(t, addr), "pdpctl-test-") {
		select {
		case code := <-done:
			t.Fatalf("it ended before it was interrupted: code %d\n%s%s", code, &out, &errout)
		default:
		}
	}
	cancel()
	if code := <-done; code != ExitFailed || !strings.Contains(errout.String(), "interrupted after 1 ") {
		t.Errorf("code %d\n%s%s", code, &out, &errout)
	}
	if after := exported(t, addr); after != before {
		t.Errorf("the world is not as it was:\n%s", after)
	}
}
