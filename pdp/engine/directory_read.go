package engine

import (
	"context"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// GroupInfo is a group as readers see it.
type GroupInfo struct {
	state.Group
	// Path is the full path.
	Path string
	// Changed is the revision that last changed the record.
	Changed authz.Revision
}

// ProjectInfo is a project as readers see it. Path and Changed are as in [GroupInfo].
type ProjectInfo struct {
	state.Project
	Path    string
	Changed authz.Revision
}

// UserInfo is a user as readers see it. Changed is as in [GroupInfo].
type UserInfo struct {
	state.User
	Changed authz.Revision
}

// Listing is a piece of a list of T.
type Listing[T any] struct {
	Items []T
	// Next is the [Page.After] of the next page, empty at the end. A page with a Next can
	// be short, even empty.
	Next string
	// Revision is a point in history that the page is not older than.
	Revision authz.Revision
}

// DirectoryStatus tells where the history stands and how much there is.
type DirectoryStatus struct {
	// Mark has no chain checksum.
	Mark state.Mark
	Time authz.Stamp
	// Counts has the number of records by kind.
	Counts [state.NumKinds]int
}

// GetDirectoryStatus tells where the directory stands. A full synchronisation asks
// before it takes its list, and gives Mark.Revision as [SyncOptions.AsOf].
func (e *Engine) GetDirectoryStatus(context.Context) DirectoryStatus {
	return DirectoryStatus{Mark: e.view.Mark(), Time: e.clock.Now(), Counts: e.view.Counts()}
}

// GetGroup finds a group by id: KindNotFound (GROUP_NOT_FOUND).
func (e *Engine) GetGroup(_ context.Context, id authz.GroupID) (GroupInfo, error) {
	g, ok := e.groupInfo(id)
	if !ok {
		return GroupInfo{}, errUnseen("group_id", authz.InGroup(id), 0)
	}
	return g, nil
}

// GetGroupAt finds a group by its full path: KindNotFound (GROUP_NOT_FOUND).
func (e *Engine) GetGroupAt(_ context.Context, path string) (GroupInfo, error) {
	if id, ok := e.view.GroupAt(path); ok {
		if g, ok := e.groupInfo(id); ok {
			return g, nil
		}
	}
	return GroupInfo{}, authz.Errorf(authz.KindNotFound, CodeGroupNotFound, "there is no group at %q", clip(path))
}

func (e *Engine) groupInfo(id authz.GroupID) (GroupInfo, bool) {
	g, rev, ok := e.view.Group(id)
	if !ok {
		return GroupInfo{}, false
	}
	return GroupInfo{Group: *g, Path: pathOf(e.view, authz.InGroup(id)), Changed: rev}, true
}

// GetProject finds a project by id, or by its full path when the id is zero:
// KindNotFound (PROJECT_NOT_FOUND). It finds those pending delete, too.
func (e *Engine) GetProject(_ context.Context, at authz.Target) (ProjectInfo, error) {
	id := at.ID
	if id == 0 {
		var ok bool
		if id, ok = e.view.ProjectAt(at.Path); !ok {
			return ProjectInfo{}, authz.Errorf(authz.KindNotFound, CodeProjectNotFound, "there is no project at %q", clip(at.Path))
		}
	}
	p, ok := e.projectInfo(id)
	if !ok {
		return ProjectInfo{}, errUnseen("project_id", authz.InProject(id), 0)
	}
	return p, nil
}

func (e *Engine) projectInfo(id authz.ProjectID) (ProjectInfo, bool) {
	p, rev, ok := e.view.Project(id)
	if !ok {
		return ProjectInfo{}, false
	}
	return ProjectInfo{Project: *p, Path: pathOf(e.view, authz.InProject(id)), Changed: rev}, true
}

// GetUser finds a user by id: KindNotFound (USER_NOT_FOUND).
func (e *Engine) GetUser(_ context.Context, id authz.UserID) (UserInfo, error) {
	u, ok := e.userInfo(id)
	if !ok {
		return UserInfo{}, authz.Errorf(authz.KindNotFound, CodeUserNotFound, "user %d does not exist", id)
	}
	return u, nil
}

func (e *Engine) userInfo(id authz.UserID) (UserInfo, bool) {
	u, rev, ok := e.view.User(id)
	if !ok {
		return UserInfo{}, false
	}
	return UserInfo{User: *u, Changed: rev}, true
}

// ListGroups lists the groups directly in one by id, or for zero all groups.
func (e *Engine) ListGroups(_ context.Context, in authz.GroupID, page Page) (Listing[GroupInfo], error) {
	if in != 0 {
		return listBelow(e, in, authz.ScopeGroup, page, func(id int64) (GroupInfo, bool) { return e.groupInfo(authz.GroupID(id)) })
	}
	return list(e, page, func(after int64, limit int) (items []GroupInfo, ids []int64) {
		for _, g := range e.view.Groups(authz.GroupID(after), limit) {
			ids = append(ids, int64(g.ID))
			if info, ok := e.groupInfo(g.ID); ok {
				items = append(items, info)
			}
		}
		return items, ids
	})
}

// ListProjects lists the projects directly in a group by id, or for zero all projects.
func (e *Engine) ListProjects(_ context.Context, in authz.GroupID, page Page) (Listing[ProjectInfo], error) {
	if in != 0 {
		return listBelow(e, in, authz.ScopeProject, page, func(id int64) (ProjectInfo, bool) { return e.projectInfo(authz.ProjectID(id)) })
	}
	return list(e, page, func(after int64, limit int) (items []ProjectInfo, ids []int64) {
		for _, p := range e.view.Projects(authz.ProjectID(after), limit) {
			ids = append(ids, int64(p.ID))
			if info, ok := e.projectInfo(p.ID); ok {
				items = append(items, info)
			}
		}
		return items, ids
	})
}

// userScan is how many users one page of a search by name looks at.
const userScan = 20_000

// ListUsers lists the users with a name by id, or for the empty name all users. A
// search looks at a bounded number of users for each page, so a page can be empty and
// have a Next.
func (e *Engine) ListUsers(_ context.Context, name string, page Page) (Listing[UserInfo], error) {
	if name != "" {
		return e.searchUsers(name, page)
	}
	return list(e, page, func(after int64, limit int) (items []UserInfo, ids []int64) {
		for _, u := range e.view.Users(authz.UserID(after), limit) {
			ids = append(ids, int64(u.ID))
			if info, ok := e.userInfo(u.ID); ok {
				items = append(items, info)
			}
		}
		return items, ids
	})
}

func (e *Engine) searchUsers(name string, page Page) (Listing[UserInfo], error) {
	after, err := page.afterID()
	if err != nil {
		return Listing[UserInfo]{}, err
	}
	out := Listing[UserInfo]{Revision: e.view.Mark().Revision}
	for range userScan / MaxPage {
		users := e.view.Users(authz.UserID(after), MaxPage)
		for _, u := range users {
			if after = int64(u.ID); u.Name != name {
				continue
			}
			if info, ok := e.userInfo(u.ID); ok {
				out.Items = append(out.Items, info)
			}
			if len(out.Items) == page.limit() {
				out.Next = idCursor(after)
				return out, nil
			}
		}
		if len(users) < MaxPage {
			return out, nil
		}
	}
	out.Next = idCursor(after)
	return out, nil
}

// list reads a page of a list by id. read gives the items after an id, and the ids it
// looked at, which are more when some went away meanwhile.
func list[T any](e *Engine, page Page, read func(after int64, limit int) ([]T, []int64)) (Listing[T], error) {
	after, err := page.afterID()
	if err != nil {
		return Listing[T]{}, err
	}
	out := Listing[T]{Revision: e.view.Mark().Revision}
	items, ids := read(after, page.limit())
	out.Items = items
	if len(ids) == page.limit() {
		out.Next = idCursor(ids[len(ids)-1])
	}
	return out, nil
}

// listBelow reads a page of the projects or groups directly in a group.
func listBelow[T any](e *Engine, in authz.GroupID, kind authz.ScopeKind, page Page, get func(id int64) (T, bool)) (Listing[T], error) {
	return list(e, page, func(after int64, limit int) (items []T, ids []int64) {
		from := authz.Scope{Kind: kind, ID: after}
		if kind == authz.ScopeGroup && after == 0 {
			from = authz.InProject(authz.MaxID)
		}
		for _, s := range e.view.Children(in, from, limit) {
			if s.Kind != kind {
				break
			}
			ids = append(ids, s.ID)
			if item, ok := get(s.ID); ok {
				items = append(items, item)
			}
		}
		return items, ids
	})
}

// clip shortens hostile text for a message.
func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}
