// Package cli is the command pdpctl: a file for each verb, over the gRPC API of a policy decision point.
//
// A verb is a struct of flags with a Run method; kong finds it in the tree of [commands]. What a verb prints goes through
// [session.print]: a table for people, or the API's message as JSON or YAML with the API's field names, which are stable.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/jobward/jobward/internal/wire"
)

// The exit codes.
const (
	ExitOK     = 0 // allowed, or done
	ExitDenied = 1 // a denial, or scenarios that failed
	ExitFailed = 2 // could not decide, or not done: usage, connection, refusal of the call
)

// exitCode ends a verb that has said all that there is to say, with a code of its own.
type exitCode int

// Error implements error.
func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// errDenied ends a verb that has printed a denial.
var errDenied = errors.New("denied")

// globals are the flags of every verb.
type globals struct {
	Address    string        `default:"127.0.0.1:7420" env:"JOBWARD_ADDRESS" help:"Where the PDP is: host:port or unix:PATH."`
	CA         string        `name:"ca" env:"JOBWARD_CA" placeholder:"FILE" help:"Certificates to verify the PDP with. Without --ca, --cert and --key-file the connection is not encrypted, which works on this machine only."`
	Cert       string        `env:"JOBWARD_CERT" placeholder:"FILE" help:"Client certificate."`
	Key        string        `env:"JOBWARD_KEY" placeholder:"FILE" help:"Private key of the client certificate."`
	ServerName string        `env:"JOBWARD_SERVER_NAME" placeholder:"NAME" help:"Name in the PDP's certificate, when it is not the host of --address."`
	KeyFile    string        `env:"JOBWARD_KEY_FILE" placeholder:"FILE" help:"File that holds a bearer key of the callers file."`
	As         string        `env:"JOBWARD_AS" placeholder:"USER" help:"User to act for, by id or name: edits of allowlists are judged by that user's role."`
	Output     string        `short:"o" enum:"table,json,yaml" default:"table" env:"JOBWARD_OUTPUT" help:"Form of the output: table, json or yaml."`
	Timeout    time.Duration `default:"30s" env:"JOBWARD_TIMEOUT" help:"Deadline of each call."`
}

// commands is the command line.
type commands struct {
	globals

	Token      tokenCmd      `cmd:"" help:"Issue, revoke and look at job tokens."`
	Check      checkCmd      `cmd:"" help:"Ask whether a job may do something. Exit code 0: allowed, 1: denied, 2: could not decide."`
	Explain    explainCmd    `cmd:"" help:"Ask the same and see every rule with what it saw, also for a job that has ended."`
	Allowlist  allowlistCmd  `cmd:"" help:"Read and edit who may reach a project, and where its jobs may go."`
	Directory  directoryCmd  `cmd:"" help:"Read and change groups, projects, users and memberships."`
	World      worldCmd      `cmd:"" help:"Export the directory to a file, or make the directory what a file says."`
	Settings   settingsCmd   `cmd:"" help:"Read and change the settings of the installation."`
	Catalogue  catalogueCmd  `cmd:"" help:"Read and change the permission catalogue."`
	Receipt    receiptCmd    `cmd:"" help:"Wait for the receipt of a change that was made before."`
	Sidecars   sidecarsCmd   `cmd:"" help:"List the sidecars that hold a lease of the PDP that answers, and what they hold."`
	Replicas   replicasCmd   `cmd:"" help:"List the PDPs that have one store open, and how far each is."`
	Watch      watchCmd      `cmd:"" help:"Tell what happens from now on: invalidations as they are sent, and decisions."`
	Exec       execCmd       `cmd:"" help:"Run a command as a job: with a token of its own, masked output, and the token revoked at its end."`
	Mask       maskCmd       `cmd:"" help:"Copy standard input to standard output without secrets."`
	Demo       demoCmd       `cmd:"" help:"Start a PDP and two sidecars, or with --replicas several PDPs on etcd, revoke under load, and show that nothing is allowed afterwards."`
	Audit      auditCmd      `cmd:"" help:"Read who did what."`
	Health     healthCmd     `cmd:"" help:"Tell whether the PDP serves, and what it holds."`
	Test       testCmd       `cmd:"" help:"Run scenario files, here or against a PDP."`
	Completion completionCmd `cmd:"" help:"Print a completion script for a shell."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

// session is what a verb runs in.
type session struct {
	ctx      context.Context
	in       io.Reader
	out, err io.Writer
	globals  *globals
	kong     *kong.Kong
	conn     *grpc.ClientConn
	// unsettled are the changes whose receipts are waited for later on.
	unsettled []uint64
	// addressGiven says that --address or its variable was set and is not the default.
	addressGiven bool
}

const description = `Talks to Jobward's policy decision point.

Projects and groups are named by id or by full path, users by id or by name. Exit codes: 0 allowed or done, 1 denied or failed scenarios,
2 could not decide, wrong usage, or an error.`

// Main runs one command line, without the program's name, and gives the exit code.
func Main(ctx context.Context, args []string, in io.Reader, out, errout io.Writer) int {
	var cmd commands
	exited := errors.New("exit")
	parser, err := kong.New(&cmd, kong.Name("pdpctl"), kong.Description(description), kong.UsageOnError(), kong.Writers(out, errout),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Exit(func(int) { panic(exited) }))
	if err != nil {
		return fail(errout, err)
	}
	code := ExitOK
	func() {
		defer func() { // --help asks to exit from inside Parse
			if r := recover(); r != nil && r != exited {
				panic(r)
			}
		}()
		code = run(ctx, parser, &cmd, args, in, out, errout)
	}()
	return code
}

func run(ctx context.Context, parser *kong.Kong, cmd *commands, args []string, in io.Reader, out, errout io.Writer) int {
	if len(args) == 0 {
		args = []string{"--help"}
	}
	for i, a := range args {
		if a == "--" { // what follows is another command's
			break
		}
		if a == "-run" { // as go test spells it
			args = slices.Clone(args)
			args[i] = "--run"
		}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return fail(errout, fmt.Errorf("%w (pdpctl --help lists the verbs, and --help after a verb its flags)", err))
	}
	s := &session{ctx: ctx, in: in, out: out, err: errout, globals: &cmd.globals, kong: parser}
	for _, p := range parsed.Path {
		s.addressGiven = s.addressGiven || (p.Flag != nil && p.Flag.Name == "address")
	}
	_, inEnv := os.LookupEnv("JOBWARD_ADDRESS")
	s.addressGiven = s.addressGiven || inEnv
	defer s.close()
	var code exitCode
	switch err := parsed.Run(s); {
	case err == nil:
		return ExitOK
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, errDenied):
		return ExitDenied
	default:
		return fail(errout, s.words(err))
	}
}

func fail(errout io.Writer, err error) int {
	fmt.Fprintln(errout, "pdpctl:", err)
	return ExitFailed
}

// words makes an error of a call one line for people, with the fields that were wrong.
func (s *session) words(err error) error {
	var remote interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &remote) { // the innermost: what kong and we put around it is no part of the message
		return err
	}
	e := wire.AsError(remote.GRPCStatus().Err())
	text := e.Message
	for _, v := range e.Violations {
		if !strings.Contains(text, v.Message) {
			text += "; " + v.Field + ": " + v.Message
		}
	}
	return fmt.Errorf("%s (%s)", text, e.Code)
}
