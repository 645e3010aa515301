package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// build makes the scenario true on the PDP and gives the token to show. The world begins with everybody active, since only then a
// job gets a token; what the scenario says of blocked users and vanished projects comes after.
func (x *scratch) build() (shown string, err error) {
	if err := x.apply(x.beginning()); err != nil {
		return "", err
	}
	if !x.visitor() {
		if shown, err = x.issue(); err != nil {
			return "", err
		}
	}
	if gone := x.killed(); len(gone) > 0 {
		if err := x.apply(gone); err != nil {
			return "", err
		}
	}
	if err := x.apply(x.ending()); err != nil {
		return "", err
	}
	for _, r := range x.final {
		a, ok := r.(*state.Allowlist)
		if !ok {
			continue
		}
		list := *a
		list.InboundOn = list.InboundOn || x.b.now.GetEnforceInbound() // it cannot be switched off then, and is on in any case
		quiet := *x.b.s
		quiet.out, quiet.err = io.Discard, io.Discard
		if err := quiet.importList(x.b.lists, state.DefaultAllowlist(a.Project), &list, false); err != nil {
			return "", fmt.Errorf("allowlist of project %d: %w", a.Project, err)
		}
	}
	if x.visitor() {
		return "", nil
	}
	return shown, x.end()
}

func (x *scratch) apply(changes []*jobwardv1.Change) error {
	if len(changes) == 0 {
		return nil
	}
	_, err := call(x.b.s, x.b.dir.ApplyChanges, &jobwardv1.ApplyChangesRequest{Changes: changes})
	return err
}

func setGroup(g *state.Group) *jobwardv1.Change {
	return &jobwardv1.Change{Change: &jobwardv1.Change_SetGroup{SetGroup: groupMessage(g)}}
}

func setProject(p *state.Project) *jobwardv1.Change {
	return &jobwardv1.Change{Change: &jobwardv1.Change_SetProject{SetProject: projectMessage(p)}}
}

func setUser(u *state.User) *jobwardv1.Change {
	return &jobwardv1.Change{Change: &jobwardv1.Change_SetUser{SetUser: userMessage(u)}}
}

func removeProject(id authz.ProjectID) *jobwardv1.Change {
	return &jobwardv1.Change{Change: &jobwardv1.Change_RemoveProjectId{RemoveProjectId: int64(id)}}
}

func removeUser(id authz.UserID) *jobwardv1.Change {
	return &jobwardv1.Change{Change: &jobwardv1.Change_RemoveUserId{RemoveUserId: int64(id)}}
}

func (x *scratch) beginning() (changes []*jobwardv1.Change) {
	for _, r := range x.final {
		switch r := r.(type) {
		case *state.Group:
			g := *r
			g.State = authz.StateActive
			changes = append(changes, setGroup(&g))
		case *state.Project:
			p := *r
			p.State = authz.StateActive
			changes = append(changes, setProject(&p))
		case *state.User:
			u := *r
			u.State = authz.UserStateActive
			changes = append(changes, setUser(&u))
		}
	}
	if id := x.ghost.project; id != 0 {
		changes = append(changes, setProject(&state.Project{ID: id, Namespace: x.b.prefix + "ghost", Name: "project"}))
	}
	if id := x.ghost.user; id != 0 {
		changes = append(changes, setUser(&state.User{ID: id, Name: x.b.prefix + "ghost"}))
	}
	return changes
}

// killed removes what the scenario does not have, or had only killed and back: removal is for good for tokens issued before.
func (x *scratch) killed() (changes []*jobwardv1.Change) {
	for _, r := range x.final {
		if d, ok := r.(*state.Death); ok && d.Project != 0 {
			changes = append(changes, removeProject(d.Project))
		} else if ok {
			changes = append(changes, removeUser(d.User))
		}
	}
	if x.ghost.project != 0 {
		changes = append(changes, removeProject(x.ghost.project))
	}
	if x.ghost.user != 0 {
		changes = append(changes, removeUser(x.ghost.user))
	}
	return changes
}

func (x *scratch) ending() (changes []*jobwardv1.Change) {
	for _, r := range x.final {
		switch r := r.(type) {
		case *state.Group:
			changes = append(changes, setGroup(r))
		case *state.Project:
			changes = append(changes, setProject(r))
		case *state.User:
			changes = append(changes, setUser(r))
		case *state.Members:
			for _, m := range r.List {
				changes = append(changes, &jobwardv1.Change{Change: &jobwardv1.Change_SetMembership{SetMembership: memberMessage(r.User, m)}})
			}
		}
	}
	return changes
}

// issue gets the job its token and gives what the job shows.
func (x *scratch) issue() (shown string, err error) {
	j := &x.sc.Job
	req := &jobwardv1.IssueRequest{
		JobId: x.job, ProjectId: int64(x.ghost.project), UserId: int64(x.ghost.user), PipelineId: 1, Ref: "main", Timeout: durationpb.New(time.Hour),
	}
	if req.ProjectId == 0 {
		req.ProjectId = int64(x.ix.Projects[x.at(j.Project)])
	}
	if req.UserId == 0 {
		req.UserId = int64(x.ix.Users[x.at(cmp.Or(j.User, "dev"))])
	}
	if status, err := authz.ParseJobStatus(cmp.Or(j.State, "running")); err != nil {
		return "", err
	} else if status < authz.JobSuccess {
		req.Status = wire.JobStatusToProto(status)
	}
	if j.Token == "expired" {
		req.Timeout = durationpb.New(time.Second)
	}
	if j.Heartbeat == "beating" || j.Heartbeat == "overdue" {
		req.RunnerId, req.HeartbeatTerm = x.b.prefix+"runner-"+strconv.Itoa(x.b.runs), durationpb.New(time.Hour)
		if j.Heartbeat == "overdue" {
			req.HeartbeatTerm = durationpb.New(time.Second)
		}
	}
	if req.Limits, err = x.limits(); err != nil {
		return "", err
	}
	first, err := call(x.b.s, x.b.tokens.Issue, req)
	if err != nil {
		return "", err
	}
	switch j.Token {
	case "replaced":
		_, err := call(x.b.s, x.b.tokens.Issue, req)
		return first.GetToken(), err
	case "unknown":
		return unknownToken(first.GetToken())
	case "malformed":
		return "no token at all", nil
	}
	return first.GetToken(), nil
}

// unknownToken makes a token of the form of another that no job has.
func unknownToken(like string) (string, error) {
	for n := 2; n < len(like); n++ {
		format, err := token.NewFormat(like[:n])
		if err != nil {
			continue
		}
		if _, err := format.Parse(like); err == nil {
			return format.Mint().Reveal(), nil
		}
	}
	return "", fmt.Errorf("the PDP's tokens have a form that this pdpctl does not know: use one of the same version")
}

func (x *scratch) limits() (*jobwardv1.Limits, error) {
	l := x.sc.Job.Limits
	if l == nil {
		return nil, nil
	}
	out := &jobwardv1.Limits{LimitPermissions: l.Permissions != nil, LimitTargets: l.Targets != nil}
	for _, p := range l.Permissions {
		out.Permissions = append(out.Permissions, string(p))
	}
	for _, path := range l.Targets {
		scope, ok := x.ix.Scope(x.at(path))
		if !ok {
			return nil, fmt.Errorf("limits.targets: there is no project or group %q", path)
		}
		out.Targets = append(out.Targets, wire.ScopeToProto(scope))
	}
	return out, nil
}

// end brings the job to its end, if the scenario says so, and waits where it is time that has to pass.
func (x *scratch) end() error {
	var outcomes []jobwardv1.Outcome
	switch x.sc.Job.State {
	case "success":
		outcomes = append(outcomes, jobwardv1.Outcome_OUTCOME_SUCCESS)
	case "failed":
		outcomes = append(outcomes, jobwardv1.Outcome_OUTCOME_FAILED)
	case "canceled":
		outcomes = append(outcomes, jobwardv1.Outcome_OUTCOME_CANCELED)
	case "skipped":
		outcomes = append(outcomes, jobwardv1.Outcome_OUTCOME_SKIPPED)
	}
	if x.sc.Job.Erased {
		outcomes = append(outcomes, jobwardv1.Outcome_OUTCOME_ERASED)
	}
	for _, o := range outcomes {
		if err := x.revoke(o); err != nil {
			return err
		}
	}
	if x.sc.Job.Token == "expired" || x.sc.Job.Heartbeat == "overdue" {
		time.Sleep(1100 * time.Millisecond) // terms of a second that began with Issue, the shortest that there are
	}
	return nil
}

func (x *scratch) revoke(o jobwardv1.Outcome) error {
	_, err := call(x.b.s, x.b.tokens.Revoke, &jobwardv1.RevokeRequest{JobIds: []string{x.job}, Outcome: o})
	return err
}

// clean removes the scratch world, also one that was begun only; all of it went in with one call, so its groups are there or nothing.
func (x *scratch) clean() error {
	var changes []*jobwardv1.Change
	for _, r := range x.final {
		switch r := r.(type) {
		case *state.Group:
			changes = append(changes, &jobwardv1.Change{Change: &jobwardv1.Change_RemoveGroupId{RemoveGroupId: int64(r.ID)}})
		case *state.Project:
			changes = append(changes, removeProject(r.ID))
		case *state.User:
			changes = append(changes, removeUser(r.ID))
		}
	}
	if x.ghost.project != 0 {
		changes = append(changes, removeProject(x.ghost.project))
	}
	if x.ghost.user != 0 {
		changes = append(changes, removeUser(x.ghost.user))
	}
	err := x.apply(changes)
	if err != nil && wire.AsError(err).Kind == authz.KindNotFound {
		err = nil // nothing was begun
	}
	return errors.Join(x.revoke(jobwardv1.Outcome_OUTCOME_ERASED), err)
}
