package registry

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/test/certs"
)

// forge signs claims with any key, under any header.
func forge(t *testing.T, c any, algorithm jose.SignatureAlgorithm, key any, kid string, header map[jose.HeaderKey]any) string {
	t.Helper()
	opts := &jose.SignerOptions{ExtraHeaders: header}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func segment(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// TestForged shows tokens that are nearly right.
func TestForged(t *testing.T) {
	r := newRig(t)
	good := r.token(alive, "repository:acme/app:pull")
	c := claimsOf(t, good)
	state, err := r.h.ring.get()
	if err != nil {
		t.Fatal(err)
	}
	mine, kid := r.signer.Signing().Key, state.kid
	theirs, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ca := certs.New(t, dir)
	certFile, keyFile := ca.Issue(dir, "other", "", time.Now().Add(time.Hour))
	other, err := identity.LoadSigner(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	chain := []string{base64.StdEncoding.EncodeToString(other.Signing().Chain[0].Raw)}
	own := []string{base64.StdEncoding.EncodeToString(r.signer.Signing().Chain[0].Raw)}
	spki, err := x509.MarshalPKIXPublicKey(mine.Public())
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*claims)) claims {
		c := c
		change(&c)
		return c
	}
	parts := strings.Split(good, ".")
	payload := segment(`{"iss":"jobward","aud":"container_registry","exp":9999999999,"jobward_job":"` + c.Job + `","access":[{"type":"repository","name":"acme/app","actions":["pull"]}]}`)
	full := func(text string) string {
		signed, err := jose.ParseSignedCompact(text, algorithms())
		if err != nil {
			t.Fatal(err)
		}
		return signed.FullSerialize()
	}
	for name, text := range map[string]string{
		"another audience":            forge(t, with(func(c *claims) { c.Audience = "other" }), jose.ES256, mine, kid, nil),
		"no audience":                 forge(t, with(func(c *claims) { c.Audience = "" }), jose.ES256, mine, kid, nil),
		"a list of audiences":         forge(t, map[string]any{"iss": issuer, "aud": []string{service}, "exp": c.Expires, "jobward_job": c.Job}, jose.ES256, mine, kid, nil),
		"another issuer":              forge(t, with(func(c *claims) { c.Issuer = "other" }), jose.ES256, mine, kid, nil),
		"just ended":                  forge(t, with(func(c *claims) { c.Expires = r.now.Unix() }), jose.ES256, mine, kid, nil),
		"ended a second ago":          forge(t, with(func(c *claims) { c.Expires = r.now.Unix() - 1 }), jose.ES256, mine, kid, nil),
		"no end":                      forge(t, with(func(c *claims) { c.Expires = 0 }), jose.ES256, mine, kid, nil),
		"not begun":                   forge(t, with(func(c *claims) { c.NotBefore = r.now.Unix() + 100 }), jose.ES256, mine, kid, nil),
		"no job":                      forge(t, with(func(c *claims) { c.Job = "" }), jose.ES256, mine, kid, nil),
		"the zero digest":             forge(t, with(func(c *claims) { c.Job = strings.Repeat("A", 43) }), jose.ES256, mine, kid, nil),
		"half a digest":               forge(t, with(func(c *claims) { c.Job = c.Job[:20] }), jose.ES256, mine, kid, nil),
		"another key":                 forge(t, c, jose.ES256, theirs, kid, nil),
		"another key, its kid":        forge(t, c, jose.ES256, theirs, kidOf(theirs.Public()), nil),
		"no kid":                      forge(t, c, jose.ES256, mine, "", nil),
		"a kid that is a path":        forge(t, c, jose.ES256, mine, "../../../dev/null", nil),
		"another CA's chain":          forge(t, c, jose.ES256, other.Signing().Key, kidOf(other.Signing().Key.Public()), map[jose.HeaderKey]any{"x5c": chain}),
		"another CA's, our kid":       forge(t, c, jose.ES256, other.Signing().Key, kid, map[jose.HeaderKey]any{"x5c": chain}),
		"our chain, another key":      forge(t, c, jose.ES256, theirs, kid, map[jose.HeaderKey]any{"x5c": own}),
		"a key in the header":         forge(t, c, jose.ES256, theirs, kid, map[jose.HeaderKey]any{"jwk": jose.JSONWebKey{Key: theirs.Public()}}),
		"HMAC with the key":           forge(t, c, jose.HS256, spki, kid, nil),
		"HMAC with an empty key":      forge(t, c, jose.HS256, make([]byte, 32), kid, nil),
		"none":                        segment(`{"alg":"none","kid":"`+kid+`"}`) + "." + payload + ".",
		"None":                        segment(`{"alg":"None"}`) + "." + payload + "." + parts[2],
		"RS256 on an EC key":          segment(`{"alg":"RS256","kid":"`+kid+`"}`) + "." + parts[1] + "." + parts[2],
		"other claims":                parts[0] + "." + payload + "." + parts[2],
		"no signature":                parts[0] + "." + parts[1] + ".",
		"two parts":                   parts[0] + "." + parts[1],
		"a zero signature":            parts[0] + "." + parts[1] + "." + segment(strings.Repeat("\x00", 64)),
		"a cut signature":             good[:len(good)-2],
		"the JSON form":               full(good),
		"critical":                    forge(t, c, jose.ES256, mine, kid, map[jose.HeaderKey]any{"crit": []string{"x"}, "x": 1}),
		"blank":                       "",
		"spaces":                      " " + good,
		"two tokens":                  good + "," + good,
		"very long":                   good + strings.Repeat("A", maxToken),
		"a payload that is no object": forge(t, []int{1}, jose.ES256, mine, kid, nil),
	} {
		w := r.do("GET", "/v2/acme/app/manifests/x", "", "Authorization", "Bearer "+text)
		if w.Code != 401 || len(r.got) != 0 {
			t.Errorf("%s: %d, %d requests came through", name, w.Code, len(r.got))
			r.got = nil
		}
	}
	if w := r.do("GET", "/v2/acme/app/manifests/x", "", "Authorization", "Bearer "+good); w.Code != 200 {
		t.Errorf("the good one: %d %s", w.Code, w.Body)
	}
	// To the second, remembered or not.
	r.now = time.Unix(c.Expires, 0).Add(-time.Nanosecond)
	if w := r.do("GET", "/v2/acme/app/manifests/x", "", "Authorization", "Bearer "+good); w.Code != 200 {
		t.Errorf("just before its end: %d", w.Code)
	}
	r.now = time.Unix(c.Expires, 0)
	if w := r.do("GET", "/v2/acme/app/manifests/x", "", "Authorization", "Bearer "+good); w.Code != 401 || !strings.Contains(w.Body.String(), "has ended") {
		t.Errorf("at its end: %d", w.Code)
	}
}

// TestKeysChange replaces the files under running tokens.
func TestKeysChange(t *testing.T) {
	r := newRig(t)
	get := func(token string) int {
		return r.do("GET", "/v2/acme/app/manifests/x", "", "Authorization", "Bearer "+token).Code
	}
	kids := func() (list []string) {
		var set jose.JSONWebKeySet
		w := r.do("GET", jwksPath, "")
		if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil || !strings.Contains(w.Header().Get("Cache-Control"), "max-age=60") {
			t.Fatal(err, w.Header())
		}
		for _, k := range set.Keys {
			if !k.IsPublic() || k.Use != "sig" {
				t.Errorf("the JWKS has %+v", k)
			}
			list = append(list, k.KeyID)
		}
		return list
	}
	old := r.token(alive, "repository:acme/app:pull")
	before := kids()
	if err := MakeKeys(r.dir, time.Hour); err != nil {
		t.Fatal(err)
	}
	// Nothing but the new key is in the file: the one before is taken because it was here.
	stripOthers(t, r.dir)
	r.load()
	fresh := r.token(alive, "repository:acme/app:pull")
	if get(old) != 200 || get(fresh) != 200 || len(before) != 1 || len(kids()) != 2 {
		t.Errorf("after the change: old %d, new %d, %v", get(old), get(fresh), kids())
	}
	r.now = r.now.Add(DefaultTTL)
	r.fake.validFor = time.Hour
	if len(kids()) != 1 || get(r.token(alive, "repository:acme/app:pull")) != 200 {
		t.Errorf("when the last of its tokens has ended: %v", kids())
	}
	// A replica's, by its certificate in the file.
	mine := r.signer
	if err := MakeKeys(r.dir, time.Hour); err != nil {
		t.Fatal(err)
	}
	r.load()
	if len(kids()) != 2 {
		t.Errorf("with the certificate before in the file: %v", kids())
	}
	if etag := r.do("GET", jwksPath, "").Header().Get("Etag"); r.do("GET", jwksPath, "", "If-None-Match", etag).Code != 304 || r.do("POST", jwksPath, "").Code != 405 {
		t.Error("the JWKS is not cached as it says")
	}
	replica := *r
	replica.signer = mine
	h, err := New(Options{Asker: r.fake, Service: service, Issuer: issuer, URL: outside, Keys: &replica, Registry: r.h.opt.Registry, Now: func() time.Time { return r.now }})
	if err != nil {
		t.Fatal(err)
	}
	replica.h = h
	if code := get(replica.token(alive, "repository:acme/app:pull")); code != 200 {
		t.Errorf("a replica's token with the key before: %d", code)
	}
	// What is remembered is not taken for longer than its key.
	theirs := replica.token(alive, "repository:acme/app:pull")
	if get(theirs) != 200 {
		t.Error("not taken while it is there")
	}
	stripOthers(t, r.dir)
	r.load()
	kids()
	r.now = r.now.Add(time.Hour)
	if get(theirs) != 401 {
		t.Error("taken after the key has gone")
	}
}

// TestReplicaGone takes the certificate of another signer out of the file: its tokens are gone at once, remembered or not.
func TestReplicaGone(t *testing.T) {
	r, other := newRig(t), newRig(t)
	path := filepath.Join(r.dir, CertFile)
	alone, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := os.ReadFile(filepath.Join(other.dir, CertFile))
	if err != nil {
		t.Fatal(err)
	}
	token := "Bearer " + other.token(alive, "repository:acme/app:pull")
	for _, step := range []struct {
		file []byte
		want int
	}{{alone, 401}, {append(append([]byte{}, alone...), theirs...), 200}, {alone, 401}} {
		if err := os.WriteFile(path, step.file, 0o644); err != nil {
			t.Fatal(err)
		}
		r.load()
		for range 2 {
			if code := r.do("GET", "/v2/acme/app/manifests/x", "", "Authorization", token).Code; code != step.want {
				t.Errorf("with %d bytes of certificates: %d, want %d", len(step.file), code, step.want)
			}
		}
	}
}

// stripOthers leaves nothing but the first certificate in the file.
func stripOthers(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, CertFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const end = "-----END CERTIFICATE-----\n"
	if err := os.WriteFile(path, data[:strings.Index(string(data), end)+len(end)], 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestRemembered bounds what is remembered, and forgets those used least recently.
func TestRemembered(t *testing.T) {
	var s seen
	sum := func(i int) [32]byte { return sha256.Sum256([]byte{byte(i), byte(i >> 8)}) }
	for i := range maxSeen {
		s.put(sum(i), &grant{})
	}
	s.get(sum(0))
	for i := range 10 {
		s.put(sum(maxSeen+i), &grant{})
	}
	if len(s.at) != maxSeen || s.order.Len() != maxSeen || s.get(sum(0)) == nil || s.get(sum(5)) != nil || s.get(sum(maxSeen+9)) == nil {
		t.Errorf("%d are remembered", len(s.at))
	}
}

func TestMakeKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	read := func(name string) *x509.Certificate {
		t.Helper()
		s, err := identity.LoadSigner(filepath.Join(dir, name), filepath.Join(dir, KeyFile))
		if err != nil {
			t.Fatal(err)
		}
		return s.Signing().Chain[0]
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(MakeKeys(dir, time.Hour))
	first := read(CertFile)
	ca, err := os.ReadFile(filepath.Join(dir, CAFile))
	must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for range 3 {
		must(MakeKeys(dir, time.Hour))
		leaf := read(CertFile)
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
			t.Error(err)
		}
		if leaf.Equal(first) {
			t.Error("the key did not change")
		}
	}
	for _, name := range []string{CAKeyFile, KeyFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		must(err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", name, info.Mode().Perm())
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	must(os.Remove(filepath.Join(dir, CAFile)))
	if err := MakeKeys(dir, time.Hour); err == nil || !strings.Contains(err.Error(), "put the certificate back") {
		t.Errorf("a CA's key without its certificate: %v", err)
	}
}

func TestOptions(t *testing.T) {
	r := newRig(t)
	for name, change := range map[string]func(*Options){
		"no asker":  func(o *Options) { o.Asker = nil },
		"no keys":   func(o *Options) { o.Keys = nil },
		"no place":  func(o *Options) { o.Registry = nil },
		"short":     func(o *Options) { o.TTL = time.Second },
		"long":      func(o *Options) { o.TTL = 2 * time.Hour },
		"service":   func(o *Options) { o.Service = `a"b` },
		"no issuer": func(o *Options) { o.Issuer = "" },
		"URL":       func(o *Options) { o.URL = "registry.example" },
		"URL path":  func(o *Options) { o.URL = "https://registry.example/v2/" },
		"password":  func(o *Options) { o.URL = "https://a:b@registry.example" },
		"quote":     func(o *Options) { o.URL = `https://registry.example",x="` },
	} {
		opt := r.h.opt
		change(&opt)
		if _, err := New(opt); err == nil || strings.Contains(err.Error(), "a:b") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if kidOf(crypto.PublicKey(nil)) != "" {
		t.Error("a kid of nothing")
	}
}
