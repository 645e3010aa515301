// Command client makes the calls that it reads, one JSON object a line, with GitLab's own Go client, unmodified, and prints what came of
// each, one JSON object a line. The test of the module above runs it against a PDP.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"reflect"

	gitlab "gitlab.com/gitlab-org/api/client-go/v2"
)

// call is one line of input.
type call struct {
	Method string
	// Key is a maintainer's key, Job a job token; Bearer sends the key as such.
	Key, Job string
	Bearer   bool
	// Sudo, where set, names a user.
	Sudo string
	// Path or ID is the project.
	Path string
	ID   int64
	// Target is whom an entry names; nil leaves it out.
	Target        *int64
	On            bool
	Page, PerPage int64
}

// result is one line of output.
type result struct {
	Status int
	// Error is the client's error, NotFound says that it is the one that callers compare with.
	Error    string
	NotFound bool
	Value    any
	// Next, Total and Pages are what the client read of the headers.
	Next, Total, Pages int64
	Receipt            string
}

func main() {
	base := flag.String("url", "", "address of the API")
	ca := flag.String("ca", "", "file of the CA")
	methods := flag.Bool("methods", false, "print the methods of the service, and end")
	flag.Parse()
	if *methods {
		for m := range reflect.TypeFor[gitlab.JobTokenScopeServiceInterface]().Methods() {
			fmt.Println(m.Name)
		}
		return
	}
	pem, err := os.ReadFile(*ca)
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	h := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	lines, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var c call
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			log.Fatal(err)
		}
		client, err := c.client(gitlab.WithBaseURL(*base), gitlab.WithHTTPClient(h), gitlab.WithoutRetries())
		if err != nil {
			log.Fatal(err)
		}
		if err := out.Encode(c.make(client)); err != nil {
			log.Fatal(err)
		}
	}
}

func (c call) client(opts ...gitlab.ClientOptionFunc) (*gitlab.Client, error) {
	switch {
	case c.Job != "":
		return gitlab.NewJobClient(c.Job, opts...)
	case c.Bearer:
		return gitlab.NewOAuthClient(c.Key, opts...)
	}
	return gitlab.NewClient(c.Key, opts...)
}

func (c call) make(g *gitlab.Client) result {
	var pid any = c.ID
	if c.Path != "" {
		pid = c.Path
	}
	var opts []gitlab.RequestOptionFunc
	if c.Sudo != "" {
		opts = append(opts, gitlab.WithSudo(c.Sudo))
	}
	list := gitlab.ListOptions{Page: c.Page, PerPage: c.PerPage}
	var value any
	var resp *gitlab.Response
	var err error
	switch s := g.JobTokenScope; c.Method {
	case "GetProjectJobTokenAccessSettings":
		value, resp, err = s.GetProjectJobTokenAccessSettings(pid, opts...)
	case "PatchProjectJobTokenAccessSettings":
		resp, err = s.PatchProjectJobTokenAccessSettings(pid, &gitlab.PatchProjectJobTokenAccessSettingsOptions{Enabled: c.On}, opts...)
	case "GetProjectJobTokenInboundAllowList":
		value, resp, err = s.GetProjectJobTokenInboundAllowList(pid, &gitlab.GetJobTokenInboundAllowListOptions{ListOptions: list}, opts...)
	case "AddProjectToJobScopeAllowList":
		value, resp, err = s.AddProjectToJobScopeAllowList(pid, &gitlab.JobTokenInboundAllowOptions{TargetProjectID: c.Target}, opts...)
	case "RemoveProjectFromJobScopeAllowList":
		resp, err = s.RemoveProjectFromJobScopeAllowList(pid, *c.Target, opts...)
	case "GetJobTokenAllowlistGroups":
		value, resp, err = s.GetJobTokenAllowlistGroups(pid, &gitlab.GetJobTokenAllowlistGroupsOptions{ListOptions: list}, opts...)
	case "AddGroupToJobTokenAllowlist":
		value, resp, err = s.AddGroupToJobTokenAllowlist(pid, &gitlab.AddGroupToJobTokenAllowlistOptions{TargetGroupID: c.Target}, opts...)
	case "RemoveGroupFromJobTokenAllowlist":
		resp, err = s.RemoveGroupFromJobTokenAllowlist(pid, *c.Target, opts...)
	default:
		value, resp, err = c.others(g, pid, opts)
	}
	return told(value, resp, err)
}

// others are calls of other services that are served as well.
func (c call) others(g *gitlab.Client, pid any, opts []gitlab.RequestOptionFunc) (value any, resp *gitlab.Response, err error) {
	switch c.Method {
	case "CurrentUser":
		return wrap(g.Users.CurrentUser(opts...))
	case "GetProject":
		return wrap(g.Projects.GetProject(pid, nil, opts...))
	case "EditProject":
		return wrap(g.Projects.EditProject(pid, &gitlab.EditProjectOptions{CIPushRepositoryForJobTokenAllowed: &c.On}, opts...))
	case "GetSettings":
		return wrap(g.Settings.GetSettings(opts...))
	case "GetJobTokensJob":
		return wrap(g.Jobs.GetJobTokensJob(nil, opts...))
	case "Scan":
		it, failed := gitlab.Scan(func(p gitlab.PaginationOptionFunc) ([]*gitlab.Project, *gitlab.Response, error) {
			ps, r, err := g.JobTokenScope.GetProjectJobTokenInboundAllowList(pid, nil, append(opts, p)...)
			resp = r
			return ps, r, err
		})
		var all []*gitlab.Project
		for p := range it {
			all = append(all, p)
		}
		return all, resp, failed()
	}
	return nil, nil, errors.New("no such method: " + c.Method)
}

func wrap[T any](value T, resp *gitlab.Response, err error) (any, *gitlab.Response, error) {
	return value, resp, err
}

func told(value any, resp *gitlab.Response, err error) result {
	out := result{Value: value}
	if resp != nil {
		out.Next, out.Total, out.Pages = resp.NextPage, resp.TotalItems, resp.TotalPages
		if resp.Response != nil {
			out.Status, out.Receipt = resp.StatusCode, resp.Header.Get("Jobward-Receipt")
		}
	}
	if err != nil {
		out.Error, out.NotFound, out.Value = err.Error(), errors.Is(err, gitlab.ErrNotFound), nil
	}
	return out
}
