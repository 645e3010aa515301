package pep

import (
	"context"
	"time"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// Transport is how a Decider reaches PDPs. The default speaks gRPC; simulations take
// channels. It is safe for concurrent use.
type Transport interface {
	// Endpoints lists where PDPs are now, in the order of the settings. It is asked before
	// each round of attempts.
	Endpoints(ctx context.Context) ([]string, error)
	// Open prepares for calls to one endpoint and connects to nothing yet.
	Open(endpoint string) (PDP, error)
	// Close frees what all have in common. Every PDP was closed before.
	Close() error
}

// PDP is one endpoint. Watch, Report and the questions take different connections
// (R19), so that none waits for another. Errors are those that package wire makes,
// or anything: what is not an [authz.Error] counts as unavailable.
type PDP interface {
	// Watch opens the lane of leases. It returns when a hello can be sent at once, or
	// fails when the endpoint cannot be reached. The stream ends with ctx.
	Watch(ctx context.Context) (WatchStream, error)
	// Report opens the lane of access reports. The stream ends with ctx.
	Report(ctx context.Context, hello ReportHello) (ReportStream, error)
	// Check asks one question.
	Check(ctx context.Context, q *Question) (authz.Decision, error)
	// BatchCheck asks several questions about one token, and gives the answers in their
	// order.
	BatchCheck(ctx context.Context, q *BatchQuestion) ([]authz.Decision, error)
	// Introspect asks whose token it is.
	Introspect(ctx context.Context, q *IntrospectQuestion) (Introspection, error)
	// Close ends the connections.
	Close() error
}

// WatchStream is the lane of leases. One goroutine sends while another receives.
type WatchStream interface {
	// Hello is the first thing sent, and sent once.
	Hello(name, version string, h lease.Hello) error
	// Send sends what a holder says after its hello. Figures go with a renewal.
	Send(m lease.Message, f Figures) error
	// Recv waits for a message. Its Generation is that of the stream's welcome. The error
	// of a refused history has the code HISTORY_BEHIND or HISTORY_BESIDE.
	Recv() (WatchMessage, error)
	// CloseSend says that nothing more is sent.
	CloseSend() error
}

// WatchMessage is a message of the grantor. A heartbeat's Head is a mark to be kept, or
// zero.
type WatchMessage struct {
	lease.Message
	// Prefixes of job tokens, with a welcome; the first is that of new ones.
	Prefixes []string
}

// Figures are what a renewal tells, for people.
type Figures struct {
	Entries, Hits, Misses int64
	Applied               authz.Revision
}

// Asked is what a question says besides what it asks.
type Asked struct {
	// Generation that the answer may be kept in, zero for none.
	Generation lease.Generation
	// Applied is the least revision to judge at, Epoch the least epoch.
	Applied authz.Revision
	Epoch   uint64
}

// Question is one question.
type Question struct {
	authz.Request
	Asked
}

// BatchQuestion is several questions about one token. The Token of each is the same.
type BatchQuestion struct {
	Requests []authz.Request
	Asked
}

// IntrospectQuestion asks whose token it is.
type IntrospectQuestion struct {
	Token authz.Digest
	Asked
}

// Introspection tells whose token it is.
type Introspection struct {
	// Live says whether the token opens anything, Reason why not, or AllowedOwnJob.
	Live   bool
	Reason authz.Reason
	// ValidFor is how long it can still live, counted from when the question was sent.
	ValidFor time.Duration
	// Revision is that of the answer.
	Revision authz.Revision
	// Record is the job as the PDP's API gives it; nil when nobody has the token, and from
	// a Transport that does not speak protobuf.
	Record *jobwardv1.Job
}

// ReportHello opens the lane of reports.
type ReportHello struct {
	// Name is that of the Decider. Canary takes canary questions.
	Name   string
	Canary bool
}

// ReportStream is the lane of reports. One goroutine sends while another receives.
type ReportStream interface {
	// Accesses tells what was answered from the cache, at most [MaxAccesses] at once, and
	// how many answers were not counted.
	Accesses(list []Access, dropped int64) error
	// Answer answers a canary question.
	Answer(a CanaryAnswer) error
	// Recv waits for a canary question.
	Recv() (CanaryQuestion, error)
}

// MaxAccesses is how many kinds of answer one batch tells of at most.
const MaxAccesses = 10_000

// Access is one kind of answer given from the cache, and how often.
type Access struct {
	Source, Target authz.ProjectID
	Permission     authz.Permission
	Reason         authz.Reason
	Count          int64
	// LastAge is how long ago the newest was, to within a few seconds.
	LastAge time.Duration
}

// CanaryQuestion is a question of the PDP, to be answered as any other.
type CanaryQuestion struct {
	ID uint64
	authz.Request
}

// CanaryAnswer is how it was answered. Reason is ReasonNone when it could not be
// decided.
type CanaryAnswer struct {
	ID            uint64
	Allow, Cached bool
	Reason        authz.Reason
}
