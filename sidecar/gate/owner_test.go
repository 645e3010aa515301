package gate

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/pep"
	"github.com/jobward/jobward/sidecar/route"
)

// §13.1: what is named by no project belongs to one, and the question is about that.
func TestOwner(t *testing.T) {
	type outcome struct {
		none, unknown, alive int
		asked                authz.Target
	}
	for name, c := range map[string]struct {
		owner func(context.Context, *Request, route.Match) (authz.Target, error)
		want  outcome
	}{
		"nobody to ask": {nil, outcome{401, 401, 404, authz.Target{}}},
		"found": {func(context.Context, *Request, route.Match) (authz.Target, error) {
			return authz.Target{Path: "acme/lib"}, nil
		},
			outcome{401, 401, 0, authz.Target{Path: "acme/lib"}}},
		"none": {func(context.Context, *Request, route.Match) (authz.Target, error) {
			return authz.Target{}, authz.Errorf(authz.KindNotFound, "X", "x")
		}, outcome{401, 401, 404, authz.Target{}}},
		"an empty answer": {func(context.Context, *Request, route.Match) (authz.Target, error) { return authz.Target{}, nil },
			outcome{401, 401, 404, authz.Target{}}},
		"out of reach": {func(context.Context, *Request, route.Match) (authz.Target, error) {
			return authz.Target{ID: 9}, authz.Errorf(authz.KindUnavailable, "X", "x")
		}, outcome{503, 503, 503, authz.Target{}}},
	} {
		var log bytes.Buffer
		for i, text := range []string{"", other, good} {
			want := []int{c.want.none, c.want.unknown, c.want.alive}[i]
			f := allows(false)
			g := gateOf(f)
			g.Owner, g.Logger = c.owner, slog.New(slog.NewTextHandler(&log, nil))
			r := ownerReq.request()
			head(r).Set("Job-Token", text)
			for range 2 {
				v := g.Judge(t.Context(), r)
				if v.Allow != (want == 0) || v.Status != want {
					t.Errorf("%s, %q: %+v", name, text, v)
				}
				if v.Allow && v.Question.Target != c.want.asked {
					t.Errorf("%s: asked about %+v", name, v.Question)
				}
			}
		}
		if n := strings.Count(log.String(), "nobody is named"); c.owner == nil && n != 3 || c.owner != nil && n != 0 {
			t.Errorf("%s: said %d times, by three gates", name, n)
		}
	}
}

func TestOwners(t *testing.T) {
	var saw *http.Request
	answer, status := "", 200
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		saw = r
		if status == 302 {
			http.Redirect(w, r, "/elsewhere", status)
			return
		}
		w.WriteHeader(status)
		fmt.Fprint(w, answer)
	}))
	owners, err := AskOwners(s.URL + "/owner")
	if err != nil {
		t.Fatal(err)
	}
	ask := owners.Find
	t.Cleanup(s.Close)
	r := ownerReq.request()
	r.Query = "job_token=" + good
	head(r).Set("Job-Token", good)
	for _, c := range []struct {
		status int
		answer string
		want   authz.Target
		kind   authz.Kind
	}{
		{200, `{"project_id":7}`, authz.Target{ID: 7}, 0},
		{200, `{"project_path":"acme/lib","more":1}`, authz.Target{Path: "acme/lib"}, 0},
		{404, ``, authz.Target{}, authz.KindNotFound},
		{200, `{}`, authz.Target{}, authz.KindUnavailable},
		{200, `{"project_id":0}`, authz.Target{}, authz.KindUnavailable},
		{200, `{"project_id":-1}`, authz.Target{}, authz.KindUnavailable},
		{200, `{"project_id":1e400}`, authz.Target{}, authz.KindUnavailable},
		{200, `{"project_id":7,"project_path":"a/b"}`, authz.Target{}, authz.KindUnavailable},
		{200, `{"project_path":""}`, authz.Target{}, authz.KindUnavailable},
		{200, `{"project_id":7}` + strings.Repeat(" ", 4096), authz.Target{}, authz.KindUnavailable},
		{200, `<html>`, authz.Target{}, authz.KindUnavailable},
		{204, ``, authz.Target{}, authz.KindUnavailable},
		{302, ``, authz.Target{}, authz.KindUnavailable},
		{500, `{"project_id":7}`, authz.Target{}, authz.KindUnavailable},
	} {
		status, answer = c.status, c.answer
		got, err := ask(t.Context(), r, route.Match{})
		if got != c.want || (err != nil) != (c.kind != 0) || err != nil && authz.KindOf(err) != c.kind {
			t.Errorf("%d %.40q: %+v, %v", c.status, c.answer, got, err)
		}
	}
	if saw.URL.Path != "/owner" || saw.Method != "GET" || saw.Header.Get(ownerMethodHeader) != "GET" || saw.Header.Get(ownerPathHeader) != r.Path {
		t.Errorf("%+v", saw)
	}
	if strings.Contains(fmt.Sprint(saw.Header, saw.URL), good) {
		t.Error("the token was told")
	}
	s.Close()
	if _, err := ask(t.Context(), r, route.Match{}); authz.KindOf(err) != authz.KindUnavailable {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "owner", "/owner", "ftp://x/y", "http://", "http://u:p@x/", "http://[::1"} {
		if _, err := AskOwners(bad); err == nil || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestOwnersClose leaves no connection to the service.
func TestOwnersClose(t *testing.T) {
	gone := make(chan struct{}, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"project_id":7}`) }))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			gone <- struct{}{}
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	owners, err := AskOwners(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owners.Find(t.Context(), ownerReq.request(), route.Match{}); err != nil {
		t.Fatal(err)
	}
	owners.Close()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the connection is still there")
	}
}

// P7: whatever the request, its token is in no log.
func TestLog(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	n := 0
	for _, to := range append(targets, ownerReq) {
		for _, at := range places() {
			for _, text := range []string{good, other, "jobt-" + strings.Repeat("x", 200)} {
				for _, f := range []*fake{allows(false), says1(authz.Decision{Reason: authz.InboundNotListed}, nil), says1(authz.Decision{}, fmt.Errorf("boom"))} {
					g := gateOf(f)
					g.Logger, g.Tell = logger, true
					r := to.request()
					at.put(r, text)
					addQuery(r, "secret=1")
					if v := g.Judge(t.Context(), r); !v.Allow {
						n++
						if strings.Contains(fmt.Sprintf("%v %v", v.Header, v.Body), "jobt-") {
							t.Errorf("told: %+v", v)
						}
					}
				}
			}
		}
	}
	out := log.String()
	for _, no := range []string{"jobt-", "secret=1", "acme/lib", "Z2l0bGFi"} {
		if strings.Contains(out, no) {
			t.Errorf("the log has %q", no)
		}
	}
	if strings.Count(out, "msg=refused") != n || !strings.Contains(out, "reason=inbound_not_listed") || !strings.Contains(out, `route="GET /api/v4/projects/:id/packages`) {
		t.Errorf("%d refusals; the log: %.600s", n, out)
	}
}

var _ pep.Asker = (*fake)(nil)
