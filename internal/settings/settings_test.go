package settings

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// config is the settings of a program that is none of ours, and commands its verbs.
type config struct {
	ConfigFile string        `name:"config" help:"File."`
	Wait       time.Duration `default:"1m" help:"How long."`
	Room       Size          `default:"32MiB" help:"How much."`
	Mode       FileMode      `default:"0660" help:"File mode."`
	Names      []string      `help:"Some names."`
	Sure       *bool         `negatable:"" help:"Whether."`
}

type commands struct {
	config
	Go struct {
		Far int `help:"No setting, for it is the verb's."`
	} `cmd:"" default:"withargs" help:"Go, ${where}."`
}

func program() *Program {
	return &Program{Name: "prog", Description: "Does.", Vars: map[string]string{"where": "home"}, Elsewhere: []string{"WIDTH"}}
}

func parse(environ []string, args ...string) (c *commands, shown string, err error) {
	c = &commands{}
	_, list, err := program().Parse(c, args, environ, &bytes.Buffer{})
	var b strings.Builder
	Write(&b, list)
	return c, b.String(), err
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "prog.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSources takes each setting from where it counts, and shows it in a form that gives the same settings again.
func TestSources(t *testing.T) {
	file := writeFile(t, "wait: 3h\nroom: 3KiB\nmode: 0600\nnames: [a, 'b,c']\n")
	got, shown, err := parse([]string{"JOBWARD_CONFIG=" + file, "JOBWARD_ROOM=2KiB", "JOBWARD_WAIT=2h", "JOBWARD_MODE=", "JOBWARD_SURE=false"}, "--wait=1h")
	if err != nil {
		t.Fatal(err)
	}
	no := false
	want := config{ConfigFile: file, Wait: time.Hour, Room: 2 << 10, Mode: 0o600, Names: []string{"a", "b,c"}, Sure: &no}
	if !reflect.DeepEqual(got.config, want) {
		t.Errorf("read %+v, want %+v", got.config, want)
	}
	for _, line := range []string{"wait: 1h flag --wait", "room: 2KiB environment variable JOBWARD_ROOM", "mode: 0600 line 3 of " + file} {
		if !strings.Contains(strings.Join(strings.Fields(strings.ReplaceAll(shown, "#", "")), " "), line) {
			t.Errorf("no %q in\n%s", line, shown)
		}
	}
	again, _, err := parse(nil, "--config="+writeFile(t, shown))
	if err != nil {
		t.Fatalf("%v\n%s", err, shown)
	}
	again.ConfigFile = file
	if !reflect.DeepEqual(again.config, want) {
		t.Errorf("read back from\n%s\n%+v, want %+v", shown, again.config, want)
	}
}

func TestUnknown(t *testing.T) {
	for _, c := range []struct {
		env, arg, want string
	}{
		{env: "JOBWARD_WIAT=1h", want: "environment variable JOBWARD_WIAT is no setting; did you mean JOBWARD_WAIT?"},
		{env: "JOBWARD_NOTHING_LIKE_IT=1", want: "see prog --help"},
		{env: "JOBWARD_FAR=1", want: "is no setting"},
		{env: "JOBWARD_HELP=1", want: "is no setting"},
		{env: "JOBWARD_SIDECAR_WAIT=1h", want: "is no setting"},
		{env: "JOBWARD_WAIT=soon", want: "environment variable JOBWARD_WAIT: --wait"},
		{env: "JOBWARD_PORT=tcp://10.0.0.1:1", want: "is no setting"}, // outside Kubernetes
		{env: "JOBWARD_WIDTH=1"}, // another program's
		{env: "JOBWARD_WIAT="},
		{env: "WIAT=1"},
		{arg: "--config=" + writeFile(t, "wiat: 1h"), want: `"wiat" is no setting; did you mean wait?`},
		{arg: "--config=" + writeFile(t, "width: 1h"), want: `"width" is no setting`}, // a file is for one program
		{arg: "--config=" + writeFile(t, "far: 1"), want: `"far" is no setting`},
		{arg: "--wiat=1h", want: "unknown flag --wiat"},
		{arg: "--far=1"},
	} {
		_, _, err := parse([]string{c.env}, strings.Fields(c.arg)...)
		var refused Refusal
		if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &refused) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s%s: %v; want %q", c.env, c.arg, err, c.want)
		}
	}
	if _, _, err := parse([]string{"KUBERNETES_SERVICE_HOST=10.0.0.1", "JOBWARD_PORT=tcp://10.0.0.1:1", "JOBWARD_X_SERVICE_HOST=10.0.0.1"}); err != nil {
		t.Error(err)
	}
}

func TestHelp(t *testing.T) {
	var out bytes.Buffer
	p := program()
	_, _, err := p.Parse(&commands{}, []string{"--help"}, nil, &out)
	if !errors.Is(err, ErrExit) || p.Exit(&out, err) != ExitOK {
		t.Error(err)
	}
	for _, want := range []string{"How long. [1m]", "Go, home.", "Does."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestExit(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		said string
	}{
		{nil, ExitOK, ""},
		{Refuse(nil), ExitOK, ""},
		{errors.New("no disk"), ExitFailed, "prog: failed: no disk\n"},
		{Refuse(errors.Join(errors.New("a"), errors.New("b"))), ExitRefused, "prog: refused: a\nprog: refused: b\n"},
		{errors.Join(Refuse(errors.New("a"))), ExitRefused, "prog: refused: a\n"},
	} {
		var b bytes.Buffer
		if code := program().Exit(&b, c.err); code != c.code || b.String() != c.said {
			t.Errorf("%v: %d, %q", c.err, code, b.String())
		}
	}
}

// TestVariables: settings are listed and verbs' flags are not; programs know the others' and not their own.
func TestVariables(t *testing.T) {
	got, err := program().Variables(&commands{})
	if want := []string{"CONFIG", "MODE", "NAMES", "ROOM", "SURE", "WAIT"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for name := range variables() {
		if own := KnownTo(name); !slices.IsSorted(own) {
			t.Errorf("%s: not in order: %v", name, own)
		}
	}
	if o := Others("pdp"); !slices.Contains(o, "TOKEN") || !slices.Contains(o, "CI") || slices.Contains(o, "DATA_DIR") {
		t.Errorf("others than pdp know %v", o)
	}
	if o := Others("sidecar"); !slices.Contains(o, "DATA_DIR") {
		t.Errorf("others than the sidecar know %v", o)
	}
}

func TestFindings(t *testing.T) {
	var f Findings
	f.Need(true, "a", "x")
	if f.Failed("b", nil) || f.Err() != nil {
		t.Error(f.Err())
	}
	f.Need(false, "a", "%d is odd", 3)
	if !f.Failed("b", errors.New("gone")) || f.Err().Error() != "a: 3 is odd\nb: gone" {
		t.Error(f.Err())
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{"0B": 0, "7": 7, "1KiB": 1024, "32MiB": 32 << 20, "3GiB": 3 << 30, "1TiB": 1 << 40, "1536KiB": 1536 << 10} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s: %d, %v", text, s, err)
		}
		var again Size
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Errorf("%s is printed as %s", text, s)
		}
	}
}
