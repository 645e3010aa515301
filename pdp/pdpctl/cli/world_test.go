package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWorldRoundTrip(t *testing.T) {
	addr, dir := newPDP(t), t.TempDir()
	for _, name := range []string{"world.yaml", "world.json"} {
		file := filepath.Join(dir, name)
		if code, out, errout := ctl(t, addr, "world", "export", file); code != ExitOK {
			t.Fatalf("export: code %d, %s%s", code, out, errout)
		}
		before, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(before), "inbound_allow") {
			t.Errorf("no allowlists in the export:\n%s", before)
		}
		for _, args := range [][]string{{"world", "import", "--dry-run", file}, {"world", "import", file}} {
			code, out, errout := ctl(t, addr, args...)
			if lines := strings.Count(out, "\n"); code != ExitOK || lines != 5 {
				t.Errorf("%v: code %d, a difference in what was exported:\n%s%s", args, code, out, errout)
			}
		}
		code, after, _ := ctl(t, addr, "world", "export", "-o", map[bool]string{true: "json", false: "table"}[name == "world.json"])
		if code != ExitOK || after != string(before) {
			t.Errorf("code %d, export differs after import:\n%s\n--- before\n%s", code, after, before)
		}
	}
}

const smallWorld = `
instance: {enforce_inbound: false, max_group_entries: 7}
groups: [{path: acme}, {path: new}]
projects:
- {path: new/a, inbound_allow: [{path: new/b, policies: [read_jobs]}], inbound_groups: [{path: acme}], outbound_enabled: true, outbound: [new/b]}
- {path: new/b, inbound_enabled: false, push_self: true}
- {path: solo/c, features: {packages: public}}
users: [{name: alice}]
members: [{user: alice, scope: new, role: maintainer}]
`

func TestWorldImport(t *testing.T) {
	addr := newPDP(t)
	file := filepath.Join(t.TempDir(), "small.yaml")
	if err := os.WriteFile(file, []byte(smallWorld), 0o600); err != nil {
		t.Fatal(err)
	}
	_, before, _ := ctl(t, addr, "world", "export")
	code, dry, errout := ctl(t, addr, "world", "import", "--dry-run", file)
	if _, after, _ := ctl(t, addr, "world", "export"); code != ExitOK || after != before {
		t.Fatalf("a dry run changed something, or failed: code %d %s\n%s", code, errout, after)
	}
	code, out, errout := ctl(t, addr, "world", "import", file)
	if code != ExitOK {
		t.Fatalf("code %d\n%s%s", code, out, errout)
	}
	if dry != out {
		t.Errorf("the dry run said\n%s\nand the import did\n%s", dry, out)
	}
	for _, want := range []string{"create", "remove", "update settings", "add inbound entry", "add outbound entry"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if code, out, errout = ctl(t, addr, "world", "import", file); code != ExitOK || strings.Count(out, "\n") != 5 {
		t.Errorf("again: code %d\n%s%s", code, out, errout)
	}
	_, out, _ = ctl(t, addr, "world", "export")
	for _, want := range []string{"new/a", "read_jobs", "inbound_enabled: false", "max_group_entries: 7", "solo/c"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// TestWorldImportEdits changes lists that are there, and leaves them alone with --no-allowlists.
func TestWorldImportEdits(t *testing.T) {
	addr := newPDP(t)
	file := filepath.Join(t.TempDir(), "w.yaml")
	put := func(text string, flags ...string) (out string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, errout := ctl(t, addr, append([]string{"world", "import", file}, flags...)...)
		if code != ExitOK {
			t.Fatalf("code %d\n%s%s", code, out, errout)
		}
		return out
	}
	put(smallWorld)
	edited := strings.Replace(smallWorld, "policies: [read_jobs]", "policies: []", 1)
	edited = strings.Replace(strings.Replace(edited, ", inbound_groups: [{path: acme}]", "", 1), ", outbound: [new/b]", "", 1)
	if out := put(edited, "--no-allowlists"); strings.Contains(out, "entry") {
		t.Errorf("lists were not left alone:\n%s", out)
	}
	out := put(edited)
	for _, want := range []string{"update inbound entry", "remove inbound entry", "remove outbound entry"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	world := exported(t, addr)
	if !strings.Contains(world, "policies: []") || strings.Contains(world, "inbound_groups") || strings.Contains(world, "outbound:\n") {
		t.Errorf("the lists are not what the file says:\n%s", world)
	}
}

// TestWorldImportWithoutIDs: everything is found again by its path or name.
func TestWorldImportWithoutIDs(t *testing.T) {
	addr := newPDP(t)
	var plain []string
	for line := range strings.Lines(exported(t, addr)) {
		if strings.HasPrefix(line, "- id: ") {
			plain = append(plain, "-")
			continue
		}
		if len(plain) > 0 && plain[len(plain)-1] == "-" {
			line, plain = "- "+strings.TrimLeft(line, " "), plain[:len(plain)-1]
		}
		plain = append(plain, line)
	}
	file := filepath.Join(t.TempDir(), "w.yaml")
	if err := os.WriteFile(file, []byte(strings.Join(plain, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errout := ctl(t, addr, "world", "import", file); code != ExitOK || strings.Count(out, "\n") != 5 {
		t.Errorf("code %d, a difference without ids:\n%s%s", code, out, errout)
	}
}

func TestWorldUsage(t *testing.T) {
	addr, dir := newPDP(t), t.TempDir()
	_, before, _ := ctl(t, addr, "world", "export")
	for text, want := range map[string]string{
		"colour: red": "colour", "projects: [{path: a/b/c}]": "not listed", "users: [{name: eve, killed: true}]": "killed",
	} {
		file := filepath.Join(dir, "w.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out, errout := ctl(t, addr, "world", "import", file); code != ExitFailed || !strings.Contains(errout, want) {
			t.Errorf("%s: code %d, %s%s", text, code, out, errout)
		}
	}
	if code, _, _ := ctl(t, addr, "world", "import", filepath.Join(dir, "none.yaml")); code != ExitFailed {
		t.Errorf("a missing file: code %d", code)
	}
	if _, after, _ := ctl(t, addr, "world", "export"); after != before {
		t.Error("a refused import changed something")
	}
}
