package forwardauth_test

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/jobward/jobward/sidecar/forwardauth"
	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/pep/peptest"
)

// P1 through this door: what a proxy asks after Revoke has returned is refused.
func TestRevoke(t *testing.T) {
	pdp := peptest.Start(t)
	g := &gate.Gate{Asker: pdp.Decider(), Routes: table()}
	socket := serve(t, forwardauth.New(forwardauth.Options{Gate: g, TrustUnix: true}))
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	token := pdp.Issue("job-1", peptest.App, peptest.Dev)
	want := func(show, uri, real string) {
		t.Helper()
		for i := range dialects {
			r := subrequest(i, "GET", uri)
			r.RequestURI = ""
			r.URL.Scheme, r.URL.Host = "http", "sidecar"
			if show != "" {
				r.SetBasicAuth("gitlab-ci-token", show)
			}
			resp, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			got := resp.Status[:3]
			if o := resp.Header.Get(forwardauth.OutcomeHeader); o != "" {
				got = o
			}
			if got != real {
				t.Errorf("%s %s: %s, want %s", dialects[i].path, uri, got, real)
			}
			if job := resp.Header.Get(gate.JobHeader); real == "204" && (job == "job-1") != (show != "") {
				t.Errorf("%s: job %q", uri, job)
			}
		}
	}
	const clone = ".git/info/refs?service=git-upload-pack"
	for range 2 {
		want(token, "/acme/lib"+clone, "204")
		want(token, "/acme/app"+clone, "204")
		want(token, "/acme/open"+clone, "204")
		want(token, "/acme/closed"+clone, "404")
		want(token, "/acme/nothing"+clone, "404")
		want("", "/acme/open"+clone, "204")
		want("", "/acme/lib"+clone, "401")
		want("", "/acme/nothing"+clone, "401")
		want("", "/acme/open.git/info/refs?service=git-receive-pack", "401")
	}
	pdp.Revoke("job-1")
	for range 2 {
		want(token, "/acme/lib"+clone, "401")
		want(token, "/acme/open"+clone, "401") // dead is dead, on public data too
		want("", "/acme/open"+clone, "204")
	}
}

// A socket that is not trusted is not.
func TestUnixUntrusted(t *testing.T) {
	socket := serve(t, forwardauth.New(forwardauth.Options{Gate: &gate.Gate{Asker: &fake{}, Routes: table()}, TrustedProxies: proxies()}))
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	r := subrequest(0, "GET", packages)
	r.RequestURI = ""
	r.URL.Scheme, r.URL.Host = "http", "sidecar"
	r.Header.Set("Job-Token", good)
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 403 {
		t.Errorf("%s", resp.Status)
	}
}
