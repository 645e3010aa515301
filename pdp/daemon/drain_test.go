package daemon

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/health" // clients look at it
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// TestDrain stops one of two PDPs under load. Callers spread over both and follow health, as behind a load balancer, and no call of
// theirs may fail.
func TestDrain(t *testing.T) {
	a := runSecure(t, "--shutdown-delay=300ms")
	b := runLocal(t, nil, small(t.TempDir(), []string{ // another store, the same doors
		"--tls-cert-file=" + filepath.Join(a.dir, "server.pem"), "--tls-key-file=" + filepath.Join(a.dir, "server.key"),
		"--callers-file=" + a.callers, "--shutdown-delay=0s"})...)
	addrs := manual.NewBuilderWithScheme("two")
	addrs.InitialState(resolver.State{Addresses: []resolver.Address{{Addr: a.GRPC[0].String()}, {Addr: b.GRPC[0].String()}}})
	c := dial(t, "two:///pdp", grpc.WithResolvers(addrs), grpc.WithTransportCredentials(credentials.NewTLS(a.bare)),
		grpc.WithPerRPCCredentials(bearer(a.key)), grpc.WithDefaultServiceConfig(
			`{"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": "jobward.v1.DecisionService"}}`))

	var asked, failed atomic.Int64
	var load sync.WaitGroup
	stop := make(chan struct{})
	for range 8 {
		load.Go(func() {
			client := jobwardv1.NewDecisionServiceClient(c)
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, err := client.Check(t.Context(), &jobwardv1.CheckRequest{Token: "x", TargetProjectId: 1, Permission: "read_project"})
				if asked.Add(1); err != nil {
					failed.Add(1)
					t.Error(err)
				}
			}
		})
	}
	more := func(n int64) {
		target := asked.Load() + n
		eventually(t, func() bool { return asked.Load() >= target || failed.Load() > 0 }, func() string { return "the load stands still" })
	}
	more(200)
	a.end()
	eventually(t, func() bool { code, _ := a.get("/readyz"); return code != 200 }, func() string { return "it stays ready" })
	if code, _ := a.get("/livez"); code != 200 {
		t.Errorf("while it drains, livez gives %d", code)
	}
	if err := a.wait(); err != nil {
		t.Error(err)
	}
	more(200)
	close(stop)
	load.Wait()
	t.Logf("%d calls, %d failed", asked.Load(), failed.Load())
}

// TestDrainEndsStreams stops a PDP whose callers hold streams open: it must not take the whole grace.
func TestDrainEndsStreams(t *testing.T) {
	l := runLocal(t, nil, small(t.TempDir(), []string{"--shutdown-grace=10m"})...)
	c := dial(t, l.GRPC[0].String())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	checks, err := jobwardv1.NewDecisionServiceClient(c).CheckStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := checks.Send(&jobwardv1.CheckStreamRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := checks.Recv(); err != nil {
		t.Fatal(err)
	}
	health, err := healthpb.NewHealthClient(c).Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := health.Recv(); err != nil || resp.Status != healthpb.HealthCheckResponse_SERVING {
		t.Fatal(resp, err)
	}
	began := time.Now()
	if err := l.stop(); err != nil {
		t.Error(err)
	}
	if resp, err := health.Recv(); err != nil || resp.Status != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("the watcher was not told: %v, %v", resp, err)
	}
	if _, err := checks.Recv(); err == nil || err == io.EOF {
		t.Errorf("the stream ended with %v", err)
	}
	t.Logf("stopped in %v", time.Since(began))
}

// TestDrainFinishes stops a PDP in the middle of a call, which must come to its end.
func TestDrainFinishes(t *testing.T) {
	l := runLocal(t, nil, small(t.TempDir(), []string{"--shutdown-grace=10m"})...)
	c := dial(t, l.GRPC[0].String())
	issue(t, c, "job-1")
	call, err := jobwardv1.NewTokenServiceClient(c).Reconcile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	header := &jobwardv1.ReconcileHeader{AsOfRevision: 1}
	if err := call.Send(&jobwardv1.ReconcileRequest{Part: &jobwardv1.ReconcileRequest_Header{Header: header}}); err != nil {
		t.Fatal(err)
	}
	check(t, c, "x", shop, "read_project") // on the same connection, so the server has the call by now
	l.end()
	eventually(t, func() bool { // until it takes no more connections, which is when the stop has begun
		other, err := net.Dial("tcp", l.GRPC[0].String())
		if err == nil {
			other.Close()
		}
		return err != nil
	}, func() string { return "it goes on listening" })
	if resp, err := call.CloseAndRecv(); err != nil {
		t.Errorf("the call was cut off: %v, %v", resp, err)
	}
	if err := l.wait(); err != nil {
		t.Error(err)
	}
}
