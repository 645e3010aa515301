package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/internal/telemetry"
	"github.com/jobward/jobward/pdp/state/badgerstore"
)

// commands is the command line.
type commands struct {
	Config

	Serve   struct{} `cmd:"" default:"1" help:"Run the policy decision point (what pdp does when no verb is given)."`
	Setting struct {
		Show  struct{} `cmd:"" help:"Print every setting that is in force and where it comes from, in the form of a settings file."`
		Check struct{} `cmd:"" help:"Judge all settings and read the files they name, without touching the data directory."`
	} `cmd:"" name:"config" help:"Look at settings."`
	Fsck    struct{} `cmd:"" help:"Check every byte of the store. It changes nothing. The PDP of an embedded store must not be running; those on etcd may."`
	Migrate migrate  `cmd:"" help:"Copy a store, live tokens included, into another place: from the embedded store to etcd, or back. It shows what it would do; with --yes it does it. No PDP may run on either."`
	Version struct{} `cmd:"" help:"Print the version."`
	Keys    struct {
		New newKey `cmd:"" help:"Make a bearer key. The key is printed once; its row for the callers file is printed beside it."`
	} `cmd:"" help:"Make bearer keys."`
}

// newKey is the verb "keys new".
type newKey struct {
	Name string   `arg:"" help:"Name of the caller: 1 to 64 letters, digits, dots, dashes and underscores."`
	Role []string `required:"" placeholder:"ROLE" help:"Roles of the caller, with commas: ${roles}."`
	User int64    `placeholder:"ID" help:"The one user that the key acts for, by the REST API: goes with the role maintainer alone."`
}

// Validate is called by kong.
func (n *newKey) Validate() error {
	if !regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`).MatchString(n.Name) {
		return fmt.Errorf("the name of a key has 1 to 64 letters, digits, dots, dashes and underscores, not %q", n.Name)
	}
	var roles identity.RoleSet
	for _, name := range n.Role {
		r, err := identity.ParseRole(name)
		if err != nil {
			return err
		}
		roles |= identity.Roles(r)
	}
	if n.User != 0 {
		if err := identity.CheckUser(n.User, roles); err != nil {
			return fmt.Errorf("the key %s %w", n.Name, err)
		}
	}
	return nil
}

const description = `Jobward's policy decision point: issues, judges and revokes CI job tokens.

Every setting --some-name can also be given as the environment variable JOBWARD_SOME_NAME, or as a line "some-name: value" of the YAML file that
--config names; the flag counts first, then the environment, then the file. Without any settings it runs in development mode on 127.0.0.1 and
keeps its data in ./pdp-data.`

// program is what package settings knows of this one.
func program() *settings.Program {
	return &settings.Program{
		Name: "pdp", Description: description, Vars: map[string]string{"roles": identity.AllRoles().String()}, Elsewhere: settings.Others("pdp"),
	}
}

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
	return program().Exit(c.stderr, c.verb(ctx, args, environ))
}

// verb does what was asked. It ends with 1 also when fsck found damage, and with 2 when there is no store to look at.
func (c commandLine) verb(ctx context.Context, args, environ []string) error {
	cmd, verb, shown, err := parse(args, environ, c.stdout)
	if err != nil {
		return err
	}
	switch verb {
	case "serve":
		return Run(ctx, Options{Config: cmd.Config, Shown: shown, Stdout: c.stdout, Stderr: c.stderr, fault: c.fault})
	case "config show":
		return settings.Write(c.stdout, shown)
	case "config check":
		_, err = cmd.check()
		if err = errors.Join(err, telemetry.CheckEnvironment(environ)); err != nil {
			return settings.Refuse(err)
		}
		_, err = fmt.Fprintln(c.stdout, "the settings are good")
	case "fsck":
		return fsck(ctx, &cmd.Config, c.stdout, c.stderr)
	case "migrate":
		return cmd.Migrate.run(ctx, &cmd.Config, c.fault, c.stdout, c.stderr)
	case "version":
		_, err = fmt.Fprintln(c.stdout, "pdp", telemetry.Version())
	case "keys new <name>":
		return cmd.Keys.New.run(c.stdout)
	}
	return err
}

// Parse reads settings as [Main] does, for programs that run a PDP within themselves.
func Parse(args, environ []string) (Config, error) {
	cmd, _, _, err := parse(args, environ, io.Discard)
	if err != nil {
		return Config{}, err
	}
	return cmd.Config, nil
}

// parse reads the command line, the environment and the file.
func parse(args, environ []string, stdout io.Writer) (*commands, string, []settings.Shown, error) {
	cmd := &commands{}
	verb, shown, err := program().Parse(cmd, args, environ, stdout)
	return cmd, verb, shown, err
}

// run makes a key. It is on standard output and nowhere else.
func (n *newKey) run(stdout io.Writer) error {
	key, hash := identity.NewKey()
	user := ""
	if n.User != 0 {
		user = fmt.Sprintf("    user: %d\n", n.User)
	}
	_, err := fmt.Fprintf(stdout, `%s

That is the key. It is shown this once; give it to %s and to nobody else. For the callers file, under "keys:":

  - name: %s
    sha256: %s
    roles: [%s]
%s`, key, n.Name, n.Name, hash, strings.Join(n.Role, ", "), user)
	return err
}
