package server

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// canarySidecar answers canary questions from a cache that a holder keeps true, or
// not.
type canarySidecar struct {
	h     *holder
	mu    sync.Mutex
	cache map[string]*jobwardv1.Decision
	// stubborn goes on for so long with what it has, although it says that it let go.
	stubborn time.Duration
	until    time.Time
	keeps    bool
}

// joinCanary connects a sidecar that takes part.
func joinCanary(t *testing.T, r *rig, name string, keeps bool, stubborn time.Duration) {
	t.Helper()
	s := &canarySidecar{h: join(t, r.conn, &jobwardv1.WatchHello{Name: name}), cache: map[string]*jobwardv1.Decision{}, stubborn: stubborn, keeps: keeps}
	// Its holder confirms by itself; what it has goes when the next invalidation is seen.
	c, cancel := context.WithCancel(context.Background())
	stream, err := r.watch.Report(c)
	if err != nil {
		t.Fatal(err)
	}
	stream.Send(&jobwardv1.ReportRequest{Part: &jobwardv1.ReportRequest_Hello{Hello: &jobwardv1.ReportHello{Name: name, Canary: true}}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := stream.Recv()
			if err != nil {
				return
			}
			stream.Send(&jobwardv1.ReportRequest{Part: &jobwardv1.ReportRequest_Canary{Canary: s.answer(c, r, m.GetCanary())}})
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func (s *canarySidecar) answer(c context.Context, r *rig, q *jobwardv1.CanaryQuestion) *jobwardv1.CanaryAnswer {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := string(q.GetQuestion().GetTokenDigest())
	if d := s.cache[key]; d != nil {
		gone := s.h.invalidations() > 0
		if gone && s.until.IsZero() {
			s.until = time.Now().Add(s.stubborn)
		}
		if !gone || time.Now().Before(s.until) {
			return &jobwardv1.CanaryAnswer{Id: q.GetId(), Allow: d.GetAllow(), Reason: d.GetReason(), Cached: true}
		}
	}
	req := q.GetQuestion()
	req.Generation = s.h.welcome.GetGeneration()
	out, err := r.decisions.Check(c, req)
	if err != nil {
		return &jobwardv1.CanaryAnswer{Id: q.GetId()}
	}
	d := out.GetDecision()
	if s.keeps && d.GetAnswerNumber() > 0 {
		s.cache[key] = d
	}
	return &jobwardv1.CanaryAnswer{Id: q.GetId(), Allow: d.GetAllow(), Reason: d.GetReason()}
}

// TestCanary measures a sidecar that is as it should be, and finds one that goes on
// allowing after it said that it had let go.
func TestCanary(t *testing.T) {
	var log bytes.Buffer
	r := termRig(t, 0, func(o *Options) {
		o.Canary = Canary{Project: app, User: dev, Every: time.Hour}
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	joinCanary(t, r, "good", true, 0)
	joinCanary(t, r, "stubborn", true, 300*time.Millisecond)
	for len(r.server.lanes.list()) < 2 {
		time.Sleep(time.Millisecond)
	}
	r.server.askCanaries(ctx(t))
	all := r.server.canaries.all()
	good, stubborn := all["good"], all["stubborn"]
	if len(all) != 2 || good.sinceRevoke <= 0 || good.sinceRevoke > 250*time.Millisecond || stubborn.sinceRevoke < 300*time.Millisecond ||
		stubborn.sinceReceipt < 200*time.Millisecond {
		t.Errorf("measured %+v", all)
	}
	if n := r.server.canaries.stale.Load(); n == 0 || !strings.Contains(log.String(), "STALE ALLOW") || !strings.Contains(log.String(), "sidecar=stubborn") ||
		strings.Contains(log.String(), "sidecar=good") {
		t.Errorf("%d stale allows; the log has\n%s", n, &log)
	}
	list, err := r.watch.ListSidecars(ctx(t), &jobwardv1.ListSidecarsRequest{})
	if err != nil || list.Sidecars[0].TimeToDeny.AsDuration() != good.sinceRevoke {
		t.Errorf("%v, %v", list, err)
	}
	jobs, err := r.token.ListJobs(ctx(t), &jobwardv1.ListJobsRequest{ProjectId: app, LiveOnly: true})
	if err != nil || len(jobs.Jobs) != 0 {
		t.Errorf("canaries live on: %v, %v", jobs, err)
	}
}

// TestCanaryGone: a sidecar whose lane ends is forgotten, and what it was asked is not a
// failure.
func TestCanaryGone(t *testing.T) {
	r := termRig(t, 0, func(o *Options) { o.Canary = Canary{Project: app, User: dev, Every: time.Hour} })
	c, cancel := context.WithCancel(ctx(t))
	stream, err := r.watch.Report(c)
	if err != nil {
		t.Fatal(err)
	}
	stream.Send(&jobwardv1.ReportRequest{Part: &jobwardv1.ReportRequest_Hello{Hello: &jobwardv1.ReportHello{Name: "mute", Canary: true}}})
	for len(r.server.lanes.list()) < 1 {
		time.Sleep(time.Millisecond)
	}
	r.server.canaries.put("mute", canaryResult{})
	asked := make(chan struct{})
	go func() { defer close(asked); r.server.askCanaries(ctx(t)) }()
	if _, err := stream.Recv(); err != nil { // it is asked, and says nothing
		t.Fatal(err)
	}
	cancel()
	<-asked
	r.server.askCanaries(ctx(t))
	if n := r.server.canaries.failed.Load(); n != 0 || len(r.server.canaries.all()) != 0 || len(r.server.lanes.list()) != 0 {
		t.Errorf("%d failed, %v", n, r.server.canaries.all())
	}
	if (Canary{Project: 1, Every: 1}).On() || !(Canary{Project: 1, User: 1, Every: 1}).On() {
		t.Error("half a canary is on")
	}
}
