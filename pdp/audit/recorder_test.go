package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobward/jobward/pdp/authz"
)

// log is a sink that keeps what it is given.
type log struct {
	mu     sync.Mutex
	events []Event
	err    error
}

func (l *log) write(_ context.Context, events []Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	l.events = append(l.events, events...)
	return nil
}

func (l *log) count() (total uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		total += e.Count
	}
	return total
}

func ask() *authz.Request {
	return &authz.Request{Target: authz.Target{Path: "acme/app"}, Permission: "read_jobs"}
}

func deny(job authz.JobID, reason authz.Reason) *authz.Decision {
	return &authz.Decision{Job: job, Reason: reason, Revision: 7, Source: 1, User: 2, Target: 3}
}

// TestEqualDenialsCountTogether: one event with the last time, revision and id.
func TestEqualDenialsCountTogether(t *testing.T) {
	var l log
	r := NewRecorder(0, l.write)
	for i := range 5 {
		d := deny("job", authz.NotMember)
		d.Revision += authz.Revision(i)
		r.Decision(authz.Stamp(100+i), "git", ask(), d, fmt.Sprint("id-", i))
	}
	r.Decision(200, "git", ask(), deny("job", authz.RoleTooLow), "other")
	r.Decision(200, "npm", ask(), deny("job", authz.NotMember), "another")
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(l.events) != 3 || l.count() != 7 {
		t.Fatalf("%+v", l.events)
	}
	want := Event{
		Time: 104, Revision: 11, Actor: "git", Verb: VerbCheck, Reason: "not_member", Job: "job", Source: 1, Target: 3, User: 2,
		Permission: "read_jobs", Count: 5, Decision: "id-4",
	}
	found := false
	for _, e := range l.events {
		found = found || e == want
	}
	if !found {
		t.Errorf("%+v\nis not in %+v", want, l.events)
	}
	if err := r.Flush(t.Context()); err != nil || len(l.events) != 3 {
		t.Errorf("a second flush wrote again: %+v, %v", l.events, err)
	}
}

// TestFloodOfUnknownTokens: tokens that nobody has are one event for each caller,
// whatever they ask for, so a flood cannot fill the log.
func TestFloodOfUnknownTokens(t *testing.T) {
	var l log
	r := NewRecorder(0, l.write)
	for i := range 10_000 {
		req := &authz.Request{Target: authz.Target{Path: fmt.Sprint("p", i)}, Permission: authz.Permission(fmt.Sprint("x", i))}
		r.Decision(1, "git", req, &authz.Decision{Reason: authz.TokenUnknown}, fmt.Sprint(i))
	}
	if err := r.Flush(t.Context()); err != nil || len(l.events) != 1 || l.count() != 10_000 || r.Lost() != 0 {
		t.Errorf("%d events of %d decisions, %d lost, %v", len(l.events), l.count(), r.Lost(), err)
	}
}

// TestPathOfWhatIsNotThere: a target that does not exist is told by the path asked for.
func TestPathOfWhatIsNotThere(t *testing.T) {
	var l log
	r := NewRecorder(0, l.write)
	d := deny("job", authz.TargetNotFound)
	d.Target = 0
	r.Decision(1, "git", ask(), d, "id")
	if err := r.Flush(t.Context()); err != nil || len(l.events) != 1 || l.events[0].Detail != "acme/app" {
		t.Errorf("%+v, %v", l.events, err)
	}
}

func TestAllowsAreSampled(t *testing.T) {
	for sample, want := range map[int]uint64{0: 0, 1: 90, 9: 10, -3: 0} {
		var l log
		r := NewRecorder(sample, l.write)
		for i := range 90 {
			r.Decision(1, "git", ask(), &authz.Decision{Allow: true, Reason: authz.AllowedSelf, Job: "job"}, fmt.Sprint(i))
		}
		r.Decision(1, "git", ask(), deny("job", authz.NotMember), "id")
		if err := r.Flush(t.Context()); err != nil || l.count() != want+1 {
			t.Errorf("sample %d kept %d, %v", sample, l.count(), err)
		}
	}
}

// TestAccesses: what sidecars answered from their caches is counted as often as they say,
// beside what the PDP answered, and allows are kept by the same sample.
func TestAccesses(t *testing.T) {
	denied := Access{Source: 1, Target: 3, Permission: "read_jobs", Reason: authz.NotMember, Last: 5, Count: 40}
	allowed := Access{Source: 1, Target: 3, Permission: "read_jobs", Reason: authz.AllowedSelf, Last: 9, Count: 4}
	for sample, want := range map[int]uint64{0: 80 + 1, 1: 80 + 1 + 20, 10: 80 + 1 + 8, 1000: 80 + 1} {
		var l log
		r := NewRecorder(sample, l.write)
		for i := range 2 {
			denied.Last = authz.Stamp(5 - i) // the later one counts, whichever comes first
			r.Access("edge", denied)
		}
		for range 5 {
			r.Access("edge", allowed)
		}
		r.Decision(1, "edge", ask(), deny("job", authz.NotMember), "id")
		if err := r.Flush(t.Context()); err != nil || l.count() != want {
			t.Errorf("sample %d kept %d, want %d, %v", sample, l.count(), want, err)
		}
		found := false
		for _, e := range l.events {
			found = found || e == Event{Time: 5, Actor: "edge", Verb: VerbCheck, Reason: "not_member", Source: 1, Target: 3, Permission: "read_jobs",
				Count: 80, Detail: FromCache}
		}
		if !found {
			t.Errorf("the denials are not among %+v", l.events)
		}
	}
}

// TestBoundedMemory: past the bound distinct decisions are counted as lost, equal ones
// are not.
func TestBoundedMemory(t *testing.T) {
	var l log
	r := NewRecorder(0, l.write)
	for i := range maxPending + 10 {
		r.Decision(1, "git", ask(), deny(authz.JobID(fmt.Sprint("job-", i)), authz.NotMember), "id")
	}
	r.Decision(1, "git", ask(), deny("job-0", authz.NotMember), "id")
	if r.Lost() != 10 {
		t.Errorf("%d lost", r.Lost())
	}
	if err := r.Flush(t.Context()); err != nil || len(l.events) != maxPending || l.count() != maxPending+1 {
		t.Errorf("%d events of %d decisions, %v", len(l.events), l.count(), err)
	}
}

// TestAccessesLeaveRoom: however many accesses a sidecar makes up, decisions are kept.
func TestAccessesLeaveRoom(t *testing.T) {
	var l log
	r := NewRecorder(0, l.write)
	for i := range maxPending {
		r.Access("edge", Access{Source: authz.ProjectID(i + 1), Reason: authz.NotMember, Count: 3})
	}
	r.Decision(1, "git", ask(), deny("job", authz.NotMember), "id")
	if err := r.Flush(t.Context()); err != nil || l.count() != 3*maxPending/2+1 || r.Lost() != 3*maxPending/2 {
		t.Errorf("%d kept, %d lost, %v", l.count(), r.Lost(), err)
	}
}

// TestRefusedWritesAreLost: what the sink does not take is counted.
func TestRefusedWritesAreLost(t *testing.T) {
	l := log{err: errors.New("the disk is full")}
	r := NewRecorder(0, l.write)
	for range 3 {
		r.Decision(1, "git", ask(), deny("job", authz.NotMember), "id")
	}
	if err := r.Flush(t.Context()); !errors.Is(err, l.err) || r.Lost() != 3 {
		t.Errorf("%v, %d lost", err, r.Lost())
	}
}

// TestRun: decisions are written every interval, and once more at the end.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l log
		r := NewRecorder(0, l.write)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { r.Run(ctx, 2*time.Second, func(err error) { t.Error(err) }) })
		r.Decision(1, "git", ask(), deny("job", authz.NotMember), "id")
		time.Sleep(time.Second)
		if l.count() != 0 {
			t.Error("written too early")
		}
		time.Sleep(1500 * time.Millisecond)
		if l.count() != 1 {
			t.Errorf("%d written after the interval", l.count())
		}
		r.Decision(1, "git", ask(), deny("job", authz.NotMember), "id")
		stop()
		wg.Wait()
		if l.count() != 2 {
			t.Errorf("%d written at the end", l.count())
		}
	})
}

// TestRunReports: an error reaches whoever wants to know, and the next try goes on.
func TestRunReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := log{err: errors.New("the disk is full")}
		r := NewRecorder(0, l.write)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		reports := 0
		wg.Go(func() { r.Run(ctx, time.Second, func(error) { reports++ }) })
		r.Decision(1, "git", ask(), deny("job", authz.NotMember), "id")
		time.Sleep(1500 * time.Millisecond)
		l.mu.Lock()
		l.err = nil
		l.mu.Unlock()
		r.Decision(1, "git", ask(), deny("job", authz.NotMember), "id")
		time.Sleep(time.Second)
		stop()
		wg.Wait()
		if reports != 1 || l.count() != 1 || r.Lost() != 1 {
			t.Errorf("%d reports, %d written, %d lost", reports, l.count(), r.Lost())
		}
	})
}

func TestConcurrentDecisions(t *testing.T) {
	var l log
	r := NewRecorder(0, l.write)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 1000 {
				r.Decision(1, "git", ask(), deny(authz.JobID(fmt.Sprint("job-", i%7)), authz.NotMember), "id")
				if i%100 == 0 {
					if err := r.Flush(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := r.Flush(t.Context()); err != nil || l.count() != 8000 {
		t.Errorf("%d of 8000, %v", l.count(), err)
	}
}

// TestVisitors: an anonymous visitor is in no record, let in or not, and takes no part in
// which allow is kept.
func TestVisitors(t *testing.T) {
	var l log
	r := NewRecorder(2, l.write)
	q := ask()
	q.Token = authz.Nobody
	for range 5 {
		r.Decision(1, "git", q, &authz.Decision{Allow: true, Reason: authz.AllowedOpen, Target: 3}, "id")
		r.Decision(1, "git", q, &authz.Decision{Reason: authz.TokenMissing, Target: 3}, "id")
		r.Decision(1, "git", ask(), &authz.Decision{Allow: true, Reason: authz.AllowedSelf, Job: "job"}, "id")
	}
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(l.events) != 1 || l.events[0].Job != "job" || l.count() != 2 {
		t.Errorf("%+v", l.events)
	}
}
