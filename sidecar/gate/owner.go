package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/route"
)

// target finds what a question is about: Allowed, NotFound, or an Outcome that ends the matter.
func (g *Gate) target(ctx context.Context, r *Request, m route.Match) (authz.Target, Outcome) {
	switch m.Route.Target {
	case route.InPath:
		return m.Target, Allowed
	case route.OwnJob, route.ThatJob:
		return authz.Target{}, Allowed
	case route.Owner:
	default:
		return authz.Target{}, Undecided
	}
	if g.Owner == nil {
		g.ownerless.Do(func() {
			if g.Logger != nil {
				g.Logger.WarnContext(ctx, "requests are refused because nobody is named who knows the projects that own what is asked for", "route", m.Route.Name)
			}
		})
		return authz.Target{}, NotFound
	}
	switch t, err := g.Owner(ctx, r, m); {
	case err == nil && (t.ID != 0 || t.Path != ""):
		return t, Allowed
	case err != nil && authz.KindOf(err) != authz.KindNotFound:
		if g.Logger != nil {
			g.Logger.DebugContext(ctx, "the owner could not be found out", "route", m.Route.Name, "error", err)
		}
		return authz.Target{}, Undecided
	}
	return authz.Target{}, NotFound
}

// The bounds of Owners.
const (
	ownerTimeout = 2 * time.Second
	ownerAnswer  = 4 << 10 // bytes
	ownerConns   = 64
)

// Headers that Owners send.
const (
	ownerMethodHeader = "Jobward-Method" // of the request to the service
	ownerPathHeader   = "Jobward-Path"   // its path as it stood on the request line; never the query, which may hold a token
)

// Owners asks a service which projects own what paths name; its Find is a [Gate.Owner]. It is safe for concurrent use.
type Owners struct {
	address string
	client  http.Client
}

// AskOwners makes Owners that ask at an address, an http or https URL. The error is about the address.
func AskOwners(address string) (*Owners, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return nil, errors.New("the address that owners are asked at must be an http or https URL with a host and without credentials")
	}
	transport := &http.Transport{
		TLSHandshakeTimeout: ownerTimeout, ResponseHeaderTimeout: ownerTimeout, IdleConnTimeout: 30 * time.Second,
		MaxConnsPerHost: ownerConns, MaxIdleConnsPerHost: ownerConns, MaxResponseHeaderBytes: 16 << 10,
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Owners{address, http.Client{Transport: transport, Timeout: ownerTimeout, CheckRedirect: stay}}, nil
}

// Close ends the connections that wait for questions.
func (o *Owners) Close() { o.client.CloseIdleConnections() }

// Find asks: a GET of the address with the headers Jobward-Method and Jobward-Path. The answer is 404 when nothing there has an owner
// (KindNotFound), or 200 with one of
//
//	{"project_id": 7}
//	{"project_path": "group/project"}
//
// Anything else, no answer within 2 s, and an answer above 4 KiB leave the request undecided (KindUnavailable). Nothing is kept: owners change, and
// nobody would tell.
func (o *Owners) Find(ctx context.Context, r *Request, _ route.Match) (authz.Target, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.address, nil)
	if err != nil {
		return authz.Target{}, unknownOwner("the question could not be made", err)
	}
	req.Header.Set(ownerMethodHeader, r.Method)
	req.Header.Set(ownerPathHeader, r.Path)
	resp, err := o.client.Do(req)
	if err != nil {
		return authz.Target{}, unknownOwner("the service was not reached", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, ownerAnswer+1))
	switch {
	case err != nil:
		return authz.Target{}, unknownOwner("the answer broke off", err)
	case resp.StatusCode == http.StatusNotFound:
		return authz.Target{}, authz.Errorf(authz.KindNotFound, "NO_OWNER", "no project owns this")
	case resp.StatusCode != http.StatusOK:
		return authz.Target{}, unknownOwner(fmt.Sprintf("the answer has the status %d", resp.StatusCode), nil)
	case len(body) > ownerAnswer:
		return authz.Target{}, unknownOwner("the answer is longer than 4 KiB", nil)
	}
	return readOwner(body)
}

func readOwner(body []byte) (authz.Target, error) {
	var answer struct {
		ID   *authz.ProjectID `json:"project_id"`
		Path *string          `json:"project_path"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return authz.Target{}, unknownOwner("the answer is no JSON of the form that is wanted", nil) // err may quote it
	}
	switch {
	case answer.ID != nil && answer.Path == nil && answer.ID.Valid():
		return authz.Target{ID: *answer.ID}, nil
	case answer.Path != nil && answer.ID == nil && *answer.Path != "":
		return authz.Target{Path: *answer.Path}, nil
	}
	return authz.Target{}, unknownOwner("the answer has to have one of project_id and project_path", nil)
}

func unknownOwner(what string, cause error) error {
	return &authz.Error{Kind: authz.KindUnavailable, Code: "OWNER_UNKNOWN", Message: "the project that owns this could not be found out: " + what, Cause: cause}
}
