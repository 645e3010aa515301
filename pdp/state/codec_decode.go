package state

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/jobward/jobward/pdp/authz"
)

// Decoder reads many records. The zero Decoder is ready. It is not safe for concurrent
// use.
type Decoder struct {
	body []byte
	err  error

	// What there are millions of is made many at a time.
	projects   block[Project]
	users      block[User]
	members    block[Members]
	lists      block[Allowlist]
	jobs       block[Job]
	inMembers  block[Membership]
	inLists    block[Entry]
	inPolicies block[string]
	// policies are the names of policies seen so far: lists all name the same few.
	policies map[string]string
}

// block makes values in blocks that become larger the more are made, so that one record
// alone costs no more memory than it needs.
type block[T any] struct {
	rest []T
	made int
}

// blockValues is how many values stand in a block at most. Whoever keeps one keeps its
// block.
const blockValues = 256

// take gives n zero values that nobody else has.
func (b *block[T]) take(n int) []T {
	if n > len(b.rest) {
		b.rest = make([]T, max(n, min(b.made, blockValues)))
	}
	out := b.rest[:n:n]
	b.rest, b.made = b.rest[n:], b.made+n
	return out
}

func (b *block[T]) one() *T { return &b.take(1)[0] }

// Decode reads the body of the record at key. The record is new and shares no memory
// with body.
func (d *Decoder) Decode(key Key, body []byte) (Record, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	d.body, d.err = body, nil
	if v := d.byte("version"); d.err == nil && v != bodyVersion {
		return nil, fmt.Errorf("%v has encoding version %d, this program knows %d: it was written by a newer one", key, v, bodyVersion)
	}
	rec := d.record(key)
	if d.err == nil && len(d.body) > 0 {
		d.err = fmt.Errorf("%d bytes too many", len(d.body))
	}
	if d.err != nil {
		return nil, fmt.Errorf("%v: %w", key, d.err)
	}
	return rec, nil
}

func (d *Decoder) record(key Key) Record {
	n, _ := key.number()
	id := string(key[1:])
	switch key.Kind() {
	case KindInstance:
		return d.instance()
	case KindCatalogue:
		r := new(Catalogue)
		if text := d.text("document"); text != "" {
			r.Document = []byte(text)
		}
		return r
	case KindGroup:
		return &Group{
			ID: authz.GroupID(n), Parent: authz.GroupID(d.number("parent")), Name: d.text("name"),
			Visibility: authz.Visibility(d.byte("visibility")), State: authz.ProjectState(d.byte("state")),
		}
	case KindProject:
		return d.project(authz.ProjectID(n))
	case KindUser:
		r := d.users.one()
		r.ID, r.Name, r.State = authz.UserID(n), d.text("name"), authz.UserState(d.byte("state"))
		d.bits("user flags", &r.External, &r.Admin)
		return r
	case KindMembers:
		return d.membersOf(authz.UserID(n))
	case KindAllowlist:
		return d.allowlist(authz.ProjectID(n))
	case KindJob:
		return d.job(authz.JobID(id))
	case KindReplaced:
		r := &Replaced{Job: authz.JobID(d.text("job")), At: d.stamp("time")}
		copy(r.Digest[:], id)
		return r
	case KindRunner:
		return &Runner{ID: id, Beat: d.stamp("beat")}
	case KindDeath:
		r := &Death{Before: d.revision("before"), At: d.stamp("time")}
		if n&userDeath != 0 {
			r.User = authz.UserID(n &^ userDeath)
		} else {
			r.Project = authz.ProjectID(n)
		}
		return r
	case KindRequest:
		return &Request{ID: id, Fingerprint: d.uvarint("fingerprint"), Done: d.revision("done"), At: d.stamp("time")}
	case KindLeases:
		r := &Leases{Longest: time.Duration(d.number("longest term"))}
		d.bits("leases flags", &r.Out)
		r.Epoch = d.uvarint("epoch")
		copy(r.SealKey[:], d.take("seal key", len(r.SealKey)))
		return r
	case KindDirectory:
		return new(Directory)
	}
	d.fail("kind", "is unknown")
	return nil
}

func (d *Decoder) instance() *Instance {
	r := new(Instance)
	r.PublicScope = authz.PublicScope(d.byte("public scope"))
	d.bits("instance flags", &r.EnforceInbound, &r.AnyoneCanPull)
	r.MaxProjectEntries = int(d.number("most project entries"))
	r.MaxGroupEntries = int(d.number("most group entries"))
	return r
}

func (d *Decoder) project(id authz.ProjectID) *Project {
	r := d.projects.one()
	r.ID, r.Group, r.Namespace, r.Name = id, authz.GroupID(d.number("group")), d.text("namespace"), d.text("name")
	r.Visibility = authz.Visibility(d.byte("visibility"))
	r.State = authz.ProjectState(d.byte("state"))
	d.bits("project flags", &r.PublicBuilds, &r.ReadOnly, &r.Hidden)
	for i := range r.Features {
		r.Features[i] = authz.FeatureLevel(d.byte("feature"))
	}
	return r
}

func (d *Decoder) membersOf(user authz.UserID) *Members {
	r := d.members.one()
	r.User = user
	if n := d.count("memberships", 3); n > 0 {
		r.List = d.inMembers.take(n)
	}
	for i := range r.List {
		r.List[i] = Membership{Scope: d.scope("membership"), Role: authz.Role(d.byte("role"))}
	}
	return r
}

func (d *Decoder) allowlist(id authz.ProjectID) *Allowlist {
	r := d.lists.one()
	r.Project = id
	d.bits("allowlist flags", &r.InboundOn, &r.OutboundOn, &r.PushSelf, &r.PushCross)
	if n := d.count("inbound entries", 4); n > 0 {
		r.Inbound = d.inLists.take(n)
	}
	for i := range r.Inbound {
		e := &r.Inbound[i]
		e.Caller = d.scope("caller")
		d.bits("entry flags", &e.Default, &e.Autopopulated)
		if n := d.count("policies", 1); n > 0 {
			e.Policies = d.inPolicies.take(n)
		}
		for j := range e.Policies {
			e.Policies[j] = d.policy()
		}
	}
	if n := d.count("outbound entries", 1); n > 0 {
		r.Outbound = make([]authz.ProjectID, n)
	}
	for i := range r.Outbound {
		r.Outbound[i] = authz.ProjectID(d.number("outbound project"))
	}
	return r
}

func (d *Decoder) job(id authz.JobID) *Job {
	r := d.jobs.one()
	r.ID, r.Status = id, authz.JobStatus(d.byte("status"))
	var issued bool
	d.bits("job flags", &r.Erased, &r.Lapsed, &issued)
	if issued {
		copy(r.Digest[:], d.take("digest", len(r.Digest)))
		if d.err == nil && r.Digest.IsZero() {
			d.fail("digest", "is zero")
		}
	}
	r.Project = authz.ProjectID(d.number("project"))
	r.User = authz.UserID(d.number("user"))
	r.Pipeline = d.number("pipeline")
	r.Ref = d.text("ref")
	r.Runner = d.text("runner")
	r.Term = time.Duration(d.number("term"))
	r.Issued = d.revision("issued")
	r.IssuedAt = d.stamp("issue time")
	r.Expires = d.stamp("expiry")
	r.Ended = d.revision("ended")
	r.EndedAt = d.stamp("end time")
	if n := d.count("limit permissions", 1) - 1; n >= 0 {
		r.Limits.Permissions = make([]authz.Permission, n)
	}
	for i := range r.Limits.Permissions {
		r.Limits.Permissions[i] = authz.Permission(d.text("limit permission"))
	}
	if n := d.count("limit targets", 2) - 1; n >= 0 {
		r.Limits.Targets = make([]authz.Scope, n)
	}
	for i := range r.Limits.Targets {
		r.Limits.Targets[i] = d.scope("limit target")
	}
	return r
}

// The readers below give zero once something was wrong; the first fault is kept.

func (d *Decoder) fail(what, fault string) {
	if d.err == nil {
		d.err = fmt.Errorf("%s %s", what, fault)
	}
	d.body = nil
}

// take gives the next n bytes, which belong to the body.
func (d *Decoder) take(what string, n int) []byte {
	if n > len(d.body) {
		d.fail(what, "is cut off")
		return nil
	}
	b := d.body[:n]
	d.body = d.body[n:]
	return b
}

func (d *Decoder) byte(what string) byte {
	if b := d.take(what, 1); b != nil {
		return b[0]
	}
	return 0
}

func (d *Decoder) bits(what string, flags ...*bool) {
	b := d.byte(what)
	for i, f := range flags {
		*f = b&(1<<i) != 0
	}
	if b>>len(flags) != 0 {
		d.fail(what, "have bits that are not known")
	}
}

func (d *Decoder) uvarint(what string) uint64 {
	v, n := binary.Uvarint(d.body)
	switch {
	case n <= 0:
		d.fail(what, "is no number")
		return 0
	case n > 1 && d.body[n-1] == 0:
		d.fail(what, "is a number in a longer form than needed")
		return 0
	}
	d.body = d.body[n:]
	return v
}

// number reads a signed varint, in the zigzag form of encoding/binary.
func (d *Decoder) number(what string) int64 {
	u := d.uvarint(what)
	return int64(u>>1) ^ -int64(u&1)
}

func (d *Decoder) stamp(what string) authz.Stamp { return authz.Stamp(d.number(what)) }

func (d *Decoder) revision(what string) authz.Revision { return authz.Revision(d.uvarint(what)) }

// count reads the length of a list whose elements take at least size bytes each, so
// that a lie about it cannot make us allocate more than the body is worth. One is
// allowed for, since an optional list is counted from one.
func (d *Decoder) count(what string, size int) int {
	n := d.uvarint(what)
	if n > uint64(len(d.body)/size)+1 {
		d.fail(what, "are more than there are bytes for")
		return 0
	}
	return int(n)
}

func (d *Decoder) text(what string) string { return string(d.bytes(what)) }

// bytes gives what text copies.
func (d *Decoder) bytes(what string) []byte {
	n := d.uvarint(what)
	if n > uint64(len(d.body)) {
		d.fail(what, "is cut off")
		return nil
	}
	return d.take(what, int(n))
}

// maxPolicies bounds how many names of policies a Decoder remembers.
const maxPolicies = 1000

func (d *Decoder) policy() string {
	b := d.bytes("policy")
	if name, ok := d.policies[string(b)]; ok {
		return name
	}
	name := string(b)
	if d.policies == nil {
		d.policies = make(map[string]string)
	}
	if len(d.policies) < maxPolicies {
		d.policies[name] = name
	}
	return name
}

func (d *Decoder) scope(what string) authz.Scope {
	return authz.Scope{Kind: authz.ScopeKind(d.byte(what)), ID: d.number(what)}
}
