package policy_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// still is a world that answers from values and allocates nothing: job 1 of project 1
// in groups 3 and 4, user 1, target 2 in group 4.
type still struct {
	instance  policy.Instance
	catalogue *policy.Catalogue
	token     policy.Token
	user      policy.User
	projects  [3]policy.Project
	entry     policy.Entry
	role      authz.Role
}

func newStill() *still {
	s := &still{
		catalogue: policy.Builtin(),
		token:     policy.Token{Job: "job", Project: 1, User: 1, Issued: 5, Expires: authz.Stamp(time.Hour)},
		entry:     policy.Entry{Policies: []string{"admin_environments", "admin_packages", "admin_repositories"}},
		role:      authz.RoleMaintainer,
	}
	for i := range s.projects {
		s.projects[i] = policy.Project{InboundOn: true, PublicBuilds: true, PushSelf: true, PushCross: true}
	}
	return s
}

func (s *still) Revision() authz.Revision     { return 7 }
func (s *still) Instance() policy.Instance    { return s.instance }
func (s *still) Catalogue() *policy.Catalogue { return s.catalogue }

func (s *still) Token(d authz.Digest) (policy.Token, bool) { return s.token, d[0] == 1 }

func (s *still) User(id authz.UserID) (policy.User, bool) { return s.user, id == 1 }

func (s *still) Project(id authz.ProjectID) (policy.Project, bool) {
	if id < 1 || int(id) >= len(s.projects) {
		return policy.Project{}, false
	}
	return s.projects[id], true
}

func (s *still) ProjectAt(path string) (authz.ProjectID, bool) { return 2, path == "a/b/target" }

func (s *still) Ancestors(id authz.ProjectID, buf []policy.Group) []policy.Group {
	if id == 1 {
		buf = append(buf, policy.Group{ID: 3})
	}
	return append(buf, policy.Group{ID: 4})
}

func (s *still) Role(_ authz.UserID, scope authz.Scope) authz.Role {
	if scope == authz.InGroup(4) {
		return s.role
	}
	return authz.RoleNone
}

func (s *still) Inbound(_ authz.ProjectID, caller authz.Scope) (policy.Entry, bool) {
	return s.entry, caller == authz.InGroup(4)
}

func (s *still) Outbound(_, _ authz.ProjectID) bool { return true }

func still1() authz.Request {
	return authz.Request{Token: authz.Digest{1}, Target: authz.Target{Path: "a/b/target"}, Permission: "create_package"}
}

// TestNoAllocations: a Walk that is used again decides without allocating, whatever the
// answer.
func TestNoAllocations(t *testing.T) {
	s, base := newStill(), still1()
	var walk policy.Walk
	for _, c := range []struct {
		want  authz.Reason
		alter func(*still, *authz.Request)
	}{
		{authz.AllowedListed, func(*still, *authz.Request) {}},
		{authz.AllowedListed, func(_ *still, r *authz.Request) { r.Target = authz.Target{ID: 2} }},
		{authz.AllowedListed, func(_ *still, r *authz.Request) { r.Permission = "push_code" }},
		{authz.AllowedSelf, func(_ *still, r *authz.Request) { r.Target = authz.Target{ID: 1} }},
		{authz.AllowedExempt, func(s *still, _ *authz.Request) { s.projects[2].Visibility = authz.Public }},
		{authz.AllowedOwnJob, func(_ *still, r *authz.Request) { r.Permission = "read_own_job" }},
		{authz.PolicyMissing, func(_ *still, r *authz.Request) { r.Permission = "create_release" }},
		{authz.PolicyMissing, func(_ *still, r *authz.Request) { r.Permission = "create_deployment" }},
		{authz.RoleTooLow, func(s *still, _ *authz.Request) { s.role = authz.RoleGuest }},
		{authz.TargetNotFound, func(_ *still, r *authz.Request) { r.Target = authz.Target{Path: "a/b/c/d/e/f"} }},
		{authz.TokenUnknown, func(_ *still, r *authz.Request) { r.Token = authz.Digest{2} }},
		{authz.JobNotRunning, func(s *still, _ *authz.Request) { s.token.Status = authz.JobSuccess }},
		{authz.LimitedTarget, func(s *still, _ *authz.Request) { s.token.Limits.Targets = []authz.Scope{authz.InGroup(3)} }},
	} {
		w, req := *s, base
		c.alter(&w, &req)
		if d := walk.Decide(&w, req, 1); d.Reason != c.want {
			t.Errorf("%s, wanted %s", d.Reason, c.want)
		}
		if n := testing.AllocsPerRun(100, func() { walk.Decide(&w, req, 1) }); n != 0 {
			t.Errorf("%s takes %v allocations", c.want, n)
		}
	}
}

// TestWalkForgets: nothing of one question shows in the answer to the next.
func TestWalkForgets(t *testing.T) {
	g := generator(t)
	var walk policy.Walk
	for range max(1, *worlds/60) {
		tb := load(t, g.world())
		for range 100 {
			j, r := g.question(&tb.w, tb.names)
			req := tb.ask(t, j, r)
			used, fresh := walk.Decide(tb.facts, req, tb.now), policy.Decide(tb.facts, req, tb.now)
			if !slices.Equal(used.Keys, fresh.Keys) {
				t.Fatalf("keys %v and %v", used.Keys, fresh.Keys)
			}
			if used.Keys, fresh.Keys = nil, nil; !reflect.DeepEqual(used, fresh) {
				t.Fatalf("%+v, and with a walk of its own %+v", used, fresh)
			}
		}
	}
}

// TestValidFor: an answer is good until the token's end or the end of its heartbeat
// term, whichever comes first (R2, R5), to the nanosecond.
func TestValidFor(t *testing.T) {
	for _, c := range []struct {
		expires, deadline, now authz.Stamp
		valid                  time.Duration
		reason                 authz.Reason
	}{
		{100, 0, 10, 90, authz.AllowedListed},
		{100, 50, 10, 40, authz.AllowedListed},
		{100, 500, 10, 90, authz.AllowedListed},
		{100, 0, 99, 1, authz.AllowedListed},
		{100, 0, 100, 0, authz.TokenExpired},
		{100, 50, 49, 1, authz.AllowedListed},
		{100, 50, 50, 0, authz.HeartbeatLapsed},
		{50, 50, 50, 0, authz.TokenExpired},
		{0, 50, 10, 40, authz.AllowedListed},
		{0, 0, 10, 0, authz.AllowedListed}, // no end is known, so nothing is promised
	} {
		s := newStill()
		s.token.Expires, s.token.Deadline = c.expires, c.deadline
		if d := policy.Decide(s, still1(), c.now); d.ValidFor != c.valid || d.Reason != c.reason {
			t.Errorf("ends at %d and %d, now %d: %s for %d", c.expires, c.deadline, c.now, d.Reason, d.ValidFor)
		}
	}
}

// TestDeadBefore: what was issued before the death is dead, what was issued by the same
// revision or later is not (R6, R7, PROTOCOL R7).
func TestDeadBefore(t *testing.T) {
	for _, c := range []struct {
		source, user authz.Revision
		want         authz.Reason
	}{
		{0, 0, authz.AllowedListed},
		{4, 4, authz.AllowedListed},
		{5, 5, authz.AllowedListed},
		{6, 0, authz.SourceGone},
		{0, 6, authz.UserBlocked},
		{6, 6, authz.SourceGone},
	} {
		s := newStill()
		s.projects[1].DeadBefore, s.user.DeadBefore = c.source, c.user
		if d := policy.Decide(s, still1(), 1); d.Reason != c.want {
			t.Errorf("issued at 5, dead before %d and %d: %s", c.source, c.user, d.Reason)
		}
	}
}

// TestMissing names exactly what the entry lacks (R20).
func TestMissing(t *testing.T) {
	for _, c := range []struct {
		has  []string
		want []string
	}{
		{nil, []string{"admin_deployments", "admin_environments"}},
		{[]string{"admin_environments"}, []string{"admin_deployments"}},
		{[]string{"admin_deployments"}, []string{"admin_environments"}},
		{[]string{"read_deployments", "read_environments"}, []string{"admin_deployments", "admin_environments"}},
	} {
		s, req := newStill(), still1()
		s.entry.Policies, req.Permission = c.has, "create_deployment"
		d := policy.Decide(s, req, 1)
		if d.Reason != authz.PolicyMissing || !slices.Equal(d.Missing, c.want) || d.Entry != authz.InGroup(4) {
			t.Errorf("with %v: %s, missing %v, entry %s", c.has, d.Reason, d.Missing, d.Entry)
		}
		// The names belong to the catalogue: adding to them must not reach it.
		_ = append(d.Missing, "spoiled")
		if p, _ := s.catalogue.Permission("create_deployment"); fmt.Sprint(p.Policies) != "[admin_deployments admin_environments]" {
			t.Fatalf("the catalogue now says %v", p.Policies)
		}
	}
}

// TestViewAgrees asks the view that a PDP decides on the same random questions as the
// plain maps: two worlds that share no code but the records.
func TestViewAgrees(t *testing.T) {
	g := generator(t)
	var one, other policy.Walk
	for range max(1, *worlds/10) {
		w := g.world()
		tb, view := load(t, w), state.NewView()
		for _, r := range tb.facts.All() {
			view.Load(r, 1)
		}
		view.Loaded(state.Mark{Revision: 1}, tb.now)
		tb.facts.At = 1
		for range 100 {
			j, r := g.question(&tb.w, tb.names)
			req := tb.ask(t, j, r)
			records, err := j.Records(tb.index, tb.now)
			if err != nil {
				t.Fatal(err)
			}
			tb.facts.At++
			view.Apply([]state.Change{{Revision: tb.facts.At, Stamp: tb.now, Puts: records}})
			a, b := one.Decide(tb.facts, req, tb.now), view.Decide(&other, req, tb.now)
			if !slices.Equal(a.Keys, b.Keys) {
				t.Fatalf("keys %v, on the view %v\n%s", a.Keys, b.Keys, asJSON(asScenario(0, &tb.w, j, r)))
			}
			if a.Keys, b.Keys = nil, nil; !reflect.DeepEqual(a, b) {
				t.Fatalf("%+v, on the view %+v\n%s", a, b, asJSON(asScenario(0, &tb.w, j, r)))
			}
		}
	}
}
