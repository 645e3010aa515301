package etcdstore

import (
	"crypto/tls"
	"log/slog"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// Options are the settings of a store. Only Endpoints and Prefix are needed.
type Options struct {
	// Endpoints are the members of the cluster, as "host:port" or URLs. Name all: the client
	// goes on with another when one is lost.
	Endpoints []string
	// Prefix is where the store's keys are, such as "/jobward/". Nothing else may be below it.
	Prefix string
	// TLS is for https endpoints; with a certificate in it, etcd can know the PDP by that.
	TLS *tls.Config
	// Username and Password are for a cluster with authentication by password.
	Username, Password string
	// Seen is the highest mark that the caller knows of; zero is none. A store that is behind it
	// or beside it is refused (PROTOCOL R13), and so is an empty one.
	Seen state.Mark
	// Look opens the store for reading, beside others that use it: none is made where there is
	// none (KindNotFound, NO_STORE), nothing is folded, and nothing can be committed.
	Look bool
	// Logger takes what there is to tell; nil is silence.
	Logger *slog.Logger
	// Timeout bounds one try of one call to etcd. A commit is tried again until its outcome is
	// known. Zero is 3 s: more than etcd needs to elect a leader with its own settings.
	Timeout time.Duration
	// Patience is how long a batch that was not sent waits for a cluster that cannot be
	// reached before it is refused. Zero is 5 s.
	Patience time.Duration
	// Request is the most bytes that one request to etcd has. It must be below etcd's
	// --max-request-bytes (1.5 MiB unless set otherwise). Zero is 1 MiB, the least 64 KiB.
	Request int
	// Operations is the most operations of one transaction, below etcd's --max-txn-ops. Zero
	// is 100.
	Operations int
	// History is how many changes are kept at least; zero is 10,000, and so is less.
	History int
	// Fold is how many transactions, or mebibytes of them, are in the log before their records
	// are written to their own keys. Zero is 4,096 and 16.
	Fold int
	// Fault is for tests; see [Fault].
	Fault Fault
}

const (
	minHistory = 10_000
	foldBytes  = 16 << 20
)

func (o *Options) fill() error {
	if len(o.Endpoints) == 0 {
		return authz.Invalid("endpoints", "there is none: name the members of the etcd cluster")
	}
	if strings.Trim(o.Prefix, "/") == "" {
		return authz.Invalid("prefix", "it is empty: name one that nothing else uses, such as /jobward/")
	}
	if !strings.HasSuffix(o.Prefix, "/") {
		o.Prefix += "/"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	orDefault(&o.Timeout, 3*time.Second)
	orDefault(&o.Patience, 5*time.Second)
	orDefault(&o.Request, 1<<20)
	orDefault(&o.Operations, 100)
	orDefault(&o.Fold, 4096)
	o.Request = max(o.Request, 64<<10)
	o.Operations = max(o.Operations, 4)
	o.History = max(o.History, minHistory)
	return nil
}

func orDefault[T time.Duration | int](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}

// dial makes a client. It connects in the background.
func (o *Options) dial() (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints: o.Endpoints, TLS: o.TLS, Username: o.Username, Password: o.Password,
		DialTimeout: o.Timeout, MaxUnaryRetries: 1,
		// etcd turns away clients that ping more often than every five seconds.
		DialKeepAliveTime: 6 * time.Second, DialKeepAliveTimeout: 2 * time.Second, PermitWithoutStream: true,
		MaxCallSendMsgSize: 64 << 20,
		// What matters of what it would log, the store says itself.
		Logger: zap.NewNop(),
	})
}

// Step is one of the things that a store does to etcd, for tests.
type Step string

// The steps.
const (
	StepStage  Step = "stage"  // A chunk of a large batch is written.
	StepCommit Step = "commit" // The transaction that moves the head.
	StepFold   Step = "fold"   // One transaction of folding.
	StepWatch  Step = "watch"  // A watch is begun.
	// StepRegister is one transaction of the registry.
	StepRegister Step = "register"
)

// Fault is a hook for tests, called before and after each step. An error that it returns
// takes the place of the step's own: one that wraps context.DeadlineExceeded is an answer
// that was lost, others are failures that leave no hope.
type Fault func(step Step, done bool) error

// do does a step.
func (f Fault) do(step Step, fn func() error) error {
	if f == nil {
		return fn()
	}
	if err := f(step, false); err != nil {
		return err
	}
	if err := fn(); err != nil {
		return err
	}
	return f(step, true)
}
