package sidecar

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// decided is how many questions the PDP has answered, by its own page.
func decided(t *testing.T, admin string) (n int) {
	t.Helper()
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "jobward_decisions_total{") {
			v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
			if err != nil {
				t.Fatal(err)
			}
			n += int(v)
		}
	}
	return n
}

// TestRestartAsksOnce starts a sidecar again under many clients: the PDP is asked each distinct question once, however many ask it, and however
// they ask.
func TestRestartAsksOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	admin := l.Addr().String()
	l.Close()
	p := startPDP(t, "--admin-addr="+admin)
	const jobs, clients, rounds = 20, 32, 3
	var questions []*jobwardv1.CheckRequest
	for i := range jobs {
		token := p.Issue(fmt.Sprint("job-", i))
		for target := int64(11); target < 17; target++ {
			for _, permission := range []string{"read_packages", "read_repository", "push_code"} {
				questions = append(questions, &jobwardv1.CheckRequest{Token: token, TargetProjectId: target, Permission: permission})
			}
		}
	}
	dir := t.TempDir()
	s := startSidecar(t, dir, p.Address)
	s.ready()
	for start := range 3 {
		if start > 0 {
			s.stop()
			s = startSidecar(t, dir, p.Address)
			// Nobody waits for it to be ready: the clients do not either.
		}
		before := decided(t, admin)
		var wg sync.WaitGroup
		for client := range clients {
			wg.Go(func() { hammer(t, s, questions, rounds, client) })
		}
		wg.Wait()
		if n := decided(t, admin) - before; n != len(questions) {
			t.Errorf("start %d: the PDP was asked %d questions; %d clients asked %d distinct ones %d times each", start, n, clients, len(questions), rounds)
		}
	}
}

// hammer asks all questions in an order of its own, some one by one and some in batches and on a stream.
func hammer(t *testing.T, s *side, questions []*jobwardv1.CheckRequest, rounds, client int) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := jobwardv1.NewDecisionServiceClient(s.conn)
	stream, err := c.CheckStream(ctx)
	if err != nil {
		t.Error(err)
		return
	}
	random := rand.New(rand.NewPCG(1, uint64(client)))
	for range rounds {
		for _, i := range random.Perm(len(questions)) {
			q := questions[i]
			switch random.IntN(3) {
			case 0:
				_, err = c.Check(ctx, q)
			case 1:
				_, err = c.BatchCheck(ctx, &jobwardv1.BatchCheckRequest{
					Token: q.Token, Questions: []*jobwardv1.Question{{TargetProjectId: q.TargetProjectId, Permission: q.Permission}},
				})
			default:
				if err = stream.Send(&jobwardv1.CheckStreamRequest{Questions: []*jobwardv1.CheckRequest{q}}); err == nil {
					var m *jobwardv1.CheckStreamResponse
					if m, err = stream.Recv(); err == nil && m.Problem != nil {
						err = fmt.Errorf("%v", m.Problem)
					}
				}
			}
			if err != nil {
				t.Errorf("%v: %v\n%s", q, err, s.log.String())
				return
			}
		}
	}
}
