package etcdstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/etcdstore"
	"github.com/jobward/jobward/pdp/state/statetest"
	"github.com/jobward/jobward/test/etcd"
)

// openers gives a history of its own for each test of a suite, with stores that each prefer
// another member.
func openers(cluster *etcd.Cluster, opened func(*etcdstore.Store)) func(*testing.T) statetest.Opener {
	history := 0
	return func(t *testing.T) statetest.Opener {
		history++
		opts := etcdstore.Options{Prefix: fmt.Sprintf("/shared/%d/", history), Fold: 16}
		n := 0
		return func() state.Shared {
			n++
			opts.Endpoints = append(append([]string(nil), cluster.Endpoints[n%3:]...), cluster.Endpoints[:n%3]...)
			s := open(t, opts)
			opened(s)
			return s
		}
	}
}

func TestRegistry(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{})
	statetest.Registry(t, openers(cluster, func(*etcdstore.Store) {}))
}

func TestShared(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{})
	var stores []*etcdstore.Store
	statetest.Shared(t, openers(cluster, func(s *etcdstore.Store) { stores = append(stores, s) }))
	var lost, gaps int64
	for _, s := range stores {
		lost += s.Stats().Lost.Load()
		gaps += s.Stats().Gaps.Load()
	}
	if lost == 0 {
		t.Error("no store was ever too late: this proved nothing")
	}
	if gaps != 0 {
		t.Errorf("watches left something out %d times", gaps)
	}
}

// TestListNeedsAQuorum: a member without the others answers no list, however little it missed
// (R8: the list is read linearizably), while what is in it could be read.
func TestListNeedsAQuorum(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{})
	s := open(t, etcdstore.Options{Endpoints: cluster.Endpoints[:1], Prefix: "/quorum", Timeout: 2 * time.Second})
	r := state.Registration{Incarnation: state.Incarnation{1}, Version: 1}
	if _, err := s.Registry().Join(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	cluster.Kill(1)
	cluster.Kill(2)
	l, err := s.Registry().List(t.Context())
	wantCode(t, err, "STORE_UNREACHABLE")
	if len(l.Live) != 0 {
		t.Errorf("it listed %v", l.Live)
	}
	_, err = s.Registry().Renew(t.Context(), r)
	wantCode(t, err, "STORE_UNREACHABLE")
	cluster.Restart(t, 1)
	eventually(t, "there is a quorum again", func() bool {
		_, err := s.Registry().Renew(t.Context(), r)
		return err == nil
	})
}

// TestRegistryAnswerLost: a write whose answer was lost is told as one that may have happened,
// and can be repeated.
func TestRegistryAnswerLost(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{Members: 1})
	f := new(faults)
	s := open(t, etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: "/lost", Fault: f.hook})
	reg, ctx := s.Registry(), context.Background()
	r := state.Registration{Incarnation: state.Incarnation{1}, Name: "a", Term: 30 * time.Second, Fence: 5 * time.Second, Version: 1}
	next := r
	next.Version = 2
	join := func() error { _, err := reg.Join(ctx, r); return err }
	renew := func() error { _, err := reg.Renew(ctx, next); return err }
	for _, c := range []struct {
		name  string
		call  func() error
		again string // the code of the second try
	}{
		{"join", join, state.CodeRegistered}, // So it has joined; a renewal tells as well.
		{"renew", renew, ""},
		{"fence", func() error { return reg.Fence(ctx, next) }, ""},
		{"forget", func() error { return reg.Forget(ctx, r.Incarnation) }, ""},
		{"depart", func() error { return reg.Depart(ctx, state.Departed{Incarnation: r.Incarnation}) }, ""},
		{"leave", func() error { return reg.Leave(ctx, r.Incarnation) }, ""},
	} {
		for _, done := range []bool{false, true} {
			f.fail(etcdstore.StepRegister, done, errLost)
			err := c.call()
			wantCode(t, err, "STORE_UNREACHABLE")
			if authz.KindOf(err) != authz.KindUnavailable {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		if err := c.call(); c.again != "" {
			wantCode(t, err, c.again)
		} else if err != nil {
			t.Errorf("%s again: %v", c.name, err)
		}
	}
	select {
	case <-s.Failed():
		t.Error("the store failed of it")
	default:
	}
}

// TestRegistryRefuses: what is damaged is not taken for a list, a store that looks registers
// nobody, and a history that goes back ends the store (R13).
func TestRegistryRefuses(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{Members: 1})
	client, ctx := raw(t, cluster.Endpoints), context.Background()
	opts := etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: "/refuse"}
	s := open(t, opts)
	r := state.Registration{Incarnation: state.Incarnation{1}, Version: 1}
	if _, err := s.Registry().Join(ctx, r); err != nil {
		t.Fatal(err)
	}
	opts.Look = true
	look := open(t, opts)
	if l, err := look.Registry().List(ctx); err != nil || len(l.Live) != 1 {
		t.Errorf("a store that looks lists %v: %v", l, err)
	}
	_, err := look.Registry().Renew(ctx, r)
	wantCode(t, err, "STORE_LOOKED_AT")

	const live, other = "/refuse/replica/01000000000000000000000000000000", "/refuse/replica/02000000000000000000000000000000"
	was, err := client.Get(ctx, live)
	if err != nil || len(was.Kvs) != 1 {
		t.Fatalf("%v, %v", was, err)
	}
	value := string(was.Kvs[0].Value)
	for name, wrong := range map[string][2]string{
		"a bit":        {live, value[:3] + string(value[3]^1) + value[4:]},
		"cut":          {live, value[:len(value)-1]},
		"another name": {other, value},
	} {
		if _, err := client.Put(ctx, wrong[0], wrong[1]); err != nil {
			t.Fatal(err)
		}
		l, err := s.Registry().List(ctx)
		wantCode(t, err, "STORE_DAMAGED")
		if len(l.Live) != 0 {
			t.Errorf("%s: it listed %v", name, l.Live)
		}
		client.Put(ctx, live, value)
		client.Delete(ctx, other)
	}
	attach(t, s)
	before, err := client.Get(ctx, "/refuse/head")
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, state.Batch{Puts: []state.Record{group(1)}})
	if _, err := client.Put(ctx, "/refuse/head", string(before.Kvs[0].Value)); err != nil {
		t.Fatal(err)
	}
	_, err = s.Registry().Renew(ctx, r)
	wantCode(t, err, "OTHER_HISTORY")
	<-s.Failed()
}
