package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/state"
)

type healthCmd struct{}

// Help explains what is no health.
func (healthCmd) Help() string {
	return `Exit code 2 when nobody answers there, or one who does not serve: a PDP that loads or stops, a sidecar without a lease, or a PDP of several that
may not answer (FENCED) since it has not been heard by etcd, or not by the other PDPs. Such a PDP comes back by itself; ask another meanwhile.`
}

// isSidecar reports that the call is one that a sidecar does not take.
func isSidecar(err error) bool { return err != nil && wire.AsError(err).Code == wire.CodeMethodUnknown }

// Run asks for health and status.
func (healthCmd) Run(s *session) error {
	conn, err := s.dial()
	if err != nil {
		return err
	}
	health, err := call(s, healthpb.NewHealthClient(conn).Check, &healthpb.HealthCheckRequest{})
	if err != nil {
		return err
	}
	if health.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		if why := s.whyFenced(); why != "" {
			return fmt.Errorf("the PDP at %s is there and may not answer: %s (%s)", s.globals.Address, why, state.CodeFenced)
		}
		return fmt.Errorf("what is at %s is there and does not serve: %s (a PDP that loads or stops, or a sidecar without a lease)", s.globals.Address, health.GetStatus())
	}
	dir, err := s.directory()
	if err != nil {
		return err
	}
	resp, err := call(s, dir.GetStatus, &jobwardv1.GetStatusRequest{})
	if isSidecar(err) {
		return s.print(health, func(t *table) {
			t.row("status", "serving")
			t.row("mode", "sidecar, with a lease; pdpctl sidecars tells more, from its PDP")
		})
	}
	if err != nil {
		return err
	}
	return s.print(resp, func(t *table) {
		t.row("status", "serving")
		t.row("version", resp.GetVersion())
		t.row("up for", resp.GetUptime().AsDuration())
		t.row("epoch", resp.GetEpochCounter())
		t.row("revision", resp.GetRevision())
		t.row("groups", resp.GetGroups())
		t.row("projects", resp.GetProjects())
		t.row("users", resp.GetUsers())
		t.row("jobs", resp.GetJobs())
		if resp.GetDevelopmentMode() {
			t.row("mode", "development: nobody is asked who they are")
		}
	})
}

type versionCmd struct{}

// Run prints the version that the module or the commit has.
func (versionCmd) Run(s *session) error {
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	_, err := fmt.Fprintln(s.out, "pdpctl", version, runtime.Version())
	return err
}
