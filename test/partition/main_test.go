package partition

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/jobward/jobward/internal/lease"
	pdpdaemon "github.com/jobward/jobward/pdp/daemon"
	"github.com/jobward/jobward/pdp/feed"
	"github.com/jobward/jobward/pdp/replica"
	"github.com/jobward/jobward/sidecar/daemon"
	"github.com/jobward/jobward/sidecar/pep"
	"github.com/jobward/jobward/test/etcd"
)

var (
	rounds   = flag.Int("rounds", 1, "how many times what is random happens")
	seedFlag = flag.Uint64("seed", 0, "seed of the random tests; zero takes one from the clock")
	workers  = flag.Int("workers", 200, "questions that a hammer has under way at one time")
)

const (
	childVar = "JOBWARD_PARTITION_CHILD" // makes the test binary a child, of the kind that it names
	plantVar = "JOBWARD_PARTITION_PLANT" // holds the child's plant
)

// plant is a bug in a child.
type plant struct {
	Grantor lease.Fault
	Holder  lease.Fault
	// Forgets is a sidecar that keeps no mark through restarts.
	Forgets bool
	// Replica is a bug of a PDP of several.
	Replica replica.Fault
	// Deaf is a PDP that serves on although it was shown proof of a later history.
	Deaf bool
}

func TestMain(m *testing.M) {
	kind := os.Getenv(childVar)
	if kind == "" {
		goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
			etcd.Clean()
			os.Exit(code)
		}))
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := child(ctx, kind); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child is a PDP or a sidecar until ctx ends.
func child(ctx context.Context, kind string) error {
	var p plant
	if err := json.Unmarshal([]byte(os.Getenv(plantVar)), &p); err != nil {
		return err
	}
	switch kind {
	case "pdp":
		cfg, err := pdpdaemon.Parse(os.Args[1:], nil)
		if err != nil {
			return err
		}
		return pdpdaemon.Run(ctx, pdpdaemon.Options{Config: cfg, Stdout: io.Discard, Stderr: os.Stderr, ChangeReplica: func(o *replica.Options) { o.Fault = p.Replica },
			Change: func(o *feed.Options) {
				o.Fault = p.Grantor
				if p.Deaf {
					o.OnHistory = nil
				}
			}})
	case "sidecar":
		cfg, err := daemon.Parse(os.Args[1:], nil)
		if err != nil {
			return err
		}
		return daemon.Run(ctx, daemon.Options{Config: cfg, Stdout: io.Discard, Stderr: os.Stderr, Change: func(c *pep.Config) {
			c.Fault.Lease = p.Holder
			if p.Forgets {
				c.StateDir = ""
			}
		}})
	}
	return fmt.Errorf("no child is called %q", kind)
}

func newRand(t *testing.T) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("run again with -seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
