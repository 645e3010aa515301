package daemon

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/jobward/jobward/internal/settings"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/etcdstore"
	"github.com/jobward/jobward/test/capture"
	"github.com/jobward/jobward/test/certs"
	"github.com/jobward/jobward/test/etcd"
	"github.com/jobward/jobward/test/files"
)

// cluster1 is an etcd of one member, and the setting store for a prefix in it.
func cluster1(t *testing.T) (c *etcd.Cluster, store string) {
	t.Helper()
	c = etcd.Start(t, etcd.Options{Members: 1})
	return c, "--store=etcd://" + strings.TrimPrefix(c.Endpoints[0], "http://") + "/jobward"
}

// users commits one user after the other and gives the mark at the end.
func users(t *testing.T, c *etcd.Cluster, n int) state.Mark {
	t.Helper()
	s, err := etcdstore.Open(t.Context(), etcdstore.Options{Endpoints: c.Endpoints, Prefix: "/jobward"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Attach(t.Context(), &census{changed: map[state.Key]authz.Revision{}}); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := s.Commit(t.Context(), state.Batch{Puts: []state.Record{&state.User{ID: authz.UserID(i + 1)}}, Events: []state.Event{{Stamp: authz.StampOf(time.Now()), Data: []byte("x")}}}); err != nil {
			t.Fatal(err)
		}
	}
	mark, _ := s.Head()
	return mark
}

// TestFsckEtcd looks at no store, at one that is in use, at a damaged one, and through a door that does not open.
func TestFsckEtcd(t *testing.T) {
	c, store := cluster1(t)
	fsck := func(want int, texts ...string) {
		t.Helper()
		code, out, errs := pdp(nil, "fsck", store)
		for _, text := range texts {
			if code != want || !strings.Contains(out+errs, text) {
				t.Errorf("code %d, want %d with %q:\n%s%s", code, want, text, out, errs)
			}
		}
	}
	fsck(settings.ExitRefused, "pdp: refused: store: ", "there is no store below /jobward/")
	raw, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if got, err := raw.Get(t.Context(), "/jobward", clientv3.WithPrefix()); err != nil || len(got.Kvs) > 0 {
		t.Errorf("fsck made a store: %v, %v", got, err)
	}
	mark := users(t, c, 3)
	before, err := raw.Get(t.Context(), "/jobward", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	fsck(settings.ExitOK, "at "+mark.String(), "3 user", "3 events", "history from revision 1", "no problems")
	if after, err := raw.Get(t.Context(), "/jobward", clientv3.WithPrefix()); err != nil || after.Header.Revision != before.Header.Revision {
		t.Errorf("fsck wrote something: %v, %v", after.Header, err)
	}
	log := before.Kvs[len(before.Kvs)-1]
	for _, kv := range before.Kvs {
		if strings.Contains(string(kv.Key), "/log/") {
			log = kv
		}
	}
	value := []byte(string(log.Value))
	value[len(value)/2] ^= 1
	if _, err := raw.Put(t.Context(), string(log.Key), string(value)); err != nil {
		t.Fatal(err)
	}
	fsck(settings.ExitFailed, "PROBLEM: ", "below another prefix")
	store += " --etcd-timeout=1ms"
	if code, _, errs := pdp(nil, append([]string{"fsck"}, strings.Fields(store)...)...); code != settings.ExitRefused || !strings.Contains(errs, "etcd-timeout") {
		t.Errorf("wrong settings: %d %s", code, errs)
	}
}

// TestEtcdTLS calls etcd with certificates that are good, and with some that are not.
func TestEtcdTLS(t *testing.T) {
	dir := t.TempDir()
	ca := certs.New(t, dir)
	cert, key := ca.Issue(dir, "etcd", "", time.Now().Add(time.Hour))
	ca.Issue(dir, "pdp", peerID, time.Now().Add(time.Hour))
	stranger := t.TempDir()
	certs.New(t, stranger).Issue(stranger, "pdp", peerID, time.Now().Add(time.Hour))
	c := etcd.Start(t, etcd.Options{Members: 1, TLS: true, Args: []string{"-cert", cert, "-key", key, "-ca", ca.File}})
	members := strings.TrimPrefix(c.Endpoints[0], "https://")
	_, port, _ := strings.Cut(members, ":")
	for _, q := range []struct {
		what, members, ca, pair string
		code                    int
		want                    string
	}{
		{"good ones", members, dir, dir, settings.ExitRefused, "there is no store below"},
		{"by name", "localhost:" + port, dir, dir, settings.ExitRefused, "there is no store below"},
		{"another CA", members, stranger, dir, settings.ExitFailed, "the server's certificate is not good"},
		{"another name", "127.0.0.2:" + port + ",127.0.0.3:" + port, dir, dir, settings.ExitFailed, "cannot be used now"},
		{"a stranger's", members, dir, stranger, settings.ExitFailed, "cannot be used now"},
	} {
		t.Run(q.what, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			var out, log capture.Output
			code := commandLine{stdout: &out, stderr: &log}.run(ctx, []string{"fsck", "--store=etcd://" + q.members + "/jobward", "--etcd-timeout=1s",
				"--etcd-ca-file=" + filepath.Join(q.ca, "ca.pem"), "--etcd-cert-file=" + filepath.Join(q.pair, "pdp.pem"), "--etcd-key-file=" + filepath.Join(q.pair, "pdp.key")}, nil)
			if code != q.code || !log.Has(q.want) {
				t.Errorf("code %d, want %d with %q:\n%s", code, q.code, q.want, log.String())
			}
		})
	}
}

// withPassword makes etcd ask for passwords. The user pdp has the prefix, other has nothing.
func withPassword(t *testing.T, raw *clientv3.Client) {
	t.Helper()
	ctx := t.Context()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(raw.UserAdd(ctx, "root", "root"))
	must(raw.UserGrantRole(ctx, "root", "root"))
	must(raw.RoleAdd(ctx, "pdp"))
	must(raw.RoleGrantPermission(ctx, "pdp", "/jobward/", clientv3.GetPrefixRangeEnd("/jobward/"), clientv3.PermissionType(clientv3.PermReadWrite)))
	must(raw.UserAdd(ctx, "pdp", "a long one"))
	must(raw.UserGrantRole(ctx, "pdp", "pdp"))
	must(raw.UserAdd(ctx, "other", "a long one"))
	must(raw.AuthEnable(ctx))
}

// TestEtcdPassword calls an etcd that asks for a password: with a good one, with a wrong one, without, and with a user who may not.
func TestEtcdPassword(t *testing.T) {
	c, store := cluster1(t)
	raw, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	withPassword(t, raw)
	dir := t.TempDir()
	good, bad := files.Write(t, filepath.Join(dir, "good"), "a long one\n", 0o600), files.Write(t, filepath.Join(dir, "bad"), "another\n", 0o600)
	for _, q := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--etcd-username=pdp", "--etcd-password-file=" + good}, settings.ExitRefused, "there is no store below"},
		{[]string{"--etcd-username=pdp", "--etcd-password-file=" + bad}, settings.ExitFailed, "etcd does not let this PDP read and write"},
		{[]string{"--etcd-username=other", "--etcd-password-file=" + good}, settings.ExitFailed, "etcd does not let this PDP read and write"},
		{nil, settings.ExitFailed, "etcd does not let this PDP read and write"},
	} {
		if code, out, errs := pdp(nil, append([]string{"fsck", store}, q.args...)...); code != q.code || !strings.Contains(errs, q.want) || strings.Contains(out+errs, "a long one") {
			t.Errorf("%q: code %d, said %s%s, want %q", q.args, code, out, errs, q.want)
		}
	}
}

// TestEtcdRole: readwrite on the prefix is all that a store needs, also to see how full etcd is.
func TestEtcdRole(t *testing.T) {
	c, _ := cluster1(t)
	raw, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	withPassword(t, raw)
	s, err := etcdstore.Open(t.Context(), etcdstore.Options{Endpoints: c.Endpoints, Prefix: "/jobward", Username: "pdp", Password: "a long one"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Attach(t.Context(), &census{changed: map[state.Key]authz.Revision{}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), state.Batch{Puts: []state.Record{&state.User{ID: 1}}}); err != nil {
		t.Error(err)
	}
	if _, err := s.Registry().Join(t.Context(), state.Registration{Incarnation: state.Incarnation{1}, Name: "a", Address: "a:1", Term: time.Second, Fence: time.Second, Version: 1}); err != nil {
		t.Error(err)
	}
	if err := s.History(t.Context(), 0, func(state.Change) error { return nil }); err != nil {
		t.Error(err)
	}
	eventually(t, func() bool { return s.Stats().Size.Load() > 0 && s.Stats().Quota.Load() > 0 }, func() string { return "nobody says how full etcd is" })
}

// TestWaitForEtcd stops a PDP that waits for a cluster which is not there: it says what it waits for, and ends at once and in order.
func TestWaitForEtcd(t *testing.T) {
	c, store := cluster1(t)
	c.Kill(0)
	dir := filepath.Join(t.TempDir(), "data")
	cmd, _, _, err := parse([]string{store, "--data-dir=" + dir, "--grpc-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0", "--etcd-timeout=500ms", "--log-format=json"}, nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	l := &local{t: t, done: make(chan error, 1)}
	var ctx context.Context
	ctx, l.end = context.WithCancel(t.Context())
	go func() { l.done <- Run(ctx, Options{Config: cmd.Config, Stdout: &l.out, Stderr: &l.log}) }()
	said(t, &l.log, `"msg":"waiting for etcd"`)
	// The directory belongs to the one that waits.
	if err := Run(t.Context(), Options{Config: cmd.Config, Stdout: io.Discard, Stderr: io.Discard}); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a second one in the same directory: %v", err)
	}
	began := time.Now()
	if err := l.stop(); err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v\n%s", err, time.Since(began), l.log.String())
	}
}

// TestSeen keeps marks (PROTOCOL R13) and refuses what cannot be read.
func TestSeen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s, err := openSeen(dir)
	if err != nil || s.last != (state.Mark{}) {
		t.Fatal(s, err)
	}
	mark := state.Mark{Epoch: state.Epoch{Counter: 2, ID: [16]byte{1, 15: 2}}, Revision: 7, Chain: [16]byte{3, 15: 4}}
	older := mark
	older.Revision--
	for _, m := range []state.Mark{older, mark, older} { // it goes forward only
		if err := s.keep(m); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := openSeen(dir); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("taken twice: %v", err)
	}
	s.close()
	if s, err = openSeen(dir); err != nil || s.last != mark {
		t.Errorf("read %+v, %v", s, err)
	}
	s.close()
	path := filepath.Join(dir, seenName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := []byte(string(good))
		bad[i] ^= 1
		files.Write(t, path, string(bad), 0o600)
		if s, err := openSeen(dir); err == nil || !strings.Contains(err.Error(), "cannot be read") {
			t.Fatalf("%q was taken for %+v, %v", bad, s, err)
		}
	}
	for _, bad := range []string{"", string(good[:len(good)-1]), string(good) + "x"} {
		files.Write(t, path, bad, 0o600)
		if _, err := openSeen(dir); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if err := noSeen(dir); err == nil {
		t.Error("an embedded store may be made in a replica's directory")
	}
	if err := os.MkdirAll(filepath.Join(dir, "badger"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := openSeen(dir); err == nil || !strings.Contains(err.Error(), "holds an embedded store") {
		t.Errorf("a replica takes the directory of an embedded store: %v", err)
	}
}

// TestOtherHistory starts a replica on a cluster that is behind, or beside, what it has seen (PROTOCOL R13).
func TestOtherHistory(t *testing.T) {
	c, store := cluster1(t)
	mark := users(t, c, 3)
	for name, change := range map[string]func(*state.Mark){
		"behind":        func(m *state.Mark) { m.Revision++ },
		"beside":        func(m *state.Mark) { m.Chain[0] ^= 1 },
		"another epoch": func(m *state.Mark) { m.Epoch.ID[0] ^= 1 },
		"a later epoch": func(m *state.Mark) { m.Epoch.Counter++ },
	} {
		dir := t.TempDir()
		m := mark
		change(&m)
		files.Write(t, filepath.Join(dir, seenName), string(formatSeen(m)), 0o600)
		if _, err := tryLocal(t, nil, store, "--data-dir="+dir, "--grpc-addr=127.0.0.1:0", "--admin-addr=127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), "another history") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
