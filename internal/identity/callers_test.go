package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// keysFile is a callers file with one key, of name, that has the role of a runner.
func keysFile(name, hash string) []byte {
	return []byte("keys:\n- {name: " + name + ", sha256: " + hash + ", roles: [runner]}\n")
}

// connection is what crypto/tls would tell of a client with that certificate.
func connection(t testing.TB, certPEM []byte) *tls.ConnectionState {
	t.Helper()
	certs, err := parseCertificates(certPEM)
	must(t, err)
	return &tls.ConnectionState{PeerCertificates: certs, VerifiedChains: [][]*x509.Certificate{certs}}
}

func TestAuthenticate(t *testing.T) {
	d, ca := newDir(t), newAuthority(t, "ca")
	key, hash := NewKey()
	unknownKey, _ := NewKey()
	c, err := LoadCallers(d.put("callers.yaml", []byte(`
# comments are fine
certificates:
  - uri: spiffe://forge.example/runner/*
    roles: [runner]
  - uri: spiffe://forge.example/sync
    roles: [directory, maintainer]
keys:
  - name: ci-1
    sha256: `+hash+`
    roles:
      - admin
      - service
`)))
	must(t, err)
	state := func(change ...func(*x509.Certificate)) *tls.ConnectionState {
		cert, _ := ca.leaf(t, change...)
		return connection(t, cert)
	}
	runner := state(uris("spiffe://forge.example/runner/7"))
	unverified := &tls.ConnectionState{PeerCertificates: runner.PeerCertificates}
	ci := Principal{Name: "key:ci-1", Roles: Roles(Admin, Service)}
	for name, row := range map[string]struct {
		state  *tls.ConnectionState
		header []string
		want   Principal
		err    error
		word   string
	}{
		"nothing":                 {nil, nil, Principal{}, ErrNoCredentials, "Bearer KEY"},
		"TLS, no certificate":     {&tls.ConnectionState{}, nil, Principal{}, ErrNoCredentials, ""},
		"certificate":             {runner, nil, Principal{Name: "spiffe://forge.example/runner/7", Roles: Roles(Runner)}, nil, ""},
		"exact":                   {state(uris("spiffe://forge.example/sync")), nil, Principal{Name: "spiffe://forge.example/sync", Roles: Roles(Directory, Maintainer)}, nil, ""},
		"no row":                  {state(uris("spiffe://forge.example/other")), nil, Principal{Name: "spiffe://forge.example/other", Roles: 0}, nil, ""},
		"no SAN":                  {state(), nil, Principal{}, ErrBadCredentials, "0 URI names"},
		"two SANs":                {state(uris("spiffe://forge.example/sync", "spiffe://forge.example/runner/7")), nil, Principal{}, ErrBadCredentials, "2 URI names"},
		"https SAN":               {state(uris("https://forge.example/sync")), nil, Principal{}, ErrBadCredentials, "spiffe://TRUST"},
		"dots":                    {state(uris("spiffe://forge.example/runner/../sync")), nil, Principal{}, ErrBadCredentials, "segment"},
		"unverified":              {unverified, nil, Principal{}, ErrBadCredentials, "not verified"},
		"key":                     {nil, []string{"Bearer " + key}, ci, nil, ""},
		"key, lower case":         {nil, []string{"bearer " + key}, ci, nil, ""},
		"key beside certificate":  {runner, []string{"Bearer " + key}, ci, nil, ""},
		"bad key, good cert":      {runner, []string{"Bearer " + unknownKey}, Principal{}, ErrBadCredentials, "not known"},
		"empty header, good cert": {runner, []string{""}, Principal{}, ErrBadCredentials, "form"},
		"two headers":             {nil, []string{"Bearer " + key, "Bearer " + key}, Principal{}, ErrBadCredentials, "more than one"},
		"basic":                   {nil, []string{"Basic " + key}, Principal{}, ErrBadCredentials, "form"},
		"no scheme":               {nil, []string{key}, Principal{}, ErrBadCredentials, "form"},
		"two blanks":              {nil, []string{"Bearer  " + key}, Principal{}, ErrBadCredentials, "well-formed"},
		"trailing":                {nil, []string{"Bearer " + key + " "}, Principal{}, ErrBadCredentials, "well-formed"},
		"the hash itself":         {nil, []string{"Bearer " + hash}, Principal{}, ErrBadCredentials, "well-formed"},
		"megabyte":                {nil, []string{"Bearer " + strings.Repeat(key, 1<<15)}, Principal{}, ErrBadCredentials, "well-formed"},
	} {
		got, err := c.Authenticate(row.state, row.header)
		if got != row.want || !errors.Is(err, row.err) || err != nil && !strings.Contains(err.Error(), row.word) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if err != nil && (strings.Contains(err.Error(), key[6:20]) || strings.Contains(err.Error(), unknownKey[6:20])) {
			t.Errorf("%s: the error holds the key: %v", name, err)
		}
	}
}

func TestCallersFileRefused(t *testing.T) {
	key, hash := NewKey()
	_, other := NewKey()
	damaged := key[:len(key)-1]
	secret := key[6:26]
	for name, row := range map[string]struct{ file, want string }{
		"empty":           {"", "is empty"},
		"blank":           {"\n# nothing\n", "nobody could call"},
		"empty lists":     {"certificates: []\nkeys: []\n", "nobody could call"},
		"not a mapping":   {"- a\n- b\n", "[1:1]"},
		"not YAML":        {"keys: [\n", "[1:7]"},
		"tabs":            {"keys:\n\t- name: a\n", "[2:1]"},
		"unknown section": {"callers: []\n", `unknown field "callers"`},
		"unknown field":   {"keys:\n- {name: a, sha256: " + hash + ", role: [admin]}\n", `unknown field "role"`},
		"section twice":   {"keys: []\nkeys: []\n", `[2:1] mapping key "keys" already defined`},
		"two documents":   {string(keysFile("a", hash)) + "---\n" + string(keysFile("b", other)), "more than one YAML document"},
		"unknown role":    {"certificates:\n- {uri: 'spiffe://td/a', roles: [admin, root]}\n", `row 1 (spiffe://td/a) is wrong: no role is called "root"`},
		"no role":         {"certificates:\n- {uri: 'spiffe://td/a', roles: []}\n", "gives no roles"},
		"roles missing":   {"certificates:\n- {uri: 'spiffe://td/a'}\n", "gives no roles"},
		"uri missing":     {"certificates:\n- {roles: [admin]}\n", "has no uri"},
		"uri twice": {"certificates:\n- {uri: 'spiffe://td/a', roles: [admin]}\n- {uri: 'spiffe://td/a', roles: [peer]}\n",
			"certificates row 2 (spiffe://td/a) is there twice"},
		"wildcard inside": {"certificates:\n- {uri: 'spiffe://*/a', roles: [admin]}\n", "a wildcard stands in the end only"},
		"name missing":    {"keys:\n- {sha256: " + hash + ", roles: [admin]}\n", "needs a name"},
		"name long":       {string(keysFile(strings.Repeat("n", 65), hash)), "needs a name"},
		"name odd":        {string(keysFile("'spiffe://a/b'", hash)), "has ':' in its name"},
		"name twice":      {string(keysFile("a", hash)) + "- {name: a, sha256: " + other + ", roles: [admin]}\n", "keys row 2 (a) has a name that is there twice"},
		"key twice":       {string(keysFile("a", hash)) + "- {name: b, sha256: " + hash + ", roles: [admin]}\n", "keys row 2 (b) has the same key as a"},
		"user zero":       {keyOf(hash, "maintainer", "0"), "has the user 0"},
		"user negative":   {keyOf(hash, "maintainer", "-1"), "has the user -1"},
		"user too large":  {keyOf(hash, "maintainer", "9007199254740992"), "1 to 9007199254740991"},
		"user a name":     {keyOf(hash, "maintainer", "dana"), "[2:"},
		"user and admin":  {keyOf(hash, "admin", "5"), "the role maintainer and no other"},
		"user and two":    {keyOf(hash, "'maintainer, admin'", "5"), "no role is called"},
		"user and both":   {keyOf(hash, "maintainer, admin", "5"), "the role maintainer and no other"},
		"hash missing":    {"keys:\n- {name: a, roles: [admin]}\n", "needs a sha256"},
		"hash short":      {string(keysFile("a", hash[2:])), "64 hexadecimal digits"},
		"hash not hex":    {string(keysFile("a", "x"+hash[1:])), "64 hexadecimal digits"},
		"password":        {string(keysFile("a", secret)), "64 hexadecimal digits"},
		"key in clear":    {"\n" + string(keysFile("a", key)), "line 3 holds a key in clear"},
		"damaged key":     {string(keysFile("a", damaged)), "line 2 holds a key in clear"},
		"password field":  {"keys:\n- name: a\n  password: " + secret + "\n", `[3:3] unknown field "password"`},
		"password, bad":   {"keys:\n- name: a\n  password: " + secret + "\n  roles: [\n", "[4:10]"},
		"key field":       {"keys:\n- name: a\n  key: " + key + "\n", "line 3 holds a key in clear"},
		"key in comment":  {string(keysFile("a", hash)) + "# " + key, "line 3 holds a key in clear"},
		"key, bad YAML":   {"keys: [" + key + "\n", "line 1 holds a key in clear"},
		"alias":           {"keys:\n- {name: a, sha256: &h " + hash + ", roles: [admin]}\n- {name: b, sha256: *h, roles: [admin]}\n", "line 3 has a YAML alias"},
		"alias bomb":      {"keys:\n" + aliasBomb(), "line 3 has a YAML alias"},
		"brackets":        {"# here is one\n" + strings.Repeat("[\n", maxFile/4), "line 66 nests brackets deeper than 64"},
		"braces":          {strings.Repeat("{a: ", maxFile/4), "line 1 is longer than 4096 bytes"},
		"dashes":          {"keys:\n" + strings.Repeat("- ", maxFile/4), "line 2 is longer than 4096 bytes"},
		"NUL":             {"keys: \x00\n", ""},
		"too large":       {string(keysFile("a", hash)) + strings.Repeat("#", maxFile), "is larger than 1048576 bytes"},
	} {
		d := newDir(t)
		path := d.put("callers.yaml", []byte(row.file))
		c, err := LoadCallers(path)
		if err == nil || c != nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), "callers file "+path+": ") {
			t.Errorf("%s: %v; want the path and %q", name, err, row.want)
		}
		if err != nil && strings.Contains(err.Error(), secret[:10]) {
			t.Errorf("%s: the error holds the secret: %v", name, err)
		}
	}
}

// keyOf is a callers file with one key that acts for a user.
func keyOf(hash, roles, user string) string {
	return "keys:\n- {name: a, sha256: " + hash + ", roles: [" + roles + "], user: " + user + "}\n"
}

// TestKeyOfAUser: the user of the row is the user of the principal, and without one there is none.
func TestKeyOfAUser(t *testing.T) {
	key, hash := NewKey()
	for text, want := range map[string]int64{keyOf(hash, "maintainer", "103"): 103, string(keysFile("a", hash)): 0} {
		table, err := parseCallers([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		digest, _ := keyDigest(key)
		if got := table.keys[digest]; got.User != want || got.Name != "key:a" {
			t.Errorf("%s: %+v, want user %d", text, got, want)
		}
	}
}

// aliasBomb is less than a kilobyte and means ten thousand million roles.
func aliasBomb() string {
	bomb := "- roles: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 9 {
		bomb += fmt.Sprintf("- roles: &a%d [%s]\n", i+1, strings.Repeat(fmt.Sprintf("*a%d,", i), 10))
	}
	return bomb
}

// TestHashThatLooksLikeANumber: YAML knows numbers, and one hash in a few billion looks like one.
func TestHashThatLooksLikeANumber(t *testing.T) {
	for _, hash := range []string{strings.Repeat("1", 64), "0128" + strings.Repeat("4", 60), "12e34" + strings.Repeat("5", 59), strings.Repeat("1", 60) + "e123"} {
		table, err := parseCallers(keysFile("123", hash))
		if err != nil {
			t.Errorf("%s: %v", hash, err)
			continue
		}
		for digest, p := range table.keys {
			if hex.EncodeToString(digest[:]) != hash || p.Name != "key:123" {
				t.Errorf("%s became %x of %s", hash, digest, p.Name)
			}
		}
	}
}

// TestFileRefused is about the file, not about what is in it.
func TestFileRefused(t *testing.T) {
	_, hash := NewKey()
	for name, row := range map[string]struct {
		make func(t *testing.T, path string)
		want string
	}{
		"missing":       {func(*testing.T, string) {}, "no such file"},
		"a folder":      {func(t *testing.T, p string) { must(t, os.Mkdir(p, 0o700)) }, "is not a regular file"},
		"a pipe":        {func(t *testing.T, p string) { must(t, syscall.Mkfifo(p, 0o600)) }, "is not a regular file"},
		"dangling link": {func(t *testing.T, p string) { must(t, os.Symlink("nowhere", p)) }, "no such file"},
		"others read":   {func(t *testing.T, p string) { put(t, p, keysFile("a", hash)); must(t, os.Chmod(p, 0o604)) }, "mode 0604"},
		"others write":  {func(t *testing.T, p string) { put(t, p, keysFile("a", hash)); must(t, os.Chmod(p, 0o602)) }, "run chmod 600 (or 640)"},
		"group writes":  {func(t *testing.T, p string) { put(t, p, keysFile("a", hash)); must(t, os.Chmod(p, 0o660)) }, "mode 0660"},
		"link to public": {func(t *testing.T, p string) {
			put(t, p+"2", keysFile("a", hash))
			must(t, os.Chmod(p+"2", 0o644))
			must(t, os.Symlink(p+"2", p))
		}, "mode 0644"},
		"unreadable": {func(t *testing.T, p string) {
			if os.Getuid() == 0 {
				t.Skip("root can read every file")
			}
			put(t, p, keysFile("a", hash))
			must(t, os.Chmod(p, 0))
		}, "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			path := newDir(t).name("callers.yaml")
			row.make(t, path)
			if _, err := LoadCallers(path); err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v; want the path and %q", err, row.want)
			}
		})
	}
	for _, mode := range []os.FileMode{0o600, 0o640, 0o400, 0o440} {
		path := newDir(t).put("callers.yaml", keysFile("a", hash))
		must(t, os.Chmod(path, mode))
		if _, err := LoadCallers(path); err != nil {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}

func TestCallersReload(t *testing.T) {
	d := newDir(t)
	key1, hash1 := NewKey()
	key2, hash2 := NewKey()
	path := d.put("callers.yaml", keysFile("one", hash1))
	c, err := LoadCallers(path)
	must(t, err)
	who := func(key string) string {
		p, _ := c.Authenticate(nil, []string{"Bearer " + key})
		return p.Name
	}
	var reports []string
	look := func() {
		c.source.lookAndReport(func(err error) {
			if err == nil {
				reports = append(reports, "ok")
			} else {
				reports = append(reports, err.Error())
			}
		})
	}
	expect := func(step, one, two string, want ...string) {
		t.Helper()
		look()
		look() // nothing is reported twice
		if who(key1) != one || who(key2) != two {
			t.Errorf("%s: %q and %q", step, who(key1), who(key2))
		}
		if len(reports) != len(want) {
			t.Fatalf("%s: reports %q, want %q", step, reports, want)
		}
		for i := range want {
			if !strings.Contains(reports[i], want[i]) {
				t.Errorf("%s: report %q, want %q", step, reports[i], want[i])
			}
		}
		reports = nil
	}
	expect("untouched", "key:one", "")
	d.put("callers.yaml", keysFile("two", hash2))
	expect("replaced", "", "key:two", "ok")
	d.put("callers.yaml", keysFile("two", "oops"))
	expect("broken", "", "key:two", "64 hexadecimal")
	d.put("callers.yaml", keysFile("two", key2))
	expect("broken otherwise", "", "key:two", "in clear")
	must(t, os.Remove(path))
	expect("removed", "", "key:two", "no such file")
	d.put("callers.yaml", append(keysFile("one", hash1), "- {name: two, sha256: "+hash2+", roles: [admin]}\n"...))
	expect("back", "key:one", "key:two", "ok")
	must(t, os.Chmod(path, 0o666))
	expect("opened to all", "key:one", "key:two", "mode 0666")
	must(t, os.Chmod(path, 0o600))
	expect("closed again", "key:one", "key:two", "ok")
	must(t, os.Truncate(path, 0))
	expect("cut", "key:one", "key:two", "is empty")
	must(t, os.WriteFile(path, keysFile("one", hash1), 0o600))
	expect("written in place", "key:one", "", "ok")

	// As Kubernetes does it: the path stays a link, and what is behind it changes.
	must(t, os.Mkdir(d.name("v1"), 0o700))
	must(t, os.Mkdir(d.name("v2"), 0o700))
	put(t, d.name("v1/callers"), keysFile("one", hash1))
	put(t, d.name("v2/callers"), keysFile("two", hash2))
	must(t, os.Symlink("v1", d.name("data")))
	must(t, os.Remove(path))
	must(t, os.Symlink("data/callers", path))
	expect("a link", "key:one", "", "ok")
	must(t, os.Symlink("v2", d.name("data2")))
	must(t, os.Rename(d.name("data2"), d.name("data")))
	expect("link moved", "", "key:two", "ok")
}

// TestCallersRun: the loop looks by itself, beside callers that ask all the time, and ends with its context.
func TestCallersRun(t *testing.T) {
	d := newDir(t)
	key, hash := NewKey()
	d.put("callers.yaml", keysFile("before", hash))
	c, err := LoadCallers(d.name("callers.yaml"))
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	reports := make(chan error, 10)
	var all sync.WaitGroup
	all.Go(func() { c.Run(ctx, time.Millisecond, func(err error) { reports <- err }) })
	for range 2 {
		all.Go(func() {
			for ctx.Err() == nil {
				if p, err := c.Authenticate(nil, []string{"Bearer " + key}); err != nil || p.Name != "key:before" && p.Name != "key:after" {
					t.Errorf("%+v, %v", p, err)
					return
				}
			}
		})
	}
	d.put("callers.yaml", keysFile("after", hash))
	if err := <-reports; err != nil {
		t.Error(err)
	}
	if p, _ := c.Authenticate(nil, []string{"Bearer " + key}); p.Name != "key:after" {
		t.Errorf("after the report it is still %+v", p)
	}
	cancel()
	all.Wait()
}

func FuzzCallersFile(f *testing.F) {
	key, hash := NewKey()
	f.Add(keysFile("a", hash))
	f.Add(keysFile("a", key))
	f.Add([]byte("certificates:\n- {uri: 'spiffe://td/*', roles: [admin]}\nkeys: &a\n- *a\n"))
	f.Add([]byte("a: &a [*a, *a]\n--- !!binary |\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := parseCallers(data)
		if (table == nil) == (err == nil) {
			t.Fatalf("%v, %v", table, err)
		}
		if err != nil && strings.Contains(err.Error(), key[6:20]) {
			t.Fatalf("the error holds a key: %v", err)
		}
		if table == nil {
			return
		}
		for _, p := range table.keys {
			if !strings.HasPrefix(p.Name, "key:") || p.Roles == 0 {
				t.Fatalf("took %+v", p)
			}
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	key, hash := NewKey()
	d := newDir(b)
	c, err := LoadCallers(d.put("callers.yaml", append(keysFile("a", hash), "certificates:\n- {uri: 'spiffe://td/runner/*', roles: [runner]}\n"...)))
	must(b, err)
	cert, _ := newAuthority(b, "ca").leaf(b, uris("spiffe://td/runner/7"))
	state, header := connection(b, cert), []string{"Bearer " + key}
	b.Run("certificate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Authenticate(state, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("key", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Authenticate(nil, header); err != nil {
				b.Fatal(err)
			}
		}
	})
}
