package programs

import (
	"context"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// Of the sample world: Shop is the project in which jobs are issued (acme/web/shop, private), Dana who causes them.
const (
	Shop = 11
	Dana = 102
)

// PDP is a PDP with the sample world, in a process of its own that can be ended and started again.
type PDP struct {
	*Process // the newest
	// Address is the socket where it takes calls, Data its store.
	Address, Data string
	// Conn leads to the newest process.
	Conn *grpc.ClientConn

	t            testing.TB
	dir, program string
	args         []string
}

// StartPDP starts one in a directory, whose name must be short enough for sockets. It is killed with the test.
func StartPDP(t testing.TB, dir string, args ...string) *PDP {
	t.Helper()
	p := &PDP{t: t, dir: dir, program: filepath.Join(Dir(t, "pdp"), "pdp"), Address: "unix:" + filepath.Join(dir, "pdp"), Data: filepath.Join(dir, "data")}
	p.args = append([]string{"--data-dir=" + p.Data, "--grpc-addr=" + p.Address, "--admin-addr=off", "--ballast=16MiB", "--min-free-disk=16MiB"}, args...)
	p.Start()
	t.Cleanup(func() { p.Conn.Close() })
	return p
}

// Start starts it again after its end, and waits until it answers.
func (p *PDP) Start() {
	p.t.Helper()
	p.Process = Launch(p.t, p.dir, nil, p.program, p.args...)
	if p.Conn != nil {
		p.Conn.Close() // it would wait before it tries again
	}
	var err error
	if p.Conn, err = grpc.NewClient(p.Address, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := Soon()
	defer cancel()
	if _, err := jobwardv1.NewDirectoryServiceClient(p.Conn).GetStatus(ctx, &jobwardv1.GetStatusRequest{}, grpc.WaitForReady(true)); err != nil {
		p.t.Fatalf("%v\n%s", err, p.Log.Tail())
	}
}

// Soon is a context that ends after [Patience], also in cleanups.
func Soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), Patience)
}

// Issue gives the token of a new job of Dana in the Shop.
func (p *PDP) Issue(job string) string {
	p.t.Helper()
	ctx, cancel := Soon()
	defer cancel()
	resp, err := jobwardv1.NewTokenServiceClient(p.Conn).Issue(ctx, &jobwardv1.IssueRequest{JobId: job, ProjectId: Shop, UserId: Dana})
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.Token
}

// Revoke ends a job and gives the receipt, which it waits for.
func (p *PDP) Revoke(job string, how jobwardv1.Outcome) *jobwardv1.Receipt {
	p.t.Helper()
	ctx, cancel := Soon()
	defer cancel()
	resp, err := jobwardv1.NewTokenServiceClient(p.Conn).Revoke(ctx, &jobwardv1.RevokeRequest{JobIds: []string{job}, Outcome: how})
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.Receipt
}
