package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/test/programs"
)

// TestRegistry is the whole of SEMANTICS §11 with each of the registries.
func TestRegistry(t *testing.T) {
	for name, program := range map[string]func(t *testing.T) string{
		"docker-registry 2.8": func(t *testing.T) string { return programs.Find(t, "docker-registry") },
		"distribution 3":      func(t *testing.T) string { return build(t, distributionModule, true) },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, program(t), plain)
			w := r.world()
			t.Run("skopeo", w.skopeo)
			t.Run("crane", w.crane)
			t.Run("tokens", w.tokens)
			t.Run("pull cut", w.pullCut)
			t.Run("push cut", w.pushCut)
			t.Run("key change", w.keyChange)
			t.Run("dead job", w.deadJob)
			r.silent(w.shop, w.api, w.site, w.warehouse)
		})
	}
}

// world has an image in each project, pushed by a job of that project.
type world struct {
	*rig
	shop, api, site, warehouse job
}

func (r *rig) world() *world {
	r.t.Helper()
	w := &world{r, r.job(shop, dana), r.job(api, erin), r.job(site, dana), r.job(warehouse, erin)}
	for i, at := range []struct {
		job  job
		path string
	}{{w.shop, "acme/web/shop"}, {w.api, "acme/platform/api"}, {w.site, "acme/web/site"}, {w.warehouse, "acme/platform/data/warehouse"}} {
		dir := filepath.Join(r.dir, fmt.Sprint("image", i))
		image(r.t, dir, uint64(i+1))
		if out, err := w.copy(at.job, "oci:"+dir, w.at(at.path+":1")); err != nil {
			r.t.Fatalf("push to %s: %v: %s", at.path, err, out)
		}
	}
	return w
}

func (r *rig) at(name string) string { return "docker://" + r.host + "/" + name }

func (r *rig) copy(j job, from, to string) (string, error) {
	args := append([]string{"--insecure-policy", "copy"}, r.tls("--src-", "--dest-")...)
	return r.run(j, programs.Find(r.t, "skopeo"), append(args, from, to)...)
}

// want runs a client that must succeed, or fail and say something.
func want(t *testing.T, what, says string, out string, err error) {
	t.Helper()
	if (err != nil) != (says != "") || !strings.Contains(out, says) {
		t.Errorf("%s: %v: %s; want %q", what, err, out, says)
	}
}

func (w *world) skopeo(t *testing.T) {
	out := func() string { return "oci:" + t.TempDir() }
	do := func(j job, what, says, from, to string) {
		t.Helper()
		text, err := w.copy(j, from, to)
		want(t, what, says, text, err)
	}
	const denied = "denied"
	do(w.shop, "pull from its own project", "", w.at("acme/web/shop:1"), out())
	do(w.shop, "pull from one that lets it in", "", w.at("acme/platform/api:1"), out())
	do(w.shop, "pull from a public one", "", w.at("acme/web/site:1"), out())
	do(w.shop, "pull from one that does not let it in", denied, w.at("acme/platform/data/warehouse:1"), out())
	do(w.shop, "pull from one that does not exist", denied, w.at("acme/web/nothing:1"), out())
	do(job{}, "anonymous pull of a public one", "", w.at("acme/web/site:1"), out())
	do(job{}, "anonymous pull of a private one", denied, w.at("acme/web/shop:1"), out())
	do(w.shop, "copy from another project", "", w.at("acme/platform/api:1"), w.at("acme/web/shop/api:1"))
	do(w.shop, "push elsewhere", denied, w.at("acme/web/shop:1"), w.at("acme/platform/api:2"))
	do(w.shop, "push to a public one", denied, w.at("acme/web/shop:1"), w.at("acme/web/site:2"))
	do(w.shop, "push to the group", denied, w.at("acme/web/shop:1"), w.at("acme/web/other:1"))
	do(job{}, "anonymous push", denied, "oci:"+filepath.Join(w.dir, "image0"), w.at("acme/web/site:2"))

	remove := func(j job, name string) (string, error) {
		return w.run(j, programs.Find(t, "skopeo"), "delete", "--tls-verify=false", w.at(name))
	}
	do(w.shop, "one more to delete", "", "oci:"+filepath.Join(w.dir, "image0"), w.at("acme/web/shop/old:1"))
	text, err := remove(w.shop, "acme/web/shop/old:1")
	want(t, "delete in its own project", "", text, err)
	if _, err := w.copy(w.shop, w.at("acme/web/shop/old:1"), out()); err == nil {
		t.Error("it is there after being deleted")
	}
	text, err = remove(w.shop, "acme/platform/api:1")
	want(t, "delete elsewhere", "denied", text, err)
	text, err = remove(w.shop, "acme/web/site:1")
	want(t, "delete in a public one", "denied", text, err)
}

func (w *world) crane(t *testing.T) {
	crane := build(t, craneModule, false)
	do := func(j job, what, says string, args ...string) {
		t.Helper()
		out, err := w.run(j, crane, args...)
		want(t, what, says, out, err)
	}
	tarball := filepath.Join(w.dir, "layer.tar")
	put(t, tarball, layerOf(t, 99))
	own, theirs := w.host+"/acme/web/shop/crane:1", w.host+"/acme/platform/api:1"
	do(w.shop, "an image from nothing", "", "append", "--oci-empty-base", "-f", tarball, "-t", own)
	do(w.shop, "pull", "", "pull", own, filepath.Join(w.dir, "pulled.tar"))
	do(w.shop, "tags", "", "ls", w.host+"/acme/web/shop/crane")
	do(w.shop, "copy across projects", "", "copy", theirs, w.host+"/acme/web/shop/copied:1")
	do(job{}, "anonymous and public", "", "digest", w.host+"/acme/web/site:1")
	do(job{}, "anonymous and private", "UNAUTHORIZED", "digest", "--full-ref", own)
	do(w.shop, "not let in", "UNAUTHORIZED", "manifest", w.host+"/acme/platform/data/warehouse:1")
	do(w.shop, "push elsewhere", "UNAUTHORIZED", "append", "--oci-empty-base", "-f", tarball, "-t", w.host+"/acme/platform/api:3")
	do(w.shop, "the catalogue", "DENIED", "catalog", w.host)
	do(w.shop, "delete elsewhere", "UNAUTHORIZED", "delete", w.host+"/acme/platform/api@"+w.digestOf(t, "acme/platform/api", w.api))
	do(w.shop, "delete", "", "delete", w.host+"/acme/web/shop/crane@"+w.digestOf(t, "acme/web/shop/crane", w.shop))
}

// digestOf is that of the manifest with tag 1.
func (w *world) digestOf(t *testing.T, name string, j job) string {
	t.Helper()
	resp, err := w.call(w.host, w.bearer(j, "repository:"+name+":pull"), "HEAD", "/v2/"+name+"/manifests/1", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.Header.Get("Docker-Content-Digest")
}

// upload puts a blob into a repository in one piece, and gives its digest.
func (w *world) upload(t *testing.T, bearer, name string, data []byte) string {
	t.Helper()
	sum := sha256.Sum256(data)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	at := w.begin(t, bearer, name)
	if status := w.status(w.host, bearer, "PUT", at+query(at)+"digest="+digest, bytes.NewReader(data)); status != http.StatusCreated {
		t.Fatalf("upload: %d", status)
	}
	return digest
}

// begin begins an upload and gives its place.
func (w *world) begin(t *testing.T, bearer, name string) string {
	t.Helper()
	resp, err := w.call(w.host, bearer, "POST", "/v2/"+name+"/blobs/uploads/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	at := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusAccepted || !strings.HasPrefix(at, "/v2/"+name+"/blobs/uploads/") {
		t.Fatalf("upload: %d at %q", resp.StatusCode, at)
	}
	return at
}

func query(at string) string {
	if strings.Contains(at, "?") {
		return "&"
	}
	return "?"
}

// tokens shows tokens of every wrong kind to the door, and looks at what the registry itself says of good ones.
func (w *world) tokens(t *testing.T) {
	const manifest = "/v2/acme/web/shop/manifests/1"
	good := w.bearer(w.shop, "repository:acme/web/shop:pull")
	if at, past := w.status(w.host, good, "GET", manifest, nil), w.status(w.behind, good, "GET", manifest, nil); at != 200 || past != 200 {
		t.Fatalf("a good token: %d at the door, %d at the registry", at, past)
	}
	head, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	s, err := identity.LoadSigner(filepath.Join(w.keys, "registry.pem"), filepath.Join(w.keys, "registry.key"))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := jose.ParseSignedCompact(good, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	again := func(change func(map[string]any)) string {
		c := map[string]any{}
		d := json.NewDecoder(bytes.NewReader(signed.UnsafePayloadWithoutVerification()))
		d.UseNumber() // what is not changed is to stay as it was
		if err := d.Decode(&c); err != nil {
			t.Fatal(err)
		}
		change(c)
		data, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		chain := []string{base64.StdEncoding.EncodeToString(s.Signing().Chain[0].Raw)}
		opts := (&jose.SignerOptions{}).WithHeader("x5c", chain)
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: s.Signing().Key, KeyID: signed.Signatures[0].Protected.KeyID}}, opts)
		if err != nil {
			t.Fatal(err)
		}
		out, err := signer.Sign(data)
		if err != nil {
			t.Fatal(err)
		}
		text, err := out.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, token := range map[string]string{
		"tampered":         head + "." + strings.Replace(payload, payload[20:24], "AAAA", 1) + "." + signature,
		"another audience": again(func(c map[string]any) { c["aud"] = "other" }),
		"ended":            again(func(c map[string]any) { c["exp"] = c["iat"] }),
		"another issuer":   again(func(c map[string]any) { c["iss"] = "other" }),
		"no job":           again(func(c map[string]any) { delete(c, "jobward_job") }),
		"the job token":    w.shop.token,
	} {
		if status := w.status(w.host, token, "GET", manifest, nil); status != 401 {
			t.Errorf("%s: %d", name, status)
		}
	}
	if w.status(w.host, again(func(map[string]any) {}), "GET", manifest, nil) != 200 {
		t.Error("the way in which the others were forged forges no good one either")
	}
	// A mount takes the blob without a byte being sent; where it may not pull it may not mount.
	blob := w.upload(t, w.bearer(w.api, "repository:acme/platform/api:pull,push"), "acme/platform/api", random(1000, 7))
	secret := w.upload(t, w.bearer(w.warehouse, "repository:acme/platform/data/warehouse:pull,push"), "acme/platform/data/warehouse", random(1000, 8))
	both := w.bearer(w.shop, "repository:acme/web/shop:pull,push", "repository:acme/platform/api:pull", "repository:acme/platform/data/warehouse:pull")
	mount := "/v2/acme/web/shop/blobs/uploads/?mount=%s&from=%s"
	if status := w.status(w.host, both, "POST", fmt.Sprintf(mount, blob, "acme/platform/api"), nil); status != http.StatusCreated {
		t.Errorf("mount: %d", status)
	}
	if status := w.status(w.host, both, "POST", fmt.Sprintf(mount, secret, "acme/platform/data/warehouse"), nil); status != 401 {
		t.Errorf("mount of what it may not pull: %d", status)
	}
	form := strings.NewReader("mount=" + secret + "&from=acme/platform/data/warehouse")
	req, err := http.NewRequest("POST", w.url()+"/v2/acme/web/shop/blobs/uploads/", form)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+both)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if status := w.json(req, nil); status == http.StatusCreated {
		t.Error("a form mounted what was not asked about")
	}
}

// keyChange changes the key below the CA: the registry has been started once, and takes what is signed by the new one.
func (w *world) keyChange(t *testing.T) {
	const manifest = "/v2/acme/web/shop/manifests/1"
	old := w.bearer(w.shop, "repository:acme/web/shop:pull")
	kid := func(token string) string {
		s, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		return s.Signatures[0].Protected.KeyID
	}
	w.makeKeys()
	var fresh string
	programs.Eventually(t, "a token signed by the new key", func() bool {
		fresh = w.bearer(w.shop, "repository:acme/web/shop:pull")
		return kid(fresh) != kid(old)
	})
	if a, b := w.status(w.host, old, "GET", manifest, nil), w.status(w.host, fresh, "GET", manifest, nil); a != 200 || b != 200 {
		t.Errorf("old %d, new %d", a, b)
	}
	if out, err := w.copy(w.shop, w.at("acme/web/shop:1"), "oci:"+t.TempDir()); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// deadJob ends the job that everything was done with.
func (w *world) deadJob(t *testing.T) {
	const manifest = "/v2/acme/web/shop/manifests/1"
	token := w.bearer(w.shop, "repository:acme/web/shop:pull", "repository:acme/web/site:pull")
	w.revoke(w.shop)
	for _, path := range []string{manifest, "/v2/acme/web/site/manifests/1", "/v2/"} {
		if status := w.status(w.host, token, "GET", path, nil); status != 401 {
			t.Errorf("%s with the registry token of a job that ended: %d", path, status)
		}
	}
	if w.status(w.behind, token, "GET", manifest, nil) != 200 {
		t.Error("the registry itself knows that the job has ended, and this test proves nothing about the door")
	}
	out, err := w.login(w.shop)
	want(t, "login", "invalid username/password", out, err)
	out, err = w.copy(w.shop, w.at("acme/web/site:1"), "oci:"+t.TempDir()) // public, and not anonymous
	want(t, "pull of a public image", "the job token is not valid, or its job has ended", out, err)
}
