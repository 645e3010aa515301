package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/telemetry"
	"github.com/jobward/jobward/pdp/state/badgerstore"
)

// Exit codes of the program.
const (
	exitOK      = 0
	exitFailed  = 1 // it could not start, or it stopped because of an error; fsck found damage
	exitRefused = 2 // the command line or a setting is wrong, or fsck found no store to look at; nothing was done
)

// commands is the command line.
type commands struct {
	Config

	Serve   struct{} `cmd:"" default:"1" help:"Run the policy decision point (what pdp does when no verb is given)."`
	Setting struct {
		Show  struct{} `cmd:"" help:"Print every setting that is in force and where it comes from, in the form of a settings file."`
		Check struct{} `cmd:"" help:"Judge all settings and read the files they name, without touching the data directory."`
	} `cmd:"" name:"config" help:"Look at settings."`
	Fsck    struct{} `cmd:"" help:"Check every byte of the store in the data directory. It changes nothing; the PDP must not be running."`
	Version struct{} `cmd:"" help:"Print the version."`
	Keys    struct {
		New newKey `cmd:"" help:"Make a bearer key. The key is printed once; its row for the callers file is printed beside it."`
	} `cmd:"" help:"Make bearer keys."`
}

// newKey is the verb "keys new".
type newKey struct {
	Name string   `arg:"" help:"Name of the caller: 1 to 64 letters, digits, dots, dashes and underscores."`
	Role []string `required:"" placeholder:"ROLE" help:"Roles of the caller, with commas: ${roles}."`
}

// Validate is called by kong.
func (n *newKey) Validate() error {
	if !regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`).MatchString(n.Name) {
		return fmt.Errorf("the name of a key has 1 to 64 letters, digits, dots, dashes and underscores, not %q", n.Name)
	}
	for _, name := range n.Role {
		if _, err := identity.ParseRole(name); err != nil {
			return err
		}
	}
	return nil
}

const description = `Jobward's policy decision point: issues, judges and revokes CI job tokens.

Every setting --some-name can also be given as the environment variable JOBWARD_SOME_NAME, or as a line "some-name: value" of the YAML file that
--config names; the flag counts first, then the environment, then the file. Without any settings it runs in development mode on 127.0.0.1 and
keeps its data in ./pdp-data.`

// errExit ends the parsing for --help, after which kong would go on.
var errExit = errors.New("exit")

// Main is the program pdp. It ends when ctx does and returns the exit code. Arguments do not include the program's name; environ is that of
// os.Environ.
func Main(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	return commandLine{stdout: stdout, stderr: stderr}.run(ctx, args, environ)
}

// commandLine runs verbs.
type commandLine struct {
	stdout, stderr io.Writer
	fault          badgerstore.Fault // for tests
}

func (c commandLine) run(ctx context.Context, args, environ []string) int {
	stdout, stderr := c.stdout, c.stderr
	cmd, verb, shown, err := parse(args, environ, stdout)
	if errors.Is(err, errExit) {
		return exitOK
	}
	if err != nil {
		return complain(stderr, "refused", err, exitRefused)
	}
	switch verb {
	case "serve":
		err = Run(ctx, Options{Config: cmd.Config, Shown: shown, Stdout: stdout, Stderr: stderr, fault: c.fault})
	case "config show":
		err = writeSettings(stdout, shown)
	case "config check":
		_, err = cmd.check()
		if err = errors.Join(err, telemetry.CheckEnvironment(environ)); err != nil {
			return complain(stderr, "refused", err, exitRefused)
		}
		_, err = fmt.Fprintln(stdout, "the settings are good")
	case "fsck":
		err = fsck(ctx, cmd.DataDir, stdout)
	case "version":
		_, err = fmt.Fprintln(stdout, "pdp", Version())
	case "keys new <name>":
		err = cmd.Keys.New.run(stdout)
	}
	if bad := (settingsError{}); errors.As(err, &bad) {
		return complain(stderr, "refused", err, exitRefused)
	}
	if err != nil {
		return complain(stderr, "failed", err, exitFailed)
	}
	return exitOK
}

// complain prints an error, joined ones on a line each.
func complain(w io.Writer, how string, err error, code int) int {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(w, "pdp: %s: %s\n", how, line)
	}
	return code
}

// parse reads the command line, the environment and the file.
func parse(args, environ []string, stdout io.Writer) (*commands, string, []Shown, error) {
	cmd := &commands{}
	var src *sources
	exited := false
	app, err := kong.New(cmd,
		kong.Name("pdp"), kong.Description(description), kong.Writers(stdout, io.Discard),
		kong.Vars{"roles": identity.AllRoles().String()},
		kong.ValueFormatter(helpWithDefault),
		kong.Exit(func(int) { exited = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 140}),
		kong.WithBeforeResolve(func(ctx *kong.Context) error {
			if src != nil || exited {
				return nil // kong calls this once for every word of the command line
			}
			path := ""
			for _, p := range ctx.Path {
				if p.Flag != nil && p.Flag.Name == "config" {
					path, _ = ctx.FlagValue(p.Flag).(string)
				}
			}
			var err error
			if src, err = newSources(ctx.Model, environ, path); err == nil {
				ctx.AddResolver(src)
			}
			return err
		}))
	if err != nil {
		return nil, "", nil, fmt.Errorf("the command line is built wrong, which is a bug: %w", err)
	}
	ctx, err := app.Parse(args)
	if exited {
		return nil, "", nil, errExit
	}
	if err != nil {
		if src != nil && src.last != "" && strings.HasPrefix(err.Error(), "--"+src.last) {
			err = fmt.Errorf("%s: %w", src.used[src.last], err)
		}
		return nil, "", nil, err
	}
	return cmd, ctx.Command(), show(ctx, src.used), nil
}

// helpWithDefault tells the default of a setting at the end of its line.
func helpWithDefault(v *kong.Value) string {
	if !v.HasDefault || v.Flag == nil {
		return v.Help
	}
	return fmt.Sprintf("%s [%s]", v.Help, v.Default)
}

// run makes a key. It is on standard output and nowhere else.
func (n *newKey) run(stdout io.Writer) error {
	key, hash := identity.NewKey()
	_, err := fmt.Fprintf(stdout, `%s

That is the key. It is shown this once; give it to %s and to nobody else. For the callers file, under "keys:":

  - name: %s
    sha256: %s
    roles: [%s]
`, key, n.Name, n.Name, hash, strings.Join(n.Role, ", "))
	return err
}
