package policy_test

import (
	"slices"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/scenario"
	"github.com/jobward/jobward/pdp/state"
)

// change is one way to change one thing of a world.
type change struct {
	name string
	make func(*mutant)
}

// changes lists everything that a decision can read and a commit can change.
func changes() []change {
	return slices.Concat(projectChanges(), groupChanges(), userChanges(), listChanges(), jobChanges(), instanceChanges())
}

func projectChanges() []change {
	return []change{
		{"project: visibility", func(m *mutant) {
			m.changeProject(func(p *state.Project) { p.Visibility = authz.Visibility(m.IntN(3)) })
		}},
		{"project: state", func(m *mutant) {
			m.changeProject(func(p *state.Project) { p.State = authz.ProjectState(m.IntN(5)) })
		}},
		{"project: feature", func(m *mutant) {
			m.changeProject(func(p *state.Project) {
				p.Features[m.IntN(authz.NumFeatures)] = authz.FeatureLevel(m.IntN(4))
			})
		}},
		{"project: public pipelines", func(m *mutant) {
			m.changeProject(func(p *state.Project) { p.PublicBuilds = !p.PublicBuilds })
		}},
		{"project: read-only", func(m *mutant) { m.changeProject(func(p *state.Project) { p.ReadOnly = !p.ReadOnly }) }},
		{"project: hidden", func(m *mutant) { m.changeProject(func(p *state.Project) { p.Hidden = !p.Hidden }) }},
		{"project: renamed", func(m *mutant) { m.changeProject(func(p *state.Project) { p.Name = m.name("renamed") }) }},
		{"project: moved", func(m *mutant) {
			m.changeProject(func(p *state.Project) {
				p.Group, p.Namespace = 0, "dev"
				if all := m.groups(); len(all) > 0 && m.chance(80) {
					p.Group, p.Namespace = all[m.IntN(len(all))].ID, ""
				}
			})
		}},
		{"project: gone", func(m *mutant) {
			if id := m.project(); m.facts.Get(state.ProjectKey(id)) != nil {
				m.put(state.ProjectKey(id), nil)
			}
		}},
		{"project: killed", func(m *mutant) {
			id := m.project()
			m.put(state.ProjectDeathKey(id), &state.Death{Project: id, Before: authz.Revision(m.IntN(4))})
		}},
		{"project: made with an id asked for", func(m *mutant) {
			id := authz.ProjectID(1 + m.IntN(9))
			if m.facts.Get(state.ProjectKey(id)) == nil && m.free("dev/made") {
				m.put(state.ProjectKey(id), &state.Project{ID: id, Namespace: "dev", Name: "made", Visibility: authz.Public, PublicBuilds: true})
			}
		}},
		{"project: made at the path asked for", func(m *mutant) {
			up, name := parent(m.path), m.path[strings.LastIndex(m.path, "/")+1:]
			if up == "" || name == "" || !m.free(m.path) {
				return
			}
			p := &state.Project{ID: 77, Namespace: up, Name: name, Visibility: authz.Public, PublicBuilds: true}
			for _, g := range m.groups() {
				if pathOf(m.facts, g) == up {
					p.Group, p.Namespace = g.ID, ""
				}
			}
			m.put(p.Key(), p)
		}},
	}
}

func groupChanges() []change {
	return []change{
		{"group: state", func(m *mutant) { m.changeGroup(func(g *state.Group) { g.State = authz.ProjectState(m.IntN(5)) }) }},
		{"group: renamed", func(m *mutant) { m.changeGroup(func(g *state.Group) { g.Name = m.name("renamed") }) }},
		{"group: renamed to what the path asked for begins with", func(m *mutant) {
			first, rest, _ := strings.Cut(m.path, "/")
			for _, r := range m.facts.All() { // a group that has what the path goes on with
				if p, ok := r.(*state.Project); ok && p.Group != 0 && p.Name == rest && p.ID != m.about.Source {
					g := *m.facts.Get(state.GroupKey(p.Group)).(*state.Group)
					if g.Parent, g.Name = 0, first; m.free(first) {
						m.put(g.Key(), &g)
						return
					}
				}
			}
		}},
		{"group: moved", func(m *mutant) {
			m.changeGroup(func(g *state.Group) {
				all := m.groups()
				if g.Parent = all[m.IntN(len(all))].ID; m.chance(30) {
					g.Parent = 0
				}
			})
		}},
		{"group: swaps its name with its neighbour", func(m *mutant) {
			all := m.groups()
			if len(all) < 2 {
				return
			}
			a, b := *all[m.IntN(len(all))], *all[m.IntN(len(all))]
			if a.ID == b.ID || a.Parent != b.Parent {
				return
			}
			a.Name, b.Name = b.Name, a.Name
			m.put(a.Key(), &a) // one commit; the world is looked at after both
			m.put(b.Key(), &b)
			m.emitted = append(m.emitted, authz.PathKey(pathOf(m.facts, &a)), authz.PathKey(pathOf(m.facts, &b)))
		}},
	}
}

func userChanges() []change {
	user := func(m *mutant) authz.UserID { return pick(m.gen, m.about.User, authz.UserID(1+m.IntN(3))) }
	return []change{
		{"user: state", func(m *mutant) {
			if r, ok := m.facts.Get(state.UserKey(user(m))).(*state.User); ok {
				c := *r
				c.State = authz.UserState(m.IntN(5))
				m.put(c.Key(), &c)
			}
		}},
		{"user: external", func(m *mutant) {
			if r, ok := m.facts.Get(state.UserKey(user(m))).(*state.User); ok {
				c := *r
				c.External = !c.External
				m.put(c.Key(), &c)
			}
		}},
		{"user: gone", func(m *mutant) {
			if id := user(m); m.facts.Get(state.UserKey(id)) != nil {
				m.put(state.UserKey(id), nil)
			}
		}},
		{"user: made", func(m *mutant) {
			if id := m.about.User; m.facts.Get(state.UserKey(id)) == nil {
				m.put(state.UserKey(id), &state.User{ID: id, Name: "made"})
			}
		}},
		{"user: killed", func(m *mutant) {
			id := user(m)
			m.put(state.UserDeathKey(id), &state.Death{User: id, Before: authz.Revision(m.IntN(4))})
		}},
		{"user: membership", func(m *mutant) {
			id := user(m)
			c := &state.Members{User: id}
			if r, ok := m.facts.Get(state.MembersKey(id)).(*state.Members); ok {
				c.List = slices.Clone(r.List)
			}
			s := m.scope()
			c.List = slices.DeleteFunc(c.List, func(o state.Membership) bool { return o.Scope == s })
			if m.chance(70) {
				c.List = append(c.List, state.Membership{Scope: s, Role: pick(m.gen, authz.RoleMinimal, authz.RoleGuest, authz.RoleReporter, authz.RoleOwner)})
			}
			m.put(c.Key(), c)
		}},
	}
}

func listChanges() []change {
	return []change{
		{"list: switches", func(m *mutant) {
			m.changeAllowlist(func(a *state.Allowlist) {
				a.InboundOn, a.OutboundOn, a.PushSelf, a.PushCross = m.chance(50), m.chance(50), m.chance(50), m.chance(50)
			})
		}},
		{"list: inbound entry", func(m *mutant) {
			m.changeAllowlist(func(a *state.Allowlist) {
				s := m.scope()
				a.Inbound = slices.DeleteFunc(a.Inbound, func(e state.Entry) bool { return e.Caller == s })
				if m.chance(70) {
					a.Inbound = append(a.Inbound, state.Entry{Caller: s, Entry: policy.Entry{Default: m.chance(50), Policies: []string{"read_packages"}}})
				}
			})
		}},
		{"list: outbound entry", func(m *mutant) {
			m.changeAllowlist(func(a *state.Allowlist) {
				if id := m.project(); slices.Contains(a.Outbound, id) {
					a.Outbound = slices.DeleteFunc(a.Outbound, func(o authz.ProjectID) bool { return o == id })
				} else {
					a.Outbound = append(a.Outbound, id)
				}
			})
		}},
		{"list: gone", func(m *mutant) {
			if id := m.project(); m.facts.Get(state.AllowlistKey(id)) != nil {
				m.put(state.AllowlistKey(id), nil)
			}
		}},
	}
}

func jobChanges() []change {
	return []change{
		{"job: status", func(m *mutant) { m.changeJob(func(j *state.Job) { j.Status = authz.JobStatus(m.IntN(13)) }) }},
		{"job: erased", func(m *mutant) { m.changeJob(func(j *state.Job) { j.Erased = !j.Erased }) }},
		{"job: lapsed", func(m *mutant) { m.changeJob(func(j *state.Job) { j.Lapsed = !j.Lapsed }) }},
		{"job: limits", func(m *mutant) {
			m.changeJob(func(j *state.Job) {
				j.Limits = policy.Limits{Permissions: []authz.Permission{"read_packages"}, Targets: []authz.Scope{m.scope()}}
			})
		}},
		{"job: issued again", func(m *mutant) {
			var old authz.Digest
			m.changeJob(func(j *state.Job) { old, j.Digest, j.Issued = j.Digest, authz.Digest{9}, 9 })
			m.put(state.ReplacedKey(old), &state.Replaced{Digest: old, Job: scenario.JobID})
		}},
		{"job: gone", func(m *mutant) { m.put(state.JobKey(scenario.JobID), nil) }},
	}
}

func instanceChanges() []change {
	return []change{
		{"instance: settings", func(m *mutant) {
			m.put(state.InstanceKey(), &state.Instance{Instance: policy.Instance{
				PublicScope: authz.PublicScope(m.IntN(2)), EnforceInbound: m.chance(50), AnyoneCanPull: m.chance(50),
			}})
		}},
		{"instance: catalogue", func(m *mutant) {
			m.put(state.CatalogueKey(), &state.Catalogue{Document: []byte(`{"policies":["read_wiki"],"permissions":[
				{"name":"read_wiki","surface":"rest","role":"owner","policies":["read_wiki"]},{"name":"fly","surface":"rest","role":"guest"}]}`)})
		}},
	}
}
