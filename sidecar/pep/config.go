package pep

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"github.com/jobward/jobward/internal/clock"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// Defaults of [Config].
const (
	DefaultMaxEntries   = 100_000
	DefaultMaxBytes     = 32 << 20
	DefaultWait         = time.Second
	DefaultCallTimeout  = 2 * time.Second
	DefaultReportEvery  = 2 * time.Second
	DefaultMaxBackoff   = 5 * time.Second
	DefaultRefusedAfter = 30 * time.Second
)

// Unavailable says what a Decider answers when it may not believe its cache and cannot
// ask the PDP either.
type Unavailable uint8

const (
	// DenyLapsed gives a denial with [authz.LeaseLapsed]. A Decider that has not had a
	// lease yet gives the error all the same: it cannot have lost touch.
	DenyLapsed Unavailable = iota
	// ErrorUnavailable gives an error of kind [authz.KindUnavailable], for services that
	// have a better answer to a fault than to a refusal.
	ErrorUnavailable
)

// Config is what a Decider is made of. Addresses, or a Transport, must be given;
// the zero value of everything else works.
type Config struct {
	// Addresses are the PDPs: "host:port", or "unix:/path". A name stands for all the IP
	// addresses that it has when a connection is made, so one name in the DNS is enough
	// for many PDPs. What stands between must not spread connections over several PDPs,
	// as the virtual address of a Kubernetes service does: nothing could be cached. Name
	// a headless service there.
	//
	// The Decider holds to one of them, chosen at random, and goes to the next when it
	// is lost, when it says that it is about to stop, or when its history is not the one
	// that was seen before.
	Addresses []string
	// TLS says how the PDPs are told from others and how this service shows who it is.
	TLS TLS
	// KeyFile holds a bearer key, for a service that has no client certificate. The file
	// is read again for every connection.
	KeyFile string
	// Development allows connections without TLS, and only to loopback addresses and
	// Unix sockets.
	Development bool
	// Dial connects to an address in place of a net.Dialer: through a proxy, or to a
	// server in the same process.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Transport takes the place of gRPC and of the five fields above.
	Transport Transport

	// Name is what this Decider is called in the PDP's lists of sidecars: at most 128
	// bytes of printable ASCII without spaces. It is for people, and need not be unique.
	// Version is that of the program around it, likewise.
	Name, Version string

	// StateDir is a directory where the highest point in the PDP's history that was ever
	// seen is kept. It is created if need be, and belongs to this Decider alone. Without
	// it that point is kept in memory: then, after a restart of this process, a PDP that
	// was set back to an older state is believed, and allows what it had denied before.
	StateDir string

	// MaxEntries bounds the answers kept; zero takes DefaultMaxEntries. MaxBytes bounds the
	// memory that they take, about; zero takes DefaultMaxBytes.
	MaxEntries int
	MaxBytes   int64

	// Unavailable says what is answered when nothing can be decided.
	Unavailable Unavailable
	// Wait is how long after a PDP was lost, and after the start, a question waits for
	// another before it counts as unanswerable. Later ones do not wait. Zero takes DefaultWait.
	Wait time.Duration
	// CallTimeout bounds each question to a PDP, beside the caller's own deadline; zero
	// takes DefaultCallTimeout.
	CallTimeout time.Duration
	// MaxBackoff bounds the pause between two rounds of attempts to reach a PDP; zero
	// takes DefaultMaxBackoff. Pauses begin at 50 ms and are drawn at random, so that
	// the sidecars of a PDP that restarts do not come at once.
	MaxBackoff time.Duration

	// Canary lets the PDP measure how long a dead token lives here: it asks questions
	// about tokens of its own through this Decider.
	Canary bool
	// ReportEvery is how often the PDP is told what was answered from the cache, for its
	// authentication log; zero takes DefaultReportEvery, less than zero reports nothing.
	ReportEvery time.Duration

	// Clock counts the time of leases, also while the machine sleeps; nil takes clock.New.
	Clock clock.Source
	// Logger takes what operators should see; nil logs nothing.
	Logger *slog.Logger
	// Seed makes pauses, the choice of the first PDP and the places in the table the same
	// every time, for tests. Zero draws one.
	Seed uint64
	// Fault plants a bug, for tests.
	Fault Fault
}

// Fault is a bug that tests plant to see that they catch it. The zero Fault is none,
// and what the programs use.
type Fault struct {
	// Lease is a bug of the holder. [lease.FaultAckEarly] is carried out here.
	Lease lease.Fault
	// KeyWithoutSurface leaves a field out of the key that answers are kept under.
	KeyWithoutSurface bool
	// NoValidUntil keeps answers beyond the token's own end (R12).
	NoValidUntil bool
	// NoKeys leaves the keys of this kind out of what an answer rests on.
	NoKeys authz.KeyKind
	// ReportBlocks makes answers from the cache wait for the lane of reports (R19).
	ReportBlocks bool
}

func (c Config) withDefaults() Config {
	c.MaxEntries = cmp.Or(c.MaxEntries, DefaultMaxEntries)
	c.MaxBytes = cmp.Or(c.MaxBytes, DefaultMaxBytes)
	c.Wait = cmp.Or(c.Wait, DefaultWait)
	c.CallTimeout = cmp.Or(c.CallTimeout, DefaultCallTimeout)
	c.MaxBackoff = cmp.Or(c.MaxBackoff, DefaultMaxBackoff)
	c.ReportEvery = cmp.Or(c.ReportEvery, DefaultReportEvery)
	if c.Clock == nil {
		c.Clock = clock.New()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	for c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
	return c
}

func (c *Config) check() error {
	bad := func(field, format string, args ...any) error { return authz.Invalid(field, format, args...) }
	switch {
	case len(c.Addresses) == 0 && c.Transport == nil:
		return bad("addresses", "are needed: where is the PDP?")
	case c.MaxEntries < 0 || c.MaxBytes < 0:
		return bad("max_entries", "and max_bytes cannot be less than zero")
	case c.Wait < 0 || c.CallTimeout < 0 || c.MaxBackoff < 0:
		return bad("wait", "and the other times cannot be less than zero")
	case c.Unavailable > ErrorUnavailable:
		return bad("unavailable", "%d is no behaviour", c.Unavailable)
	case len(c.Version) > maxName || !printable(c.Name) || len(c.Name) > maxName:
		return bad("name", "has at most %d bytes of printable ASCII without spaces, and version at most as many", maxName)
	}
	return nil
}

const maxName = 128

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
