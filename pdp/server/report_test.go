package server

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/audit"
	"github.com/jobward/jobward/pdp/authz"
)

func TestListSidecars(t *testing.T) {
	r := termRig(t, 30*time.Second)
	h := join(t, r.conn, &jobwardv1.WatchHello{Name: "b", Version: "v2"})
	h.fill(r, r.issue(t, "j1", maintainer))
	h.silent()
	h.renew(1)
	h.wait("renewal", func(m *jobwardv1.WatchResponse) bool { return m.GetLease().GetNumber() == 1 })
	r.revoke(t, ctx(t), "j1", durable)
	gone := join(t, r.conn, &jobwardv1.WatchHello{Name: "a"})
	gone.cancel()
	gone.ended()
	var list *jobwardv1.ListSidecarsResponse
	for ok := false; !ok; time.Sleep(time.Millisecond) {
		var err error
		if list, err = r.watch.ListSidecars(ctx(t), &jobwardv1.ListSidecarsRequest{}); err != nil {
			t.Fatal(err)
		}
		ok = len(list.Sidecars) == 2 && !list.Sidecars[0].Connected
	}
	a, b := list.Sidecars[0], list.Sidecars[1]
	if a.Name != "a" || a.LeaseRemaining.AsDuration() <= 0 || a.Caller != "local:development" || len(a.Generation) != 16 {
		t.Errorf("%v", a)
	}
	if b.Name != "b" || b.Version != "v2" || !b.Connected || b.Entries != 3 || b.Hits != 20 || b.Misses != 10 || b.AppliedRevision != 5 ||
		b.Unacknowledged != 1 || b.InterestKeys == 0 || b.InterestInBuckets || b.ConnectTime.AsTime().IsZero() || b.TimeToDeny != nil {
		t.Errorf("%v", b)
	}
	if list.HeadRevision != uint64(r.head()) || list.Term.AsDuration() != 30*time.Second || list.QuietRemaining != nil {
		t.Errorf("%v", list)
	}
}

func TestReport(t *testing.T) {
	r := newRig(t)
	stream, err := r.watch.Report(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	send := func(m *jobwardv1.ReportRequest) {
		t.Helper()
		if err := stream.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	send(&jobwardv1.ReportRequest{Part: &jobwardv1.ReportRequest_Hello{Hello: &jobwardv1.ReportHello{Name: "side"}}})
	for range 2 {
		send(&jobwardv1.ReportRequest{Part: &jobwardv1.ReportRequest_Accesses{Accesses: &jobwardv1.AccessBatch{Dropped: 7, Accesses: []*jobwardv1.Access{
			{SourceProjectId: app, TargetProjectId: closed, Permission: "read_repository", Reason: jobwardv1.Reason_REASON_INBOUND_NOT_LISTED, Count: 5, LastAge: durationpb.New(time.Minute)},
			{SourceProjectId: app, TargetProjectId: lib, Permission: "read_repository", Reason: jobwardv1.Reason_REASON_ALLOWED_LISTED, Count: 50},
		}}}})
	}
	send(&jobwardv1.ReportRequest{Part: &jobwardv1.ReportRequest_Canary{Canary: &jobwardv1.CanaryAnswer{Id: 9}}}) // that nobody asked
	stream.CloseSend()
	if m, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("it ends with %v, %v", m, err)
	}
	if taken, dropped := r.server.reports.taken.Load(), r.server.reports.dropped.Load(); taken != 110 || dropped != 14 {
		t.Errorf("%d taken, %d dropped", taken, dropped)
	}
	var events []*jobwardv1.AuditEvent
	for end := time.Now().Add(20 * time.Second); len(events) == 0 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		list, err := r.audit.ListEvents(ctx(t), &jobwardv1.ListEventsRequest{Verb: audit.VerbCheck})
		if err != nil {
			t.Fatal(err)
		}
		events = list.Events
	}
	if len(events) != 1 {
		t.Fatalf("the audit log has %v", events)
	}
	e := events[0]
	if age := time.Since(e.EventTime.AsTime()); e.Count != 10 || e.Detail != audit.FromCache || e.Actor != "local:development" || e.SourceProjectId != app ||
		e.TargetProjectId != closed || e.Reason != jobwardv1.Reason_REASON_INBOUND_NOT_LISTED || age < time.Minute || age > 2*time.Minute {
		t.Errorf("the event is %v", e)
	}
	for name, c := range map[string]struct {
		m     *jobwardv1.ReportRequest
		field string
	}{
		"no hello": {&jobwardv1.ReportRequest{Part: &jobwardv1.ReportRequest_Accesses{Accesses: &jobwardv1.AccessBatch{}}}, "hello"},
		"nothing":  {&jobwardv1.ReportRequest{}, "part"},
	} {
		stream, err := r.watch.Report(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		stream.Send(c.m)
		_, err = stream.Recv()
		if e := wire.AsError(err); status.Code(err) != codes.InvalidArgument || len(e.Violations) != 1 || e.Violations[0].Field != c.field {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTail(t *testing.T) {
	r := termRig(t, 30*time.Second)
	h := join(t, r.conn, &jobwardv1.WatchHello{})
	tail, err := r.watch.Tail(ctx(t), &jobwardv1.TailRequest{Invalidations: true, Decisions: true})
	if err != nil {
		t.Fatal(err)
	}
	for r.server.tails.count.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	tok := r.issue(t, "j1", maintainer)
	h.fill(r, tok)
	rev := r.revoke(t, ctx(t), "j1", effective)
	var changes []*jobwardv1.ChangeEvent
	var decisions []*jobwardv1.DecisionEvent
	for len(changes) < 2 || len(decisions) < 1 {
		m, err := tail.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.GetTime().AsTime().Year() < 2020 {
			t.Errorf("no time in %v", m)
		}
		switch {
		case m.GetChange() != nil:
			changes = append(changes, m.GetChange())
		case m.GetDecision() != nil:
			decisions = append(decisions, m.GetDecision())
		}
	}
	last := changes[len(changes)-1]
	if last.Revision != rev.Revision || last.Verb != "revoke" || last.Actor != "local:development" || last.Sidecars != 1 ||
		!slices.Equal(last.Keys, []string{authz.JobKey("j1").String()}) || last.KeyCount != 1 {
		t.Errorf("the revocation is told as %v", last)
	}
	d := decisions[0]
	if d.Caller != "local:development" || d.Permission != "read_repository" || !d.Decision.Allow || d.Decision.JobId != "j1" || len(d.Decision.DependencyKeys) != 0 ||
		d.Decision.DecisionId == "" {
		t.Errorf("the decision is told as %v", d)
	}
	if text := last.String() + d.String(); strings.Contains(text, tok) {
		t.Error("the token is in it (P7)")
	}
}

func TestTailMisses(t *testing.T) {
	r := newRig(t)
	reader := r.server.tails.add()
	defer r.server.tails.remove(reader)
	tok := r.issue(t, "j1", maintainer)
	for range tailQueue + 5 {
		r.check(t, tok)
	}
	if n := missed(nil, reader); n != 5 {
		t.Errorf("%d missed", n)
	}
	if n := missed(nil, reader); n != 0 {
		t.Errorf("told twice: %d", n)
	}
}

func TestWatchMetrics(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	defer provider.Shutdown(context.Background())
	r := termRig(t, 30*time.Second, func(o *Options) {
		o.Meters, o.Canary = provider, Canary{Project: app, User: maintainer, Every: time.Hour}
	})
	h := join(t, r.conn, &jobwardv1.WatchHello{Name: "a"})
	for _, job := range []string{"j1", "j2"} {
		h.fill(r, r.issue(t, job, maintainer))
	}
	r.revoke(t, ctx(t), "j1", effective)
	r.revoke(t, ctx(t), "nobody", effective)
	h.silent()
	r.revoke(t, ctx(t), "j2", durable)
	r.server.canaries.put("a", canaryResult{20 * time.Millisecond, 0})
	got := collect(t, reader)
	for k, n := range map[string]int64{
		"jobward.lease.live{}": 1, "jobward.lease.cut{}": 0, "jobward.lease.in_buckets{}": 0, "jobward.lease.opened{}": 1, "jobward.lease.refused{}": 0,
		"jobward.lease.lapses{}": 0, "jobward.lease.overflows{}": 0, "jobward.lease.quiet{}": 0,
		"jobward.watch.invalidations{}": 2, "jobward.watch.unacknowledged{}": 1,
		"jobward.receipt.duration{outcome=acked}": 1, "jobward.receipt.duration{outcome=effective_none}": 1, "jobward.receipt.duration{outcome=durable}": 1,
		"jobward.receipt.pending{}": 1, "jobward.receipt.waiting{}": 0, "jobward.receipt.sidecars{how=acked}": 1, "jobward.receipt.sidecars{how=lapsed}": 0,
		"jobward.access.reported{}": 0, "jobward.access.dropped{}": 0, "jobward.canary.stale.allows{}": 0, "jobward.canary.runs{outcome=measured}": 1,
		"jobward.canary.time_to_deny{sidecar=a,since=revoke}": 20, "jobward.canary.time_to_deny{sidecar=a,since=receipt}": 0,
	} {
		if have, ok := got[k]; !ok || have != n {
			t.Errorf("%s is %d (%t); want %d", k, have, ok, n)
		}
	}
	if got["jobward.lease.interest{}"] == 0 || got["jobward.watch.changes{}"] == 0 {
		t.Errorf("%v", got)
	}
}
