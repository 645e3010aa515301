package floors

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// plan is the building: a package imports only packages of lower floors.
// "x/..." is x and all below it, a family whose members may import each other.
// A row of its own goes before a family's: of test/..., what stands on floor 0 helps the
// tests of every package and knows none of ours (bans_test.go keeps programs from it).
// A package that is not here fails the test: give it a floor when you make it.
const plan = `
0  pdp/authz internal/token internal/identity internal/clock gen/...
0  test/capture test/certs test/files test/etcd

1  pdp/policy internal/lease sidecar/route internal/mask internal/telemetry internal/settings

2  pdp/state pdp/audit internal/wire

3  pdp/state/badgerstore pdp/state/etcdstore pdp/state/memstore pdp/state/statetest
3  pdp/feed pdp/replica pdp/scenario pdp/world
3  sidecar/pep internal/hot internal/serving

4  pdp/engine pdp/peer
4  sidecar/grpccheck sidecar/gate

5  pdp/server pdp/gitlab pdp/console
5  sidecar/proxy sidecar/extauthz sidecar/forwardauth

6  sidecar/registry
6  pdp/daemon pdp/pdpctl/... sidecar/pep/peptest

7  sidecar/daemon

8  pdp sidecar

9  internal/floors test/...
`

// building finds the floor of a package, and the row of the plan that gave it.
type building map[string]int

func readPlan(text string) building {
	b := building{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		for i := 1; i < len(fields); i++ {
			n, err := strconv.Atoi(fields[0])
			if err != nil {
				panic("the plan's row begins with no number: " + line)
			}
			b[fields[i]] = n
		}
	}
	return b
}

func (b building) floor(pkg string) (n int, row string, ok bool) {
	if n, ok := b[pkg]; ok {
		return n, pkg, true
	}
	for up := pkg; up != "."; up = parent(up) {
		if n, ok := b[up+"/..."]; ok {
			return n, up + "/...", true
		}
	}
	return 0, "", false
}

func parent(pkg string) string {
	if i := strings.LastIndexByte(pkg, '/'); i >= 0 {
		return pkg[:i]
	}
	return "."
}

// upstairs lists what tests from outside a package may import from above it. It is
// linked into no program and cannot make a circle.
//
// Policy's cases are scenario files, which make records: its tests read worlds as
// people write them, and what fails there can be replayed with pdpctl. Pep's examples
// are those of its users, who have peptest; so has a door that is tested to its end.
func upstairs() map[string][]string {
	return map[string][]string{"pdp/policy": {"pdp/state", "pdp/scenario"}, "sidecar/pep": {"sidecar/pep/peptest"},
		"sidecar/extauthz": {"sidecar/pep/peptest"}, "sidecar/forwardauth": {"sidecar/pep/peptest"}, "sidecar/proxy": {"sidecar/pep/peptest"}}
}

// bothSides is the one package outside test/ that stands on both sides of the wall: it
// starts a real PDP in the tests of services that use pep. A copy of the PDP's rules for
// them would not be one. Nothing but tests may import it (bans_test.go).
const bothSides = "sidecar/pep/peptest"

// checkFloors keeps the plan and the wall between the two programs. Test files
// may also import packages of their own floor.
func checkFloors(tr *tree) (complaints []string) {
	b := readPlan(plan)
	// The suite of the stores is test code in files that tests can import, and compares each store with memstore.
	const suite = "pdp/state/statetest"
	unknown := map[string]bool{}
	for _, f := range tr.files {
		mine, row, ok := b.floor(f.pkg)
		if !ok {
			if !unknown[f.pkg] {
				complaints = append(complaints, tr.at(f.ast.Package, "package %s has no floor: give it one in internal/floors/floors_test.go", f.pkg))
			}
			unknown[f.pkg] = true
			continue
		}
		for _, i := range f.imports {
			if !within(i.path, module) {
				continue
			}
			target := strings.TrimPrefix(strings.TrimPrefix(i.path, module), "/")
			if target == f.pkg {
				continue // a test from outside the package
			}
			theirs, theirRow, ok := b.floor(target)
			family := row == theirRow && strings.HasSuffix(row, "/...")
			outside := f.test && strings.HasSuffix(f.ast.Name.Name, "_test")
			switch {
			case outside && slices.Contains(upstairs()[f.pkg], target):
			case !ok:
				complaints = append(complaints, tr.at(i.pos, "%s imports %s, which has no floor", f.pkg, target))
			case within(f.pkg, "sidecar") && within(target, "pdp") && target != "pdp/authz" && f.pkg != bothSides:
				complaints = append(complaints, tr.at(i.pos, "%s imports %s: of the PDP a sidecar knows only pdp/authz", f.pkg, target))
			case within(f.pkg, "pdp") && within(target, "sidecar"):
				complaints = append(complaints, tr.at(i.pos, "%s imports %s: the PDP knows no sidecar", f.pkg, target))
			case theirs > mine, theirs == mine && !family && !f.test && f.pkg != suite:
				complaints = append(complaints, tr.at(i.pos, "%s (floor %d) imports %s (floor %d)", f.pkg, mine, target, theirs))
			}
		}
	}
	return complaints
}

func TestFloorsCatches(t *testing.T) {
	imports := func(pkg, target string) string {
		return "package " + pkg + "\nimport _ \"" + module + "/" + target + "\"\n"
	}
	catches(t, checkFloors, []planted{
		{"down", map[string]string{"pdp/engine/a.go": imports("engine", "pdp/state")}, ""},
		{"child to parent", map[string]string{"pdp/state/memstore/a.go": imports("memstore", "pdp/state")}, ""},
		{"up", map[string]string{"pdp/state/a.go": imports("state", "pdp/engine")}, "pdp/state/a.go:2: pdp/state (floor 2) imports pdp/engine (floor 4)"},
		{"parent to child", map[string]string{"pdp/state/a.go": imports("state", "pdp/state/memstore")}, "(floor 2) imports pdp/state/memstore (floor 3)"},
		{"across", map[string]string{"pdp/feed/a.go": imports("feed", "pdp/state/memstore")}, "(floor 3) imports pdp/state/memstore (floor 3)"},
		{"a test across", map[string]string{"pdp/feed/a_test.go": imports("feed", "pdp/state/memstore")}, ""},
		{"a test up", map[string]string{"pdp/feed/a_test.go": imports("feed", "pdp/engine")}, "imports pdp/engine"},
		{"a test from outside its package", map[string]string{"pdp/feed/a_test.go": imports("feed_test", "pdp/feed")}, ""},
		{"policy's cases", map[string]string{"pdp/policy/a_test.go": imports("policy_test", "pdp/scenario")}, ""},
		{"policy's cases from inside", map[string]string{"pdp/policy/a_test.go": imports("policy", "pdp/scenario")}, "(floor 1) imports pdp/scenario (floor 3)"},
		{"more than cases", map[string]string{"pdp/policy/a_test.go": imports("policy_test", "pdp/engine")}, "(floor 1) imports pdp/engine (floor 4)"},
		{"a family", map[string]string{"pdp/pdpctl/a.go": imports("main", "pdp/pdpctl/verbs")}, ""},
		{"two families", map[string]string{"pdp/pdpctl/a.go": imports("main", "pdp/daemon")}, "imports pdp/daemon"},
		{"generated code", map[string]string{"internal/wire/a.go": imports("wire", "gen/jobward/v1")}, ""},
		{"no floor", map[string]string{"pdp/util/a.go": "package util", "pdp/util/b.go": "package util"}, "pdp/util has no floor"},
		{"no floor at the root", map[string]string{"a.go": "package jobward"}, ". has no floor"},
		{"imports what has no floor", map[string]string{"pdp/engine/a.go": imports("engine", "pdp/util")}, "pdp/util, which has no floor"},
		{"sidecar to authz", map[string]string{"sidecar/pep/a.go": imports("pep", "pdp/authz")}, ""},
		{"sidecar to state", map[string]string{"sidecar/pep/a.go": imports("pep", "pdp/state")}, "a sidecar knows only pdp/authz"},
		{"sidecar's test to state", map[string]string{"sidecar/pep/a_test.go": imports("pep", "pdp/state")}, "a sidecar knows only pdp/authz"},
		{"peptest to both", map[string]string{"sidecar/pep/peptest/a.go": imports("peptest", "pdp/server"), "sidecar/pep/peptest/b.go": imports("peptest", "sidecar/pep")}, ""},
		{"below peptest", map[string]string{"sidecar/pep/a.go": imports("pep", "sidecar/pep/peptest")}, "(floor 3) imports sidecar/pep/peptest (floor 6)"},
		{"pep's examples", map[string]string{"sidecar/pep/a_test.go": imports("pep_test", "sidecar/pep/peptest")}, ""},
		{"pdp to sidecar", map[string]string{"pdp/daemon/a.go": imports("daemon", "sidecar/route")}, "the PDP knows no sidecar"},
		{"test/ to both", map[string]string{"test/model/a.go": imports("model", "sidecar/daemon"), "test/model/b.go": imports("model", "pdp/daemon")}, ""},
		{"a low test to a helper", map[string]string{"internal/identity/a_test.go": imports("identity", "test/certs"), "pdp/state/a_test.go": imports("state", "test/certs")}, ""},
		{"a low test to a suite", map[string]string{"pdp/state/a_test.go": imports("state", "test/model")}, "(floor 2) imports test/model (floor 9)"},
		{"a suite to a helper", map[string]string{"test/model/a.go": imports("model", "test/certs")}, ""},
		{"a helper to what it helps", map[string]string{"test/certs/a.go": imports("certs", "pdp/state")}, "test/certs (floor 0) imports pdp/state (floor 2)"},
		{"a helper to a suite", map[string]string{"test/certs/a.go": imports("certs", "test/model")}, "test/certs (floor 0) imports test/model (floor 9)"},
		{"a helper to its neighbour", map[string]string{"test/certs/a.go": imports("certs", "test/files")}, "(floor 0) imports test/files (floor 0)"},
	})
}
