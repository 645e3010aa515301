package readme

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	pdpdaemon "github.com/jobward/jobward/pdp/daemon"
	"github.com/jobward/jobward/pdp/pdpctl/cli"
	sidecardaemon "github.com/jobward/jobward/sidecar/daemon"
	"github.com/jobward/jobward/test/capture"
	"github.com/jobward/jobward/test/programs"
)

const path = "../../README.md"

var update = flag.Bool("update", false, "write what the commands of the README really print into it")

// Where the programs are by themselves. In the tests they take free ports, which are put in the place of these.
const (
	pdpAddr     = "127.0.0.1:7420"
	sidecarAddr = "127.0.0.1:7430"
)

// TestReadme runs the commands of the README's console blocks, one after the other, and wants the output that stands below each.
func TestReadme(t *testing.T) {
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	terminal := &terminal{t: t, home: t.TempDir(), addr: map[string]string{}}
	ran := 0
	got := regexp.MustCompile("(?s)```console\n.*?```").ReplaceAllStringFunc(string(raw), func(block string) string {
		var b strings.Builder
		b.WriteString("```console\n")
		for line := range strings.Lines(block) {
			if command, ok := strings.CutPrefix(strings.TrimSpace(line), "$ "); ok {
				ran++
				b.WriteString("$ " + command + "\n" + terminal.shell(command))
			}
		}
		return b.String() + "```"
	})
	if ran < 15 {
		t.Errorf("only %d commands were found", ran)
	}
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	wanted, real := strings.Split(changing(string(raw)), "\n"), strings.Split(changing(got), "\n")
	for i := range min(len(wanted), len(real)) {
		if wanted[i] != real[i] {
			t.Fatalf("line %d of the README has\n%s\nand really it is\n%s\n(go test ./test/readme -run Readme -update writes it)", i+1, wanted[i], real[i])
		}
	}
	if len(wanted) != len(real) {
		t.Errorf("the README has %d lines, with real output %d", len(wanted), len(real))
	}
}

// terminal is where the commands are typed.
type terminal struct {
	t    *testing.T
	home string
	addr map[string]string // real addresses, by those that the README has
}

// shell carries out one command and gives what it prints, standard error last.
func (m *terminal) shell(command string) string {
	m.t.Helper()
	switch command {
	case "go run ./pdp":
		said := m.run(pdpdaemon.Main, "--data-dir="+filepath.Join(m.home, "pdp-data"), "--grpc-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0",
			"--ballast=16MiB", "--min-free-disk=16MiB")
		m.taken(said, pdpAddr)
		m.t.Setenv("JOBWARD_ADDRESS", m.addr[pdpAddr])
		m.t.Setenv("JOBWARD_TOKEN", "")
		return m.usual(said)
	case "go run ./sidecar":
		said := m.run(sidecardaemon.Main, "--state-dir="+filepath.Join(m.home, "sidecar-data"), "--pdp-addr="+m.addr[pdpAddr], "--listen=127.0.0.1:0",
			"--health-addr=127.0.0.1:0", "--name=laptop")
		m.taken(said, sidecarAddr)
		return m.usual(said)
	case "go run ./pdp/pdpctl demo":
		p := programs.Launch(m.t, m.home, nil, filepath.Join(programs.Dir(m.t, "pdp", "sidecar", "pdpctl"), "pdpctl"), "demo")
		if code := p.End(); code != 0 {
			m.t.Errorf("the demonstration ended with %d: %s", code, p.Log.String())
		}
		return "go build ./pdp ./sidecar\n" + p.Out.String() // TestDemoBuilds sees that it says and does this
	case "go build -o bin/ ./pdp/pdpctl":
		return "" // it is linked into this test
	}
	inner, assigned := strings.CutPrefix(command, "export JOBWARD_TOKEN=$(")
	args := strings.Fields(strings.TrimSuffix(inner, ")"))
	if args[0] != "bin/pdpctl" {
		m.t.Fatalf("the test does not know how to run %q", command)
	}
	for i, a := range args {
		if real, ok := m.addr[a]; ok {
			args[i] = real
		}
	}
	if args[1] == "sidecars" && *update {
		time.Sleep(4 * time.Second) // so that the sidecar has told its figures
	}
	var out, errs bytes.Buffer
	cli.Main(m.t.Context(), args[1:], strings.NewReader(""), &out, &errs)
	if assigned {
		m.t.Setenv("JOBWARD_TOKEN", strings.TrimSpace(out.String()))
		return errs.String()
	}
	return out.String() + errs.String()
}

// run starts a program within this process, where "go run" is what it takes itself to be run by, and gives what it says when it is ready.
func (m *terminal) run(program func(context.Context, []string, []string, io.Writer, io.Writer) int, args ...string) string {
	m.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var out, log capture.Output
	done := make(chan int, 1)
	go func() { done <- program(ctx, args, nil, &out, &log) }()
	m.t.Cleanup(func() {
		stop()
		if code := <-done; code != 0 {
			m.t.Errorf("it ended with code %d: %s", code, &log)
		}
	})
	const last = "Ctrl-C stops it.\n"
	programs.Eventually(m.t, last, func() bool { return strings.HasSuffix(out.String(), last) || len(done) > 0 })
	if len(done) > 0 {
		m.t.Fatalf("it did not start: %s", &log)
	}
	return out.String()
}

// taken notes the addresses that a program has, from what it says.
func (m *terminal) taken(said, calls string) {
	m.t.Helper()
	found := regexp.MustCompile(`(?s)calls +(\S+)\n +health +http://(\S+?)/`).FindStringSubmatch(said)
	if found == nil {
		m.t.Fatalf("no addresses in\n%s", said)
	}
	m.addr[calls] = found[1]
	m.addr[strings.TrimSuffix(calls, "0")+"1"] = found[2]
}

// usual is what a program says when it has its usual addresses and is in the usual place.
func (m *terminal) usual(said string) string {
	said = strings.ReplaceAll(said, " --address "+m.addr[pdpAddr], "")
	for usual, real := range m.addr {
		said = strings.ReplaceAll(said, real, usual)
	}
	return strings.ReplaceAll(said, m.home, "/home/you/jobward")
}

// changing takes out what is different every time: times, counts, ids of answers, and the width that they give a table.
func changing(s string) string {
	for _, c := range [][2]string{
		{`\d{4}-\d\d-\d\dT[0-9:.]+Z`, "TIME"},
		{`(?m)^(decision +)\S+-\d+$`, "$1 ID"},
		{`\b(1h0m0s|59m\S+s)`, "AN HOUR"},
		{`\b\d+(\.\d+)?(µs|ms| ?s)\b( before| after)?`, "SOME TIME"},
		{`(?m)^( +checks) +\d+ +\d+`, "$1 N N"},
		{`in \d+ checks`, "in N checks"},
		{`(?m)^laptop .*`, "A SIDECAR"},
		{` +`, " "},
	} {
		s = regexp.MustCompile(c[0]).ReplaceAllString(s, c[1])
	}
	return s
}
