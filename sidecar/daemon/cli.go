package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/internal/telemetry"
)

// commands is the command line.
type commands struct {
	Config

	Serve   struct{} `cmd:"" default:"1" help:"Run the sidecar (what sidecar does when no verb is given)."`
	Setting struct {
		Show  struct{} `cmd:"" help:"Print every setting that is in force and where it comes from, in the form of a settings file."`
		Check struct{} `cmd:"" help:"Judge all settings and read the files they name, without touching the state directory."`
	} `cmd:"" name:"config" help:"Look at settings."`
	RegistryKeys registryKeys `cmd:"" help:"Make the key and the certificate that registry tokens are signed with; run again, make new ones under the same CA."`
	Version      struct{}     `cmd:"" help:"Print the version."`
}

const description = `Jobward's sidecar: answers questions about CI job tokens beside a service, from a cache that is never wrong about a revocation.

Every setting --some-name can also be given as the environment variable JOBWARD_SOME_NAME, or as a line "some-name: value" of the YAML file that
--config names; the flag counts first, then the environment, then the file. Without any settings it runs in development mode on 127.0.0.1,
asks the policy decision point that "pdp" without settings is, and keeps its state in ./sidecar-data.`

// program is what package settings knows of this one.
func program() *settings.Program {
	return &settings.Program{Name: "sidecar", Description: description, Elsewhere: settings.Others("sidecar")}
}

// Main is the program sidecar. It ends when ctx does and returns the exit code. Arguments do not include the program's name; environ is that of
// os.Environ.
func Main(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	runtime.MemProfileRate = 0 // its table takes more than the decisions of a small cache, and nobody reads it
	return program().Exit(stderr, verb(ctx, args, environ, stdout, stderr))
}

// verb does what was asked.
func verb(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	cmd, verb, shown, err := parse(args, environ, stdout)
	if err != nil {
		return err
	}
	switch verb {
	case "serve":
		return Run(ctx, Options{Config: cmd.Config, Shown: shown, Stdout: stdout, Stderr: stderr})
	case "config show":
		return settings.Write(stdout, shown)
	case "config check":
		_, err = cmd.check()
		if err = errors.Join(err, telemetry.CheckEnvironment(environ)); err != nil {
			return settings.Refuse(err)
		}
		_, err = fmt.Fprintln(stdout, "the settings are good")
	case "registry-keys <dir>":
		text, err := cmd.RegistryKeys.make()
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(stdout, text)
		return err
	case "version":
		_, err = fmt.Fprintln(stdout, "sidecar", telemetry.Version())
	}
	return err
}

// Parse reads settings as [Main] does, for programs that run a sidecar within themselves.
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
