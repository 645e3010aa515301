package engine

import (
	"context"

	"github.com/jobward/jobward/pdp/authz"
)

// SeenProject is a project as the user acted for sees it.
type SeenProject struct {
	ProjectInfo
	// Role is the user's highest role on it, none for one that is open to everybody. A
	// caller that acts as itself is owner everywhere.
	Role authz.Role
}

// SeeProject finds a project that the user acted for may see, by id, or by its full path
// when the id is zero: KindNotFound (PROJECT_NOT_FOUND) for what does not exist and for
// what they may not see, in the same words.
func (e *Engine) SeeProject(_ context.Context, by Actor, at authz.Target) (SeenProject, error) {
	ed, err := e.editor(by)
	if err != nil {
		return SeenProject{}, err
	}
	id := at.ID
	if id == 0 {
		id, _ = e.view.ProjectAt(at.Path)
	}
	s := ed.lookProject(id)
	info, ok := e.projectInfo(id)
	switch {
	case ok && s.seen:
		return SeenProject{ProjectInfo: info, Role: s.role}, nil
	case at.ID == 0:
		return SeenProject{}, authz.Errorf(authz.KindNotFound, CodeProjectNotFound, "there is no project at %q, or user %d may not see it", clip(at.Path), by.User)
	}
	return SeenProject{}, errUnseen("project_id", authz.InProject(id), by.User)
}

// SeeGroup is [Engine.SeeProject] for a group: KindNotFound (GROUP_NOT_FOUND).
func (e *Engine) SeeGroup(_ context.Context, by Actor, id authz.GroupID) (GroupInfo, error) {
	ed, err := e.editor(by)
	if err != nil {
		return GroupInfo{}, err
	}
	if info, ok := e.groupInfo(id); ok && ed.lookGroup(id).seen {
		return info, nil
	}
	return GroupInfo{}, errUnseen("group_id", authz.InGroup(id), by.User)
}

// GetUserNamed finds a user by name: KindNotFound (USER_NOT_FOUND). It looks at all users
// one by one.
func (e *Engine) GetUserNamed(ctx context.Context, name string) (UserInfo, error) {
	page := Page{Limit: 1}
	for name != "" {
		list, err := e.ListUsers(ctx, name, page)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return UserInfo{}, err
		}
		if len(list.Items) > 0 {
			return list.Items[0], nil
		}
		if page.After = list.Next; page.After == "" {
			break
		}
	}
	return UserInfo{}, authz.Errorf(authz.KindNotFound, CodeUserNotFound, "no user is called %q", clip(name))
}
