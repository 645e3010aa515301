package sidecar

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/pdp/authz"
)

// alike takes out what may differ between the PDP's answer and a sidecar's.
func alike(d *jobwardv1.Decision) *jobwardv1.Decision {
	d = proto.CloneOf(d)
	if d.GetValidFor() != nil {
		d.ValidFor = durationpb.New(1)
	}
	if d != nil {
		d.DependencyKeys, d.DecisionId, d.Cached, d.AnswerNumber = nil, "", false, 0
	}
	return d
}

// sameError compares what is told of errors.
func sameError(a, b error) bool {
	x, y := status.Convert(a), status.Convert(b)
	if x.Code() != y.Code() || x.Message() != y.Message() || len(x.Details()) != len(y.Details()) {
		return false
	}
	for i := range x.Details() {
		if !proto.Equal(x.Details()[i].(proto.Message), y.Details()[i].(proto.Message)) {
			return false
		}
	}
	return true
}

// TestSameAsPDP asks both the same, good questions and bad ones, on every door, twice, so that the second answer is from the cache.
func TestSameAsPDP(t *testing.T) {
	p := startPDP(t)
	s := startSidecar(t, t.TempDir(), p.Address)
	s.ready()
	theirs, ours := jobwardv1.NewDecisionServiceClient(p.Conn), jobwardv1.NewDecisionServiceClient(s.conn)
	live, dead := p.Issue("live"), p.Issue("dead")
	p.revoke("dead")
	var questions []*jobwardv1.CheckRequest
	for _, token := range []string{live, dead, live[:len(live)-1], "x", "", strings.Repeat("y", 200), strings.Replace(live, "jobt-", "other-", 1)} {
		for _, target := range []int64{0, -1, shop, api, 12, 13, 15, warehouse, 17, 18, 999, 1 << 53} {
			for _, permission := range []string{"read_packages", "push_code", "read_job_artifacts", "no_such", "", "\xff"} {
				questions = append(questions, &jobwardv1.CheckRequest{Token: token, TargetProjectId: target, Permission: strings.ToValidUTF8(permission, strings.Repeat("p", 65))})
			}
		}
		for _, path := range []string{"acme/web/shop", "acme/platform/api", "acme/no/such", "ACME/web/shop", strings.Repeat("a/", 64) + "a", strings.Repeat("a", 1025)} {
			questions = append(questions, &jobwardv1.CheckRequest{Token: token, TargetProjectPath: path, Permission: "read_packages"})
		}
		questions = append(questions, &jobwardv1.CheckRequest{Token: token, TargetProjectId: api, Permission: "read_packages", Surface: 2},
			&jobwardv1.CheckRequest{Token: token, TargetProjectId: api, Permission: "read_packages", Surface: 99},
			&jobwardv1.CheckRequest{Token: token, TokenDigest: []byte("short"), TargetProjectId: api, Permission: "read_packages"})
	}
	nobody := authz.Nobody[:]
	for _, target := range []int64{0, shop, api, 12, 13, 15, warehouse, 17, 18, 999} {
		for _, permission := range []string{"read_packages", "download_code", "push_code", "read_own_job", "no_such", ""} {
			questions = append(questions, &jobwardv1.CheckRequest{TokenDigest: nobody, TargetProjectId: target, Permission: permission})
		}
	}
	cached, visitors := 0, 0
	for _, q := range questions {
		a, aerr := theirs.Check(t.Context(), q)
		if bytes.Equal(q.TokenDigest, nobody) && a.GetDecision().GetAllow() {
			visitors++
		}
		for range 2 {
			b, berr := ours.Check(t.Context(), q)
			if b.GetDecision().GetCached() {
				cached++
			}
			if !sameError(aerr, berr) || !proto.Equal(alike(a.GetDecision()), alike(b.GetDecision())) {
				t.Errorf("%v %q:\n%v, %v\n%v, %v", q.TargetProjectId, q.Permission, a, aerr, b, berr)
			}
		}
	}
	if cached < len(questions)/4 {
		t.Errorf("only %d of %d answers were from the cache", cached, len(questions))
	}
	if visitors == 0 {
		t.Error("no visitor was let in anywhere: there is nothing public")
	}
	t.Logf("%d questions, %d answers from the cache, %d visitors let in", len(questions), cached, visitors)

	batch := func(n int, change func(*jobwardv1.BatchCheckRequest)) *jobwardv1.BatchCheckRequest {
		b := &jobwardv1.BatchCheckRequest{Token: live}
		for i := range n {
			b.Questions = append(b.Questions, &jobwardv1.Question{TargetProjectId: int64(11 + i%9), Permission: "read_packages"})
		}
		change(b)
		return b
	}
	for _, q := range []*jobwardv1.BatchCheckRequest{
		batch(0, func(*jobwardv1.BatchCheckRequest) {}), batch(1, func(*jobwardv1.BatchCheckRequest) {}), batch(1000, func(*jobwardv1.BatchCheckRequest) {}),
		batch(1001, func(*jobwardv1.BatchCheckRequest) {}), batch(3, func(b *jobwardv1.BatchCheckRequest) { b.Questions[2].Permission = "" }),
		batch(3, func(b *jobwardv1.BatchCheckRequest) { b.Token = "" }),
		batch(9, func(b *jobwardv1.BatchCheckRequest) { b.Token, b.TokenDigest = "", nobody }),
	} {
		a, aerr := theirs.BatchCheck(t.Context(), q)
		b, berr := ours.BatchCheck(t.Context(), q)
		if !sameError(aerr, berr) || len(a.GetDecisions()) != len(b.GetDecisions()) {
			t.Fatalf("%d: %v, %v", len(q.Questions), aerr, berr)
		}
		for i := range a.GetDecisions() {
			if !proto.Equal(alike(a.Decisions[i]), alike(b.Decisions[i])) {
				t.Errorf("%d: %v\n%v", i, a.Decisions[i], b.Decisions[i])
			}
		}
	}

	for _, in := range []*jobwardv1.IntrospectRequest{{Token: live}, {Token: dead}, {Token: "x"}, {}, {Token: live, MinRevision: 2}, {TokenDigest: nobody},
		{Token: live, Epoch: 1, MinRevision: 2}, {Token: live, MinRevision: 1 << 40}, {Token: live, Epoch: 1, MinRevision: 1 << 40}, {Token: live, Epoch: 9},
	} {
		a, aerr := jobwardv1.NewTokenServiceClient(p.Conn).Introspect(t.Context(), in)
		b, berr := jobwardv1.NewTokenServiceClient(s.conn).Introspect(t.Context(), in)
		if a.GetValidFor() != nil {
			a.ValidFor, b.ValidFor = nil, nil
		}
		if !sameError(aerr, berr) || !proto.Equal(a, b) {
			t.Errorf("%v, %v\n%v, %v", a, aerr, b, berr)
		}
	}
	sameStreams(t, theirs, ours, questions)
}

// sameStreams sends the questions over streams, five in a message, and compares the answers by their ids.
func sameStreams(t *testing.T, theirs, ours jobwardv1.DecisionServiceClient, questions []*jobwardv1.CheckRequest) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	run := func(c jobwardv1.DecisionServiceClient) map[uint64]*jobwardv1.CheckStreamResponse {
		stream, err := c.CheckStream(ctx)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for i := 0; i+5 <= len(questions); i += 5 {
				if stream.Send(&jobwardv1.CheckStreamRequest{Id: uint64(i), Questions: questions[i : i+5]}) != nil {
					return
				}
			}
			stream.CloseSend()
		}()
		all := map[uint64]*jobwardv1.CheckStreamResponse{}
		for {
			m, err := stream.Recv()
			if err == io.EOF {
				return all
			}
			if err != nil {
				t.Fatal(err)
			}
			for i := range m.Decisions {
				m.Decisions[i] = alike(m.Decisions[i])
			}
			all[m.Id] = m
		}
	}
	a, b := run(theirs), run(ours)
	if len(a) != len(b) {
		t.Errorf("%d and %d answers", len(a), len(b))
	}
	for id := range a {
		if !proto.Equal(a[id], b[id]) {
			t.Errorf("%d:\n%v\n%v", id, a[id], b[id])
		}
	}
}

// TestMinRevision names the revision of a change that does not concern the cache: the answer is at it, whoever gives it.
func TestMinRevision(t *testing.T) {
	p := startPDP(t)
	s := startSidecar(t, t.TempDir(), p.Address)
	s.ready()
	token := p.Issue("job")
	s.want(token, allowed, false)
	for i := range 20 {
		other := fmt.Sprint("other-", i)
		p.Issue(other)
		r := p.revoke(other)
		q := question(token)
		q.MinRevision = r.Revision
		resp, err := jobwardv1.NewDecisionServiceClient(s.conn).Check(t.Context(), q)
		if err != nil || resp.Decision.Reason != allowed || !resp.Decision.Cached && resp.Decision.Revision < r.Revision {
			t.Fatalf("%v, %v; revision %d", resp, err, r.Revision)
		}
	}
	q := question(token)
	q.MinRevision = 1 << 40
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := time.Now()
	_, aerr := jobwardv1.NewDecisionServiceClient(p.Conn).Check(ctx, q)
	_, berr := jobwardv1.NewDecisionServiceClient(s.conn).Check(ctx, q, grpc.WaitForReady(true))
	if status.Code(aerr) != status.Code(berr) || berr == nil {
		t.Errorf("after %v: %v\n%v", time.Since(began), aerr, berr)
	}
}
