package main

import (
	"strings"
	"testing"
)

// Each case is a run of one package, as `go test -json` tells it.
func TestReport(t *testing.T) {
	const pkg = `"Package":"github.com/jobward/jobward/pdp/x"`
	const skipped = `{"Action":"run",` + pkg + `,"Test":"TestA"}
{"Action":"output",` + pkg + `,"Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output",` + pkg + `,"Test":"TestA","Output":"    a_test.go:3: no nginx here\n"}
{"Action":"output",` + pkg + `,"Test":"TestA","Output":"--- SKIP: TestA (0.00s)\n"}
{"Action":"skip",` + pkg + `,"Test":"TestA"}
{"Action":"output",` + pkg + `,"Output":"PASS\n"}
{"Action":"output",` + pkg + `,"Output":"ok  \tgithub.com/jobward/jobward/pdp/x\t0.1s\n"}
{"Action":"pass",` + pkg + `}
`
	const ok = "ok  \tgithub.com/jobward/jobward/pdp/x\t0.1s\n"
	cases := []struct {
		name, in string
		allowed  []string
		want     string
		bad      bool
	}{
		{"a skip is bad", skipped, nil, ok + "SKIPPED: pdp/x TestA: a_test.go:3: no nginx here\n", true},
		{"a skip of another test is bad", skipped, []string{"pdp/x Test why"}, ok + "SKIPPED: pdp/x TestA: a_test.go:3: no nginx here\n", true},
		{"an allowed skip is listed", skipped, []string{"pdp/x TestA why"}, ok + "skipped, allowed: pdp/x TestA: a_test.go:3: no nginx here (why)\n", false},
		{"a subtest goes with its test", strings.ReplaceAll(skipped, "TestA", "TestA/one"), []string{"pdp/x TestA why"},
			ok + "skipped, allowed: pdp/x TestA/one: a_test.go:3: no nginx here (why)\n", false},
		{"a package without tests is no skip", `{"Action":"output",` + pkg + `,"Output":"?   \tgithub.com/jobward/jobward/pdp/x\t[no test files]\n"}` + "\n" +
			`{"Action":"skip",` + pkg + `}`, nil, "?   \tgithub.com/jobward/jobward/pdp/x\t[no test files]\n", false},
		{"a failure is shown", `{"Action":"output",` + pkg + `,"Test":"TestA","Output":"    a_test.go:4: wrong\n"}` + "\n" +
			`{"Action":"fail",` + pkg + `,"Test":"TestA"}` + "\n" + `{"Action":"fail",` + pkg + `}`, nil, "    a_test.go:4: wrong\n", true},
		{"what a dying test said is shown", `{"Action":"output",` + pkg + `,"Test":"TestA","Output":"panic: nil\n"}` + "\n" +
			`{"Action":"fail",` + pkg + `}`, nil, "panic: nil\n", true},
		{"what a good test said is not shown", `{"Action":"output",` + pkg + `,"Test":"TestA","Output":"chatter\n"}` + "\n" +
			`{"Action":"pass",` + pkg + `,"Test":"TestA"}` + "\n" + `{"Action":"pass",` + pkg + `}`, nil, "", false},
		{"a package that does not build", `{"ImportPath":"x","Action":"build-output","Output":"x.go:1: no\n"}` + "\n" +
			`{"Action":"fail",` + pkg + `}`, nil, "x.go:1: no\n", true},
		{"nothing at all", "", nil, "", true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			bad, err := report(strings.NewReader(c.in), &out, c.allowed)
			if out.String() != c.want || (bad || err != nil) != c.bad {
				t.Errorf("bad %v, error %v, printed:\n%s\nwant bad %v:\n%s", bad, err, out.String(), c.bad, c.want)
			}
		})
	}
}
