package state

import (
	"encoding/binary"
	"slices"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
)

// A project's Allowlist: flags and two packed lists in the project's row.

func (v *View) putAllowlist(r *Allowlist, mod authz.Revision) {
	row := v.projectAfter(v.listed, int64(r.Project))
	if row == 0 {
		row = v.needProject(int64(r.Project))
	}
	v.listed = row
	p := v.projects.at(row)
	if p.listMod == 0 {
		v.counts[KindAllowlist]++
	}
	p.listMod = mod
	set(&p.flags, projectInboundOff, !r.InboundOn)
	set(&p.flags, projectOutboundOn, r.OutboundOn)
	set(&p.flags, projectPushSelf, r.PushSelf)
	set(&p.flags, projectPushCross, r.PushCross)
	v.setInbound(row, r.Inbound)
	v.setOutbound(row, r.Outbound)
}

func (v *View) deleteAllowlist(id int64) {
	row := v.findProject(id)
	if row == 0 || v.projects.at(row).listMod == 0 {
		return
	}
	v.counts[KindAllowlist]--
	v.setInbound(row, nil)
	v.setOutbound(row, nil)
	p := v.projects.at(row)
	p.listMod = 0
	p.flags &^= projectList
	v.tidyProject(row)
}

func (v *View) setInbound(row uint32, list []Entry) {
	p := v.projects.at(row)
	if !slices.IsSortedFunc(list, compareEntries) {
		list = slices.SortedStableFunc(slices.Values(list), compareEntries)
	}
	v.keys, v.was, v.buf = v.keys[:0], v.was[:0], v.buf[:0]
	for i := range list {
		e := &list[i]
		k := scopeKey(e.Caller)
		v.keys = append(v.keys, k)
		k <<= entryBits
		if e.Default {
			k |= entryDefault
		}
		if e.Autopopulated {
			k |= entryAuto
		}
		v.key = policiesKey(v.key[:0], e.Policies)
		held := v.policies.hold(v.key, func() []string { return append([]string{}, e.Policies...) })
		v.buf = binary.LittleEndian.AppendUint64(v.buf, k)
		v.buf = binary.LittleEndian.AppendUint32(v.buf, held)
	}
	old := v.text.get(p.inbound)
	for i := 0; i < len(old); i += inboundBytes {
		v.was = append(v.was, word(old, i)>>entryBits)
	}
	id := uint64(p.id)
	v.listedOn.exchange(v.was, v.keys, func(k uint64) pair { return pair{k, id} })
	v.text.set(owner{textInbound, row}, lent(v.buf))
	for i := 0; i < len(old); i += inboundBytes { // after the new list holds its own
		v.policies.letGo(half(old, i+8))
	}
}

func compareEntries(a, b Entry) int {
	if ka, kb := scopeKey(a.Caller), scopeKey(b.Caller); ka != kb {
		if ka < kb {
			return -1
		}
		return 1
	}
	return 0
}

func (v *View) setOutbound(row uint32, list []authz.ProjectID) {
	p := v.projects.at(row)
	if !slices.IsSorted(list) {
		list = slices.Sorted(slices.Values(list))
	}
	v.keys, v.was, v.buf = v.keys[:0], v.was[:0], v.buf[:0]
	for _, id := range list {
		v.keys = append(v.keys, uint64(id))
		v.buf = binary.LittleEndian.AppendUint64(v.buf, uint64(id))
	}
	old := v.text.get(p.outbound)
	for i := 0; i < len(old); i += outboundBytes {
		v.was = append(v.was, word(old, i))
	}
	id := uint64(p.id)
	v.outboundOf.exchange(v.was, v.keys, func(k uint64) pair { return pair{k, id} })
	v.text.set(owner{textOutbound, row}, lent(v.buf))
}

// exchange takes out the pairs of the keys that are only in old and adds those that
// are only in now. Both are sorted.
func (t *pairs) exchange(old, now []uint64, of func(uint64) pair) {
	old, now = slices.Compact(old), slices.Compact(now)
	for len(old) > 0 || len(now) > 0 {
		switch {
		case len(now) == 0 || (len(old) > 0 && old[0] < now[0]):
			t.remove(of(old[0]))
			old = old[1:]
		case len(old) == 0 || now[0] < old[0]:
			t.insert(of(now[0]))
			now = now[1:]
		default:
			old, now = old[1:], now[1:]
		}
	}
}

// Allowlist gives a project's allowlist, the default one and revision 0 where its
// maintainers changed nothing.
func (v *View) Allowlist(id authz.ProjectID) (*Allowlist, authz.Revision) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	row := v.findProject(int64(id))
	if row == 0 || v.projects.at(row).listMod == 0 {
		return DefaultAllowlist(id), 0
	}
	p := v.projects.at(row)
	r := &Allowlist{
		Project: id, InboundOn: p.flags&projectInboundOff == 0, OutboundOn: p.flags&projectOutboundOn != 0,
		PushSelf: p.flags&projectPushSelf != 0, PushCross: p.flags&projectPushCross != 0,
	}
	list := v.text.get(p.inbound)
	for i := 0; i < len(list); i += inboundBytes {
		k := word(list, i)
		r.Inbound = append(r.Inbound, Entry{
			Caller: scopeOf(k >> entryBits), Entry: v.entry(list, i), Autopopulated: k&entryAuto != 0,
		})
	}
	list = v.text.get(p.outbound)
	for i := 0; i < len(list); i += outboundBytes {
		r.Outbound = append(r.Outbound, authz.ProjectID(word(list, i)))
	}
	return r, p.listMod
}

// entry reads the entry at list[i:].
func (v *View) entry(list string, i int) policy.Entry {
	return policy.Entry{
		Default:  list[i]&entryDefault != 0,
		Policies: v.policies.at(half(list, i+8)),
	}
}

// ListedOn gives up to limit projects, above after and in order, whose inbound list
// has exactly this caller.
func (v *View) ListedOn(caller authz.Scope, after authz.ProjectID, limit int) []authz.ProjectID {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return idsWith[authz.ProjectID](&v.listedOn, scopeKey(caller), uint64(after), limit)
}

// OutboundFrom gives up to limit projects, above after and in order, whose outbound
// list has this target.
func (v *View) OutboundFrom(target authz.ProjectID, after authz.ProjectID, limit int) []authz.ProjectID {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return idsWith[authz.ProjectID](&v.outboundOf, uint64(target), uint64(after), limit)
}

// idsWith gives up to limit of the ids above after that stand with hi.
func idsWith[ID ~int64](t *pairs, hi, after uint64, limit int) []ID {
	var ids []ID
	t.scan(pair{hi, after + 1}, func(p pair) bool {
		if p.hi != hi || len(ids) >= limit {
			return false
		}
		ids = append(ids, ID(p.lo))
		return true
	})
	return ids
}
