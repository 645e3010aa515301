package state

import (
	"encoding/binary"
	"slices"

	"github.com/jobward/jobward/pdp/authz"
)

func (v *View) findUser(id int64) uint32 {
	p := v.userIDs.probe(v.hashID(id))
	for {
		row := p.next()
		if row == 0 || v.users.at(row).id == id {
			return row
		}
	}
}

// needUser finds or makes the row of an id.
func (v *View) needUser(id int64) uint32 {
	row := v.findUser(id)
	if row == 0 {
		row = v.users.add()
		v.users.at(row).id = id
		v.userIDs.insert(v.hashID(id), row)
	}
	return row
}

// userAfter looks for an id in the rows behind one; 0 when it is in none of the nearest. A
// store loads users by id, and then what they are members of by id again: the row is next to
// the last one, and needs no visit to the index.
func (v *View) userAfter(row uint32, id int64) uint32 {
	for i := row + 1; i <= row+nearRows && i < v.users.next; i++ {
		if v.users.at(i).id == id {
			return i
		}
	}
	return 0
}

// nearRows is how many rows are faster to look at than an index.
const nearRows = 3

// tidyUser releases a row that nothing needs.
func (v *View) tidyUser(row uint32) {
	if u := v.users.at(row); u.mod == 0 && u.memberMod == 0 && u.refs == 0 {
		v.userIDs.remove(v.hashID(u.id), row)
		v.users.release(row)
	}
}

func (v *View) putUser(r *User, mod authz.Revision) {
	row := v.needUser(int64(r.ID))
	u := v.users.at(row)
	if u.mod == 0 {
		v.counts[KindUser]++
		v.userOrder.insert(pair{uint64(r.ID), uint64(row)})
	}
	v.text.set(owner{textUserName, row}, r.Name)
	u.mod, u.state = mod, r.State
	set(&u.flags, userExternal, r.External)
	set(&u.flags, userAdmin, r.Admin)
	set(&u.flags, userDead, v.findDeath(u.id|userDeath) != 0)
}

func (v *View) deleteUser(id int64) {
	row := v.findUser(id)
	if row == 0 || v.users.at(row).mod == 0 {
		return
	}
	v.counts[KindUser]--
	v.userOrder.remove(pair{uint64(id), uint64(row)})
	v.text.set(owner{textUserName, row}, "")
	u := v.users.at(row)
	u.mod, u.state, u.flags = 0, 0, 0
	v.tidyUser(row)
}

func (v *View) putMembers(r *Members, mod authz.Revision) {
	row := v.userAfter(v.joined, int64(r.User))
	if row == 0 {
		row = v.needUser(int64(r.User))
	}
	v.joined = row
	u := v.users.at(row)
	if u.memberMod == 0 {
		v.counts[KindMembers]++
	}
	u.memberMod = mod
	v.setMembers(row, r.List)
}

func (v *View) deleteMembers(id int64) {
	row := v.findUser(id)
	if row == 0 || v.users.at(row).memberMod == 0 {
		return
	}
	v.counts[KindMembers]--
	v.setMembers(row, nil)
	v.users.at(row).memberMod = 0
	v.tidyUser(row)
}

func (v *View) setMembers(row uint32, list []Membership) {
	u := v.users.at(row)
	v.keys, v.was, v.buf = v.keys[:0], v.was[:0], v.buf[:0]
	for _, m := range list {
		v.keys = append(v.keys, scopeKey(m.Scope)<<roleBits|uint64(m.Role))
	}
	slices.Sort(v.keys)
	for i, k := range v.keys {
		v.buf = binary.LittleEndian.AppendUint64(v.buf, k)
		v.keys[i] = k >> roleBits
	}
	old := v.text.get(u.members)
	for i := 0; i < len(old); i += memberBytes {
		v.was = append(v.was, word(old, i)>>roleBits)
	}
	id := uint64(u.id)
	v.membersOf.exchange(v.was, v.keys, func(k uint64) pair { return pair{k, id} })
	v.text.set(owner{textMembers, row}, lent(v.buf))
}

// User gives a user and the revision that last changed it.
func (v *View) User(id authz.UserID) (*User, authz.Revision, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	row := v.findUser(int64(id))
	if row == 0 || v.users.at(row).mod == 0 {
		return nil, 0, false
	}
	return v.user(row), v.users.at(row).mod, true
}

func (v *View) user(row uint32) *User {
	u := v.users.at(row)
	return &User{
		ID: authz.UserID(u.id), Name: v.text.get(u.name), State: u.state,
		External: u.flags&userExternal != 0, Admin: u.flags&userAdmin != 0,
	}
}

// Users gives up to limit users with ids above after, in order.
func (v *View) Users(after authz.UserID, limit int) []*User {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var page []*User
	v.userOrder.scan(pair{uint64(after) + 1, 0}, func(p pair) bool {
		if len(page) < limit {
			page = append(page, v.user(uint32(p.lo)))
		}
		return len(page) < limit
	})
	return page
}

// Members gives a user's memberships; for one who has none, an empty list and the
// revision of that, 0 if there never was one.
func (v *View) Members(id authz.UserID) (*Members, authz.Revision) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	r := &Members{User: id}
	row := v.findUser(int64(id))
	if row == 0 {
		return r, 0
	}
	u := v.users.at(row)
	list := v.text.get(u.members)
	for i := 0; i < len(list); i += memberBytes {
		k := word(list, i)
		r.List = append(r.List, Membership{Scope: scopeOf(k >> roleBits), Role: authz.Role(k & (1<<roleBits - 1))})
	}
	return r, u.memberMod
}

// MembersOf gives up to limit members of a scope itself, above after and in order,
// with their roles there.
func (v *View) MembersOf(scope authz.Scope, after authz.UserID, limit int) []Member {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var members []Member
	for _, id := range idsWith[authz.UserID](&v.membersOf, scopeKey(scope), uint64(after), limit) {
		members = append(members, Member{User: id, Role: v.role(v.findUser(int64(id)), scope)})
	}
	return members
}

// Member is a user with a role on a scope.
type Member struct {
	User authz.UserID
	Role authz.Role
}

// RoleOf gives a user's highest role on a project, its own or from a group above it,
// and where it comes from: the nearest of equals. It does not look at the state of
// either.
func (v *View) RoleOf(user authz.UserID, project authz.ProjectID) (authz.Role, authz.Scope) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	u, p := v.findUser(int64(user)), v.findProject(int64(project))
	if u == 0 || p == 0 || v.projects.at(p).mod == 0 {
		return authz.RoleNone, authz.Scope{}
	}
	role, from := authz.RoleNone, authz.Scope{}
	if r := v.role(u, authz.InProject(project)); r > role {
		role, from = r, authz.InProject(project)
	}
	return v.above(u, v.projects.at(p).group, role, from)
}

// RoleOfGroup does the same for a group.
func (v *View) RoleOfGroup(user authz.UserID, group authz.GroupID) (authz.Role, authz.Scope) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	u, g := v.findUser(int64(user)), v.findGroup(int64(group))
	if u == 0 {
		return authz.RoleNone, authz.Scope{}
	}
	return v.above(u, g, authz.RoleNone, authz.Scope{})
}

// above goes on with a group and what is above it.
func (v *View) above(user, group uint32, role authz.Role, from authz.Scope) (authz.Role, authz.Scope) {
	for range MaxGroupDepth {
		if group == 0 || !v.groups.at(group).exists {
			break
		}
		s := authz.InGroup(v.groupID(group))
		if r := v.role(user, s); r > role {
			role, from = r, s
		}
		group = v.groups.at(group).parent
	}
	return role, from
}

// role gives the role that a user's row holds on a scope itself.
func (v *View) role(user uint32, scope authz.Scope) authz.Role {
	if user == 0 {
		return authz.RoleNone
	}
	return roleIn(v.text.get(v.users.at(user).members), scope)
}

func roleIn(members string, scope authz.Scope) authz.Role {
	if i := find(members, memberBytes, scopeKey(scope), roleBits); i >= 0 {
		return authz.Role(members[i])
	}
	return authz.RoleNone
}
