package etcdstore_test

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/etcdstore"
	"github.com/jobward/jobward/pdp/state/statetest"
	"github.com/jobward/jobward/test/certs"
	"github.com/jobward/jobward/test/etcd"
)

// TestOtherHistory: what the caller has seen must be part of the history (R13).
func TestOtherHistory(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{Members: 1})
	client, ctx := raw(t, cluster.Endpoints), context.Background()
	opts := etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: "/history"}
	s := open(t, opts)
	attach(t, s)
	var marks []state.Mark
	for i := range 5 {
		commit(t, s, state.Batch{Puts: []state.Record{group(1)}, Stamp: 1})
		mark, _ := s.Head()
		marks = append(marks, mark)
		if i == 1 {
			commit(t, s, state.Batch{Events: []state.Event{{Stamp: 1}}})
		}
	}
	newest := marks[len(marks)-1]
	change := func(m state.Mark, fn func(*state.Mark)) state.Mark { fn(&m); return m }
	for name, c := range map[string]struct {
		seen state.Mark
		ok   bool
	}{
		"its own head":       {newest, true},
		"an older mark":      {marks[1], true},
		"the first":          {marks[0], true},
		"an earlier epoch":   {change(newest, func(m *state.Mark) { m.Epoch.Counter, m.Epoch.ID[0] = 0, 1; m.Revision = 99 }), true},
		"another chain":      {change(newest, func(m *state.Mark) { m.Chain[0]++ }), false},
		"another older one":  {change(marks[1], func(m *state.Mark) { m.Chain[0]++ }), false},
		"further":            {change(newest, func(m *state.Mark) { m.Revision++ }), false},
		"a later epoch":      {change(newest, func(m *state.Mark) { m.Epoch.Counter++ }), false},
		"another epoch's id": {change(newest, func(m *state.Mark) { m.Epoch.ID[3]++ }), false},
	} {
		opts.Seen = c.seen
		other, err := etcdstore.Open(ctx, opts)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			other.Close()
		} else {
			wantCode(t, err, "OTHER_HISTORY")
		}
	}
	opts.Seen, opts.Prefix = newest, "/empty"
	_, err := etcdstore.Open(ctx, opts)
	wantCode(t, err, "OTHER_HISTORY")

	// The history is replaced under a store that runs: it stops.
	opts.Seen = state.Mark{}
	fresh := open(t, opts)
	attach(t, fresh)
	commit(t, fresh, state.Batch{Puts: []state.Record{group(1)}})
	if _, err := client.Delete(ctx, "/history/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	_, err = s.Commit(ctx, state.Batch{Puts: []state.Record{group(2)}})
	wantCode(t, err, "OTHER_HISTORY")
	<-s.Failed()
	_, err = s.Commit(ctx, state.Batch{})
	wantCode(t, err, "OTHER_HISTORY")
	resp, err := client.Get(ctx, "/empty/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range resp.Kvs { // A copy of another store takes the place of one that runs.
		if _, err := client.Put(ctx, "/history/"+strings.TrimPrefix(string(kv.Key), "/empty/"), string(kv.Value)); err != nil {
			t.Fatal(err)
		}
	}
	late := open(t, etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: "/history"})
	attach(t, late)
	if mark, _ := late.Head(); mark.Revision != 1 {
		t.Errorf("the copy is at %v", mark)
	}
}

// TestDamaged: what is damaged or of others is refused, and named.
func TestDamaged(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{Members: 1})
	client, ctx := raw(t, cluster.Endpoints), context.Background()
	get := func(key string, opts ...clientv3.OpOption) *clientv3.GetResponse {
		resp, err := client.Get(ctx, key, opts...)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	put := func(key, value string) {
		t.Helper()
		if _, err := client.Put(ctx, key, value); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(key string) {
		if _, err := client.Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
	first := func(prefix string) string {
		return string(get(prefix, clientv3.WithPrefix(), clientv3.WithLimit(1)).Kvs[0].Key)
	}
	flip := func(key string) {
		value := []byte(string(get(key).Kvs[0].Value))
		value[len(value)/2] ^= 1
		put(key, string(value))
	}
	for name, c := range map[string]struct {
		damage func(p string)
		code   string
		word   string
	}{
		"foreign keys only":  {func(p string) { client.Delete(ctx, p, clientv3.WithPrefix()); put(p+"x", "1") }, "STORE_DAMAGED", "no head"},
		"the head":           {func(p string) { flip(p + "head") }, "STORE_DAMAGED", "head"},
		"a foreign head":     {func(p string) { put(p+"head", "hello") }, "STORE_DAMAGED", "head"},
		"the marker":         {func(p string) { flip(p + "folded") }, "STORE_DAMAGED", "folded"},
		"no marker":          {func(p string) { remove(p + "folded") }, "STORE_DAMAGED", "folded"},
		"a record":           {func(p string) { flip(first(p + "record/")) }, "STORE_DAMAGED", "group 1"},
		"a foreign record":   {func(p string) { put(p+"record/x", "y") }, "STORE_DAMAGED", "78"},
		"an entry":           {func(p string) { flip(p + "log/0000000000000003-0000000000000002") }, "STORE_DAMAGED", "log/"},
		"a foreign entry":    {func(p string) { put(p+"log/zz", "y") }, "STORE_DAMAGED", "log/"},
		"no entry":           {func(p string) { remove(p + "log/0000000000000003-0000000000000002") }, "STORE_DAMAGED", "follows"},
		"a chunk":            {func(p string) { key := first(p + "stage/"); put(key, string(get(key).Kvs[0].Value[1:])) }, "STORE_DAMAGED", "stage"},
		"no chunks":          {func(p string) { client.Delete(ctx, p+"stage/", clientv3.WithPrefix()) }, "STORE_DAMAGED", "chunks"},
		"a newer format":     {func(p string) { put(p+"cluster", string([]byte{9, 0, 0, 0, 0, 0})) }, "STORE_DAMAGED", "cluster"},
		"no cluster":         {func(p string) { remove(p + "cluster") }, "STORE_DAMAGED", "cluster"},
		"of another cluster": {func(p string) { put(p+"cluster", otherCluster) }, "OTHER_HISTORY", "cluster"},
	} {
		prefix := "/damage/" + strings.ReplaceAll(name, " ", "-") + "/"
		opts := etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: prefix, Request: 64 << 10}
		s := open(t, opts)
		attach(t, s)
		commit(t, s, state.Batch{Puts: []state.Record{group(1)}})
		if err := s.Fold(ctx); err != nil {
			t.Fatal(err)
		}
		commit(t, s, state.Batch{Puts: []state.Record{group(2)}})
		commit(t, s, state.Batch{Puts: []state.Record{group(3)}})
		commit(t, s, large(400))
		s.Close()
		c.damage(prefix)
		before := get(prefix, clientv3.WithPrefix())
		s, err := etcdstore.Open(ctx, opts)
		if err == nil {
			err = s.Attach(ctx, new(statetest.Recorder))
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v", name, err)
		}
		wantCode(t, err, c.code)
		for i, kv := range get(prefix, clientv3.WithPrefix()).Kvs {
			if kv.ModRevision != before.Kvs[i].ModRevision {
				t.Errorf("%s: %q was changed", name, kv.Key)
			}
		}
	}
}

// otherCluster is the cluster key as a store in cluster 1 writes it.
var otherCluster = etcdstore.ClusterValue(1)

// TestCertificates: etcd with TLS that knows the PDP by its certificate.
func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	ca := certs.New(t, dir)
	until := time.Now().Add(time.Hour)
	serverCert, serverKey := ca.Issue(dir, "etcd", "", until)
	cert, key := ca.Issue(dir, "pdp", "spiffe://test/pdp", until)
	cluster := etcd.Start(t, etcd.Options{Members: 1, TLS: true, Args: []string{"-cert", serverCert, "-key", serverKey, "-ca", ca.File}})
	opts := etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: "/tls", TLS: ca.Client(cert, key)}
	s := open(t, opts)
	attach(t, s)
	commit(t, s, state.Batch{Puts: []state.Record{group(1)}})

	opts.TLS = &tls.Config{RootCAs: ca.Pool()}
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	_, err := etcdstore.Open(ctx, opts)
	wantCode(t, err, "STORE_UNREACHABLE")
}

// TestPassword: etcd that asks for a password, and gives a role below one prefix only.
func TestPassword(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{Members: 1})
	client, ctx := raw(t, cluster.Endpoints), context.Background()
	for _, step := range []func() error{
		func() error { _, err := client.UserAdd(ctx, "root", "r"); return err },
		func() error { _, err := client.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := client.UserAdd(ctx, "pdp", "secret"); return err },
		func() error { _, err := client.RoleAdd(ctx, "pdp"); return err },
		func() error {
			_, err := client.RoleGrantPermission(ctx, "pdp", "/mine/", clientv3.GetPrefixRangeEnd("/mine/"), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := client.UserGrantRole(ctx, "pdp", "pdp"); return err },
		func() error { _, err := client.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil && !strings.Contains(err.Error(), "role name not found") {
			t.Fatal(err)
		}
	}
	opts := etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: "/mine", Username: "pdp", Password: "secret", Fold: 1}
	stores, sinks, _ := several(t, 2, opts)
	for i := range 3 {
		commit(t, stores[i%2], state.Batch{Puts: []state.Record{group(1)}})
	}
	commit(t, stores[0], large(20))
	commit(t, stores[1], state.Batch{})
	agree(t, stores, sinks)
	for name, change := range map[string]func(o *etcdstore.Options){
		"wrong password": func(o *etcdstore.Options) { o.Password = "guess" },
		"other prefix":   func(o *etcdstore.Options) { o.Prefix = "/theirs" },
		"no user":        func(o *etcdstore.Options) { o.Username, o.Password = "", "" },
	} {
		o := opts
		change(&o)
		tctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := etcdstore.Open(tctx, o)
		cancel()
		wantCode(t, err, "STORE_FORBIDDEN")
		if err != nil && (strings.Contains(err.Error(), "guess") || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: the password is in %v", name, err)
		}
	}
}

// TestQuota: from nine tenths of etcd's quota on only urgent batches are taken; when all of it is
// used up the refusal says so, and nothing was stored.
func TestQuota(t *testing.T) {
	cluster := etcd.Start(t, etcd.Options{Members: 1, Args: []string{"-quota", "32000000"}})
	s := open(t, etcdstore.Options{Endpoints: cluster.Endpoints, Prefix: "/quota"})
	attach(t, s)
	ctx := context.Background()
	fill := func(urgent bool) (n int, err error) {
		for ; n < 400 && err == nil; n++ {
			if !urgent { // etcd knows its size a tenth of a second late.
				time.Sleep(30 * time.Millisecond)
			}
			s.AskSpace()
			b := state.Batch{Urgent: urgent, Puts: []state.Record{&state.Catalogue{Document: make([]byte, 300<<10)}}}
			_, err = s.Commit(ctx, b)
		}
		return n, err
	}
	_, err := fill(false)
	wantCode(t, err, "DISK_LOW")
	before, _ := s.Head()
	if rev := commit(t, s, state.Batch{Urgent: true, Puts: []state.Record{group(1)}}); rev != before.Revision+1 {
		t.Errorf("urgent: revision %d after %v", rev, before)
	}
	commit(t, s, state.Batch{})
	_, err = fill(true)
	wantCode(t, err, "DISK_LOW")
	before, _ = s.Head()
	_, err = s.Commit(ctx, state.Batch{Urgent: true, Puts: []state.Record{group(2)}})
	wantCode(t, err, "DISK_LOW")
	if rev := commit(t, s, state.Batch{}); rev != before.Revision {
		t.Errorf("revision %d after %v", rev, before)
	}
}
