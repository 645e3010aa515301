package server

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// holder plays a sidecar by hand, against the generated code alone: it keeps answers that
// may be kept, drops what is invalidated and confirms it. It has no lease of its own to
// look at; the tests say what it may believe.
type holder struct {
	t      testing.TB
	stream grpc.BidiStreamingClient[jobwardv1.WatchRequest, jobwardv1.WatchResponse]
	cancel context.CancelFunc

	welcome *jobwardv1.WatchWelcome

	mu     sync.Mutex
	acks   bool // confirms by itself
	got    []*jobwardv1.WatchResponse
	err    error
	change chan struct{} // closed and made anew when there is something new
}

// join opens a generation and waits for its first lease.
func join(t testing.TB, cc grpc.ClientConnInterface, hello *jobwardv1.WatchHello) *holder {
	t.Helper()
	return joinAs(t, context.Background(), cc, hello)
}

func joinAs(t testing.TB, ctx context.Context, cc grpc.ClientConnInterface, hello *jobwardv1.WatchHello) *holder {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	t.Cleanup(cancel)
	stream, err := jobwardv1.NewWatchServiceClient(cc).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	h := &holder{t: t, stream: stream, cancel: cancel, acks: true, change: make(chan struct{})}
	h.send(&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Hello{Hello: hello}})
	m, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if h.welcome = m.GetWelcome(); h.welcome == nil {
		t.Fatalf("the first answer is %v", m)
	}
	done := make(chan struct{})
	go func() { defer close(done); h.read() }()
	t.Cleanup(func() { cancel(); <-done })
	h.wait("a lease", func(m *jobwardv1.WatchResponse) bool { return m.GetLease() != nil })
	return h
}

func (h *holder) read() {
	for {
		m, err := h.stream.Recv()
		h.mu.Lock()
		if err != nil {
			h.err = err
		} else {
			h.got = append(h.got, m)
		}
		acks := h.acks
		close(h.change)
		h.change = make(chan struct{})
		h.mu.Unlock()
		if err != nil {
			return
		}
		if i := m.GetInvalidation(); i != nil && acks {
			h.ack(i.GetRevision())
		}
	}
}

func (h *holder) send(m *jobwardv1.WatchRequest) {
	h.t.Helper()
	if err := h.stream.Send(m); err != nil {
		h.t.Error(err)
	}
}

func (h *holder) ack(rev uint64) {
	h.stream.Send(&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Ack{Ack: &jobwardv1.InvalidationAck{Revision: rev}}})
}

func (h *holder) renew(n uint64) {
	h.send(&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Renew{Renew: &jobwardv1.LeaseRenewal{
		Number: n, Entries: 3, Hits: 20, Misses: 10, AppliedRevision: 5,
	}}})
}

func (h *holder) release(gen uint64) {
	h.send(&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Release{Release: &jobwardv1.LeaseRelease{Generation: gen}}})
}

// silent makes the holder confirm nothing from here on.
func (h *holder) silent() *holder { return h.loud(false) }

// loud says whether the holder confirms from here on.
func (h *holder) loud(acks bool) *holder {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acks = acks
	return h
}

// wait waits for a message, or for one that has come already.
func (h *holder) wait(what string, is func(*jobwardv1.WatchResponse) bool) *jobwardv1.WatchResponse {
	h.t.Helper()
	late := time.After(20 * time.Second)
	for {
		h.mu.Lock()
		i, change, err := slices.IndexFunc(h.got, is), h.change, h.err
		var m *jobwardv1.WatchResponse
		if i >= 0 {
			m = h.got[i]
		}
		h.mu.Unlock()
		switch {
		case m != nil:
			return m
		case err != nil:
			h.t.Fatalf("no %s: the stream has ended: %v", what, err)
		}
		select {
		case <-change:
		case <-late:
			h.t.Fatalf("no %s: there was %v", what, h.got)
		}
	}
}

// invalidated waits for the invalidation at a revision.
func (h *holder) invalidated(rev uint64) *jobwardv1.Invalidation {
	h.t.Helper()
	return h.wait("invalidation", func(m *jobwardv1.WatchResponse) bool { return m.GetInvalidation().GetRevision() == rev }).GetInvalidation()
}

// invalidations counts them.
func (h *holder) invalidations() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.got {
		if m.GetInvalidation() != nil {
			n++
		}
	}
	return n
}

// ended waits for the end of the stream and gives its error.
func (h *holder) ended() error {
	h.t.Helper()
	late := time.After(20 * time.Second)
	for {
		h.mu.Lock()
		err, change := h.err, h.change
		h.mu.Unlock()
		if err != nil {
			return err
		}
		select {
		case <-change:
		case <-late:
			h.t.Fatal("the stream does not end")
		}
	}
}

// fill asks a question in the holder's generation and wants an answer that may be kept.
func (h *holder) fill(r *rig, tok string) *jobwardv1.Decision {
	h.t.Helper()
	d := h.ask(r, tok)
	if d.GetAnswerNumber() == 0 {
		h.t.Fatalf("the answer may not be kept: %v", d)
	}
	return d
}

func (h *holder) ask(r *rig, tok string) *jobwardv1.Decision {
	h.t.Helper()
	out, err := r.decisions.Check(ctx(h.t), &jobwardv1.CheckRequest{
		Token: tok, TargetProjectId: lib, Permission: "read_repository", Generation: h.welcome.GetGeneration(),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return out.GetDecision()
}
