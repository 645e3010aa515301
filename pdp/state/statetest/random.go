package statetest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
)

// batch makes a random batch that can be stored on what r holds.
func batch(rnd *rand.Rand, r *Recorder) state.Batch {
	b := state.Batch{
		Stamp: authz.Stamp(rnd.Int64N(1000)), Actor: pick(rnd, "", "ada", "bob"), Verb: pick(rnd, "issue", "revoke"),
		Urgent: rnd.IntN(4) == 0,
	}
	used := make(map[state.Key]bool)
	for range 1 + rnd.IntN(4) {
		rec := Record(rnd)
		if key := rec.Key(); !used[key] {
			used[key] = true
			b.Puts = append(b.Puts, rec)
			if rnd.IntN(2) == 0 {
				b.Guards = append(b.Guards, state.Guard{Key: key, Revision: r.Mod(key)})
			}
		}
	}
	for range rnd.IntN(2) {
		if key := Record(rnd).Key(); !used[key] {
			used[key] = true
			b.Deletes = append(b.Deletes, key)
		}
	}
	for range rnd.IntN(3) {
		b.Events = append(b.Events, state.Event{Stamp: authz.Stamp(rnd.Int64N(1000)), Data: fmt.Append(nil, "event ", rnd.Uint32())})
	}
	return b
}

// Record makes a random record of any kind, of few enough that histories meet the same ones
// again.
func Record(rnd *rand.Rand) state.Record {
	id := 1 + rnd.Int64N(6)
	name := pick(rnd, "", "a", "ünï", "long "+string(bytes.Repeat([]byte("x"), rnd.IntN(300))))
	revision := pick(rnd, 0, 1, state.ThisRevision)
	switch rnd.IntN(14) {
	case 0:
		return &state.Instance{MaxProjectEntries: rnd.IntN(200)}
	case 1:
		return &state.Catalogue{Document: []byte(name)}
	case 2:
		return &state.Group{ID: authz.GroupID(id), Parent: authz.GroupID(rnd.Int64N(3)), Name: name}
	case 3:
		return &state.Project{ID: authz.ProjectID(id), Group: 1, Name: name, Hidden: rnd.IntN(2) == 0}
	case 4:
		return &state.User{ID: authz.UserID(id), Name: name, Admin: rnd.IntN(2) == 0}
	case 5:
		m := &state.Members{User: authz.UserID(id)}
		for i := range rnd.IntN(5) {
			m.List = append(m.List, state.Membership{Scope: authz.InGroup(authz.GroupID(i + 1)), Role: authz.RoleDeveloper})
		}
		return m
	case 6:
		a := state.DefaultAllowlist(authz.ProjectID(id))
		for i := range rnd.IntN(3) {
			e := state.Entry{Caller: authz.InProject(authz.ProjectID(i + 1))}
			e.Default = true
			a.Inbound = append(a.Inbound, e)
		}
		return a
	case 7:
		return &state.Replaced{Digest: authz.Digest{byte(id)}, Job: "j", At: authz.Stamp(id)}
	case 8:
		return &state.Runner{ID: fmt.Sprint("runner ", id), Beat: authz.Stamp(rnd.Int64N(100))}
	case 9:
		if rnd.IntN(2) == 0 {
			return &state.Death{User: authz.UserID(id), Before: revision}
		}
		return &state.Death{Project: authz.ProjectID(id), Before: revision}
	case 10:
		return &state.Request{ID: fmt.Sprint("ada/", id), Fingerprint: rnd.Uint64(), Done: revision}
	case 11:
		return &state.Leases{Longest: time.Duration(id), Out: rnd.IntN(2) == 0, Epoch: 1, SealKey: state.SealKey{byte(id)}}
	case 12:
		return &state.Directory{}
	}
	return &state.Job{ID: authz.JobID(fmt.Sprint(id)), Digest: authz.Digest{1}, Issued: revision, Ref: name}
}

func pick[T any](rnd *rand.Rand, of ...T) T { return of[rnd.IntN(len(of))] }

// testRandom does the same random calls to the store and to the reference model and wants
// the same answers.
func testRandom(t *testing.T, h Harness) {
	rnd := NewRand(t)
	model := memstore.New()
	p := &pair{t: t, h: h, model: model, got: attach(t, h.Store), want: attach(t, model)}
	for i := range 400 {
		switch n := rnd.IntN(100); {
		case n < 75:
			b := batch(rnd, p.want)
			if rnd.IntN(4) == 0 && len(b.Guards) > 0 {
				b.Guards[0].Revision += authz.Revision(rnd.IntN(3))
			}
			p.commit(b)
		case n < 85:
			p.prune(authz.Stamp(rnd.Int64N(1200)), rnd.IntN(20))
		case n < 95:
			p.past(rnd)
		default:
			p.reopen()
		}
		if t.Failed() {
			t.Fatalf("call %d was the first to differ", i)
		}
	}
	p.reopen()
	p.past(rnd)
	sound(t, p.got)
}

// pair is a store beside the model.
type pair struct {
	t         *testing.T
	h         Harness
	model     *memstore.Store
	got, want *Recorder
}

func (p *pair) commit(b state.Batch) {
	p.t.Helper()
	rev, err := p.h.Store.Commit(context.Background(), b)
	want, wantErr := p.model.Commit(context.Background(), b)
	if rev != want || codeOf(err) != codeOf(wantErr) {
		p.t.Errorf("commit gave %d (%v), the model %d (%v)", rev, err, want, wantErr)
	}
	p.heads()
}

// heads compares marks but for the epoch, which is random.
func (p *pair) heads() {
	p.t.Helper()
	mark, stamp := p.h.Store.Head()
	want, wantStamp := p.model.Head()
	if mark.Revision != want.Revision || mark.Chain != want.Chain || stamp != wantStamp {
		p.t.Errorf("head %v %x stamp %d, the model has %v %x stamp %d", mark, mark.Chain, stamp, want, want.Chain, wantStamp)
	}
	for _, line := range Diff(p.got.Records(), p.want.Records()) {
		p.t.Error(line)
	}
}

func (p *pair) prune(before authz.Stamp, limit int) {
	p.t.Helper()
	n, err := p.h.Store.PruneEvents(context.Background(), before, limit)
	want, wantErr := p.model.PruneEvents(context.Background(), before, limit)
	if n != want || err != nil || wantErr != nil {
		p.t.Errorf("pruned %d (%v), the model %d (%v)", n, err, want, wantErr)
	}
}

func (p *pair) past(rnd *rand.Rand) {
	p.t.Helper()
	mark, _ := p.model.Head()
	after := authz.Revision(rnd.Uint64N(uint64(mark.Revision) + 1))
	got, want := history(p.t, p.h.Store, after), history(p.t, p.model, after)
	if len(got) != len(want) {
		p.t.Fatalf("%d changes after %d, the model has %d", len(got), after, len(want))
	}
	for i := range got {
		if len(got[i].Deletes) == 0 && len(want[i].Deletes) == 0 {
			got[i].Deletes, want[i].Deletes = nil, nil
		}
		same(p.t, "changes", got[i], want[i])
	}
	from, to := authz.Stamp(rnd.Int64N(1000)), authz.Stamp(rnd.Int64N(1000))
	list, model := events(p.t, p.h.Store, from, to), events(p.t, p.model, from, to)
	if len(list) != len(model) {
		p.t.Fatalf("%d events from %d to %d, the model has %d", len(list), from, to, len(model))
	}
	for i := range list {
		if list[i].Stamp != model[i].Stamp || !bytes.Equal(list[i].Data, model[i].Data) || list[i].Cursor != model[i].Cursor {
			p.t.Errorf("event %v, the model has %v", list[i], model[i])
		}
	}
}

func (p *pair) reopen() {
	p.t.Helper()
	if p.h.Reopen == nil {
		return
	}
	p.h.Store = p.h.Reopen()
	p.model = p.model.Reopen()
	sound(p.t, p.got)
	p.got, p.want = attach(p.t, p.h.Store), attach(p.t, p.model)
	p.heads()
}
