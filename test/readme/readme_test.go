package daemon

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/pdpctl/cli"
)

var update = flag.Bool("update", false, "write what the commands of the README really print into it")

// TestReadme runs the commands of the README's console blocks against a first run, and wants the output that stands below each.
func TestReadme(t *testing.T) {
	const path = "../../README.md"
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	l := runLocal(t, nil, small(filepath.Join(t.TempDir(), "pdp-data"), nil)...)
	t.Setenv("JOBWARD_ADDRESS", l.GRPC[0].String())
	t.Setenv("JOBWARD_TOKEN", "")
	ran := 0
	got := regexp.MustCompile("(?s)```console\n.*?```").ReplaceAllStringFunc(string(raw), func(block string) string {
		var b strings.Builder
		b.WriteString("```console\n")
		for line := range strings.Lines(block) {
			if command, ok := strings.CutPrefix(strings.TrimSpace(line), "$ "); ok {
				ran++
				b.WriteString("$ " + command + "\n" + shell(t, l, command))
			}
		}
		return b.String() + "```"
	})
	if ran < 10 {
		t.Errorf("only %d commands were found", ran)
	}
	if *update {
		writeFile(t, path, got, 0o644)
		return
	}
	wanted, real := strings.Split(changing(string(raw)), "\n"), strings.Split(changing(got), "\n")
	for i := range min(len(wanted), len(real)) {
		if wanted[i] != real[i] {
			t.Fatalf("line %d of the README has\n%s\nand really it is\n%s\n(go test ./pdp/daemon -run Readme -update writes it)", i+1, wanted[i], real[i])
		}
	}
	if len(wanted) != len(real) {
		t.Errorf("the README has %d lines, with real output %d", len(wanted), len(real))
	}
}

// shell carries out one command and gives what it prints, standard error last.
func shell(t *testing.T, l *local, command string) string {
	t.Helper()
	switch {
	case command == "go run ./pdp":
		said := strings.ReplaceAll(l.out.String(), " --address "+l.GRPC[0].String(), "")
		said = strings.NewReplacer(l.GRPC[0].String(), defaultGRPCAddr, l.Admin.String(), "127.0.0.1:7421").Replace(said)
		return regexp.MustCompile(`/\S*/pdp-data`).ReplaceAllString(said, "/home/you/jobward/pdp-data")
	case command == "go build -o bin/ ./pdp/pdpctl":
		return "" // it is linked into this test
	}
	inner, assigned := strings.CutPrefix(command, "export JOBWARD_TOKEN=$(")
	args := strings.Fields(strings.TrimSuffix(inner, ")"))
	if args[0] != "bin/pdpctl" {
		t.Fatalf("the test does not know how to run %q", command)
	}
	var out, errs bytes.Buffer
	cli.Main(t.Context(), args[1:], strings.NewReader(""), &out, &errs)
	if assigned {
		t.Setenv("JOBWARD_TOKEN", strings.TrimSpace(out.String()))
		return errs.String()
	}
	return out.String() + errs.String()
}

// changing takes out what is different every time: times, ids of answers, and the width that they give a table.
func changing(s string) string {
	s = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`).ReplaceAllString(s, "TIME")
	s = regexp.MustCompile(`(?m)^(decision +)\S+-\d+$`).ReplaceAllString(s, "$1 ID")
	s = regexp.MustCompile(`\b(1h0m0s|59m5\S+s)`).ReplaceAllString(s, "AN HOUR")
	return regexp.MustCompile(` +`).ReplaceAllString(s, " ")
}
