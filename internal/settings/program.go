package settings

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Exit codes of the programs.
const (
	ExitOK      = 0
	ExitFailed  = 1 // it could not start, or it stopped because of an error
	ExitRefused = 2 // the command line or a setting is wrong; nothing was done
)

// Program is a command line with settings.
type Program struct {
	// Name begins the usage and every complaint.
	Name string
	// Description begins the help.
	Description string
	// Vars are filled in where a tag has ${name}.
	Vars map[string]string
	// Elsewhere are the variables, without JOBWARD_, that other programs know and that are passed over here; see [Others].
	Elsewhere []string
}

// ErrExit is the error of [Program.Parse] when everything was said, for --help.
var ErrExit = errors.New("exit")

// Refusal is an error that was found before anything was done.
type Refusal struct{ Err error }

// Error implements error.
func (e Refusal) Error() string { return e.Err.Error() }

// Unwrap gives what was wrong.
func (e Refusal) Unwrap() error { return e.Err }

// Refuse makes a Refusal of an error, and nil of nil.
func Refuse(err error) error {
	if err == nil {
		return nil
	}
	return Refusal{err}
}

// Exit says on w what came out of a verb, joined errors on a line each, and gives the exit code.
func (p *Program) Exit(w io.Writer, err error) int {
	if err == nil || errors.Is(err, ErrExit) {
		return ExitOK
	}
	how, code := "failed", ExitFailed
	if bad := (Refusal{}); errors.As(err, &bad) {
		how, code = "refused", ExitRefused
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(w, "%s: %s: %s\n", p.Name, how, line)
	}
	return code
}

// Parse reads the command line, the environment and the file into commands, a pointer to the struct of settings and verbs. It gives the verb as
// kong calls it, and the settings as people see them. Arguments do not include the program's name; environ is that of os.Environ. Help goes
// to stdout. Errors are [ErrExit] and a [Refusal].
func (p *Program) Parse(commands any, args, environ []string, stdout io.Writer) (verb string, shown []Shown, err error) {
	var src *sources
	exited := false
	app, err := p.build(commands, stdout,
		kong.Exit(func(int) { exited = true }),
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
			if src, err = p.newSources(ctx.Model, environ, path); err == nil {
				ctx.AddResolver(src)
			}
			return err
		}))
	if err != nil {
		return "", nil, err
	}
	ctx, err := app.Parse(args)
	if exited {
		return "", nil, ErrExit // after --help kong would go on
	}
	if err != nil {
		if src != nil && src.last != "" && strings.HasPrefix(err.Error(), "--"+src.last) {
			err = fmt.Errorf("%s: %w", src.used[src.last], err)
		}
		return "", nil, Refuse(err)
	}
	return ctx.Command(), show(ctx, src.used), nil
}

// Variables lists what the settings in commands are called in the environment, without JOBWARD_ and in order. It is for a test that
// compares them with [KnownTo].
func (p *Program) Variables(commands any) ([]string, error) {
	app, err := p.build(commands, io.Discard)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, name := range settingNames(app.Model) {
		list = append(list, strings.TrimPrefix(envName(name), envPrefix))
	}
	slices.Sort(list)
	return list, nil
}

func (p *Program) build(commands any, stdout io.Writer, options ...kong.Option) (*kong.Kong, error) {
	app, err := kong.New(commands, append(options,
		kong.Name(p.Name), kong.Description(p.Description), kong.Writers(stdout, io.Discard), kong.Vars(p.Vars),
		kong.ValueFormatter(helpWithDefault), kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 140}))...)
	if err != nil {
		return nil, fmt.Errorf("the command line is built wrong, which is a bug: %w", err)
	}
	return app, nil
}

// helpWithDefault tells the default of a setting at the end of its line.
func helpWithDefault(v *kong.Value) string {
	if !v.HasDefault || v.Flag == nil {
		return v.Help
	}
	return fmt.Sprintf("%s [%s]", v.Help, v.Default)
}
