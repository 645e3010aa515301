package gitlab

import (
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/feed"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
)

// TestScope: what GET says is what jobs meet, enforcement included.
func TestScope(t *testing.T) {
	r := newRig(t)
	is := func(when, want string) {
		t.Helper()
		if a := r.as(mia, "GET", scopePath, ""); a.status != 200 || a.body != want+"\n" {
			t.Errorf("%s: %d %s", when, a.status, a.body)
		}
	}
	is("at first", `{"inbound_enabled":true,"outbound_enabled":false}`)
	r.want("off", r.as(mia, "PATCH", scopePath, `{"enabled":false}`), 204, "")
	is("off", `{"inbound_enabled":false,"outbound_enabled":false}`)
	r.want("enforce", r.as(ada, "PUT", "application/settings", `{"enforce_ci_inbound_job_token_scope_enabled":true}`), 200, "")
	is("enforced", `{"inbound_enabled":true,"outbound_enabled":false}`)
	r.commit(&state.Allowlist{Project: app, OutboundOn: true})
	is("outbound", `{"inbound_enabled":true,"outbound_enabled":true}`)
	a := r.as(out, "GET", "application/settings", "")
	if a.body != `{"enforce_ci_inbound_job_token_scope_enabled":true,"package_registry_allow_anyone_to_pull_option":true,"job_token_public_scope":"exempt","job_token_max_project_entries":200,"job_token_max_group_entries":200}`+"\n" {
		t.Errorf("settings: %s", a.body)
	}
}

// TestGrants is the extension for fine-grained permissions, from what is sent to what the engine has.
func TestGrants(t *testing.T) {
	r := newRig(t)
	for name, c := range map[string]struct {
		body   string
		status int
		says   string
		want   policy.Entry
	}{
		"left out":           {`{"target_project_id":12}`, 201, "", policy.Entry{Default: true}},
		"default":            {`{"target_project_id":12,"default_permissions":true}`, 201, "", policy.Entry{Default: true}},
		"default, no more":   {`{"target_project_id":12,"default_permissions":true,"job_token_policies":[]}`, 201, "", policy.Entry{Default: true}},
		"nothing granted":    {`{"target_project_id":12,"default_permissions":false}`, 201, "", policy.Entry{}},
		"empty list":         {`{"target_project_id":12,"job_token_policies":[]}`, 201, "", policy.Entry{}},
		"policies":           {`{"target_project_id":12,"job_token_policies":["read_jobs","admin_packages"]}`, 201, "", policy.Entry{Policies: []string{"admin_packages", "read_jobs"}}},
		"capitals":           {`{"target_project_id":12,"job_token_policies":["READ_JOBS"]}`, 201, "", policy.Entry{Policies: []string{"read_jobs"}}},
		"twice":              {`{"target_project_id":12,"job_token_policies":["read_jobs","READ_JOBS"]}`, 201, "", policy.Entry{Policies: []string{"read_jobs"}}},
		"text":               {`{"target_project_id":12,"job_token_policies":"read_jobs, read_releases"}`, 201, "", policy.Entry{Policies: []string{"read_jobs", "read_releases"}}},
		"form":               {"target_project_id=12&job_token_policies[]=read_jobs&job_token_policies[]=read_releases", 201, "", policy.Entry{Policies: []string{"read_jobs", "read_releases"}}},
		"form, commas":       {"target_project_id=12&job_token_policies=read_jobs,read_releases&default_permissions=false", 201, "", policy.Entry{Policies: []string{"read_jobs", "read_releases"}}},
		"form, none":         {"target_project_id=12&job_token_policies=", 201, "", policy.Entry{}},
		"unknown":            {`{"target_project_id":12,"job_token_policies":["read_jobs","read_minds"]}`, 400, `error: job_token_policies is invalid: there is no policy "read_minds"`, policy.Entry{}},
		"mixed case":         {`{"target_project_id":12,"job_token_policies":["Read_Jobs"]}`, 400, `there is no policy "Read_Jobs"`, policy.Entry{}},
		"deprecated":         {`{"target_project_id":12,"job_token_policies":["read_containers"]}`, 400, "there is no policy", policy.Entry{}},
		"both":               {`{"target_project_id":12,"default_permissions":true,"job_token_policies":["read_jobs"]}`, 400, "not both", policy.Entry{}},
		"null list":          {`{"target_project_id":12,"job_token_policies":null}`, 400, "error: job_token_policies is invalid", policy.Entry{}},
		"null default":       {`{"target_project_id":12,"default_permissions":null}`, 400, "error: default_permissions is empty", policy.Entry{}},
		"numbers":            {`{"target_project_id":12,"job_token_policies":[1]}`, 400, "error: job_token_policies is invalid", policy.Entry{}},
		"nested":             {`{"target_project_id":12,"job_token_policies":[["read_jobs"]]}`, 400, "error: job_token_policies is invalid", policy.Entry{}},
		"object":             {`{"target_project_id":12,"job_token_policies":{"read_jobs":true}}`, 400, "error: job_token_policies is invalid", policy.Entry{}},
		"blank name":         {`{"target_project_id":12,"job_token_policies":["read_jobs",""]}`, 400, "error: job_token_policies is invalid", policy.Entry{}},
		"trailing comma":     {"target_project_id=12&job_token_policies=read_jobs,", 400, "error: job_token_policies is invalid", policy.Entry{}},
		"list in both forms": {"target_project_id=12&job_token_policies=read_jobs&job_token_policies[]=read_jobs", 400, "there twice", policy.Entry{}},
	} {
		r.commit(&state.Allowlist{Project: app, InboundOn: true})
		a := r.as(mia, "POST", listPath, c.body)
		r.want(name, a, c.status, c.says)
		list, _ := r.engine.View().Allowlist(app)
		if c.status != 201 {
			if len(list.Inbound) > 0 {
				t.Errorf("%s: an entry was made", name)
			}
			continue
		}
		if len(list.Inbound) != 1 || list.Inbound[0].Default != c.want.Default || strings.Join(list.Inbound[0].Policies, " ") != strings.Join(c.want.Policies, " ") {
			t.Errorf("%s: the engine has %+v", name, list.Inbound)
		}
		if plain := a.body == `{"source_project_id":10,"target_project_id":12}`+"\n"; plain != (name == "left out") {
			t.Errorf("%s: %s", name, a.body)
		}
	}
}

// TestChange changes what an entry grants, and reads it back where somebody asks for it.
func TestChange(t *testing.T) {
	r := newRig(t)
	r.want("add", r.as(mia, "POST", groupPath, "target_group_id=4"), 201, "")
	for _, method := range []string{"PUT", "PATCH"} {
		for body, want := range map[string]string{
			`{"job_token_policies":["READ_JOBS"]}`: `"default_permissions":false,"job_token_policies":["read_jobs"]`,
			`{"default_permissions":false}`:        `"default_permissions":false,"job_token_policies":[]`,
			`{"default_permissions":true}`:         `"default_permissions":true,"job_token_policies":[]`,
		} {
			a := r.as(mia, method, groupPath+"/crowd", body)
			if a.status != 200 || a.body != `{"source_project_id":10,"target_group_id":4,`+want+`,"autopopulated":false}`+"\n" || !strings.HasPrefix(a.header.Get(receiptHeader), "effective; revision=") {
				t.Errorf("%s %s: %d %s", method, body, a.status, a.body)
			}
			if a := r.as(mia, "GET", groupPath+"?job_token_policies=true", ""); !strings.Contains(a.body, want) {
				t.Errorf("%s %s: read back %s", method, body, a.body)
			}
			if a := r.as(mia, "GET", groupPath, ""); strings.Contains(a.body, "default_permissions") {
				t.Errorf("the plain list has more than GitLab's: %s", a.body)
			}
		}
		r.want("nothing", r.as(mia, method, groupPath+"/4", `{}`), 400, "error: default_permissions, job_token_policies are missing")
		r.want("unknown policy", r.as(mia, method, groupPath+"/4", `{"job_token_policies":["x"]}`), 400, `there is no policy "x"`)
		r.want("unknown key", r.as(mia, method, groupPath+"/4", `{"policies":["read_jobs"]}`), 400, "error: policies is not taken here")
		r.want("no such entry", r.as(mia, method, groupPath+"/1", `{"default_permissions":true}`), 400, "group 1 is not on the list")
		r.want("hidden", r.as(mia, method, groupPath+"/3", `{"default_permissions":true}`), 404, "404 Group Not Found")
		r.want("itself", r.as(mia, method, listPath+"/10", `{"default_permissions":true}`), 400, "message: 400")
		r.want("developer", r.as(developer, method, groupPath+"/4", `{"default_permissions":true}`), 403, "message: 403")
	}
	r.want("opt-in, bad", r.as(mia, "GET", groupPath+"?job_token_policies=maybe", ""), 400, "error: job_token_policies is invalid")
}

// TestReceipt: a change answers when no cache believes what was before; where one stays silent, the answer comes in time and
// says so (P1).
func TestReceipt(t *testing.T) {
	r := newRig(t, func(o *Options) { o.ReceiptWait = 300 * time.Millisecond })
	r.want("add", r.as(mia, "POST", "projects/11/job_token_scope/allowlist", "target_project_id=10"), 201, "")
	digest, _ := r.tokens.DigestOfString(r.issue("1", app, mia))
	stream, err := r.engine.Feed().Open(t.Context(), "sidecar", feed.About{Name: "s"}, lease.Hello{})
	if err != nil {
		t.Fatal(err)
	}
	keep := func() authz.Decision {
		return r.engine.Keep(new(policy.Walk), stream.Generation(), "sidecar", authz.Request{Token: digest, Permission: "read_packages", Target: authz.Target{ID: lib}})
	}
	if d := keep(); !d.Allow || d.Number == 0 {
		t.Fatalf("%+v", d)
	}
	began := time.Now()
	a := r.as(mia, "DELETE", "projects/11/job_token_scope/allowlist/10", "")
	if took := time.Since(began); a.status != 204 || !strings.HasPrefix(a.header.Get(receiptHeader), "pending; revision=") || took < 150*time.Millisecond {
		t.Errorf("silent: %d %q after %v", a.status, a.header.Get(receiptHeader), took)
	}
	if d := keep(); d.Allow {
		t.Errorf("it is durable: %+v", d)
	}
	acked := make(chan struct{})
	go func() {
		defer close(acked)
		for {
			ms, err := stream.Next(t.Context())
			if err != nil {
				return
			}
			for _, m := range ms {
				if m.Kind == lease.Invalidation {
					stream.Ack(m.Revision)
				}
			}
		}
	}()
	// The same change again changes nothing and waits for the first (PROTOCOL R6).
	for range 2 {
		a = r.as(mia, "PATCH", "projects/11/job_token_scope", "enabled=true")
	}
	if a.status != 204 || !strings.HasPrefix(a.header.Get(receiptHeader), "effective; revision=") {
		t.Errorf("acked: %d %q", a.status, a.header.Get(receiptHeader))
	}
	stream.Close()
	<-acked
}

// TestReadsAreFresh: what was changed through one of several PDPs is there to be read through
// the next, as a client behind a load balancer expects (R8).
func TestReadsAreFresh(t *testing.T) {
	c := memstore.NewCluster(memstore.Options{})
	handle := c.Open()
	a, b := newRigOn(t, c.Open()), newRigOn(t, handle)
	handle.Hold()
	defer handle.Release()
	for _, on := range []string{"true", "false", "true"} {
		a.want("switch", a.as(mia, "PATCH", scopePath, `{"enabled":`+on+`}`), 204, "")
		if got := b.as(mia, "GET", scopePath, ""); !strings.Contains(got.body, `"inbound_enabled":`+on) {
			t.Errorf("%s: %s", on, got.body)
		}
	}
}
