package pep_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/pep"
	"github.com/jobward/jobward/sidecar/pep/peptest"
)

// A package server that lets jobs read what the policy allows.
func ExampleGuard_Handler() {
	t := &exampleT{}
	defer t.end()
	pdp := peptest.Start(t)

	decider, err := pep.New(pdp.Config()) // in production: Addresses, TLS, Name, StateDir
	if err != nil {
		fmt.Println(err)
		return
	}
	defer decider.Close(context.Background())

	guard := &pep.Guard{Asker: decider}
	packages := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, _ := pep.IdentityOf(r.Context())
		fmt.Fprintf(w, "packages for job %s of project %d", who.Job, who.Source)
	})
	handler := guard.Handler(packages, func(r *http.Request) (pep.Wanted, error) {
		path, _ := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/"), "/packages")
		return pep.Wanted{Token: pep.TokenOf(r), Target: authz.Target{Path: path}, Permission: "read_packages", Surface: authz.SurfaceREST}, nil
	})

	get := func(path, token string) {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("JOB-TOKEN", token)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Code, strings.TrimSpace(w.Body.String()))
	}
	token := pdp.Issue("job-1", peptest.App, peptest.Dev)
	get("/acme/lib/packages", token)
	get("/acme/nothing/packages", token)
	pdp.Revoke("job-1")
	get("/acme/lib/packages", token)
	// Output:
	// 200 packages for job job-1 of project 10
	// 404 there is no such project
	// 401 the job token is not valid, or its job has ended
}

// Several questions about one token go to the PDP together.
func ExampleDecider_CheckMany() {
	t := &exampleT{}
	defer t.end()
	pdp := peptest.Start(t)
	decider := pdp.Decider()
	token := decider.Digest(pdp.Issue("job-1", peptest.App, peptest.Dev))
	var questions []authz.Request
	for _, p := range []authz.ProjectID{peptest.App, peptest.Lib, peptest.Closed, peptest.Open} {
		questions = append(questions, authz.Request{Token: token, Target: authz.Target{ID: p}, Permission: "read_packages"})
	}
	answers, err := decider.CheckMany(context.Background(), questions)
	if err != nil {
		fmt.Println(err)
	}
	for _, a := range answers {
		fmt.Println(a.Target, a.Allow, a.Reason)
	}
	// Output:
	// 10 true allowed_self
	// 11 true allowed_listed
	// 12 false inbound_not_listed
	// 13 true allowed_open
}

// exampleT does for an example what a testing.T does for a test.
type exampleT struct{ cleanups []func() }

func (t *exampleT) Helper()                   {}
func (t *exampleT) Cleanup(f func())          { t.cleanups = append(t.cleanups, f) }
func (t *exampleT) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

func (t *exampleT) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
}
