package registry

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// image writes an image of one layer, which differs by seed, as an OCI layout: skopeo takes it as oci:DIR.
func image(t *testing.T, dir string, seed uint64) {
	t.Helper()
	blob := func(data []byte) map[string]any {
		sum := sha256.Sum256(data)
		name := hex.EncodeToString(sum[:])
		put(t, filepath.Join(dir, "blobs", "sha256", name), data)
		return map[string]any{"digest": "sha256:" + name, "size": len(data)}
	}
	typed := func(kind string, d map[string]any) map[string]any {
		d["mediaType"] = "application/vnd.oci.image." + kind
		return d
	}
	encode := func(v any) []byte {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	layer := layerOf(t, seed)
	sum := sha256.Sum256(layer)
	config := typed("config.v1+json", blob(encode(map[string]any{
		"architecture": "amd64", "os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
	})))
	manifest := typed("manifest.v1+json", blob(encode(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": []any{typed("layer.v1.tar", blob(layer))},
	})))
	put(t, filepath.Join(dir, "index.json"), encode(map[string]any{"schemaVersion": 2, "manifests": []any{manifest}}))
	put(t, filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`))
}

// layerOf is a tar of one file of 64 KiB.
func layerOf(t *testing.T, seed uint64) []byte {
	t.Helper()
	content := random(64<<10, seed)
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// random gives the same bytes for a seed every time.
func random(size int, seed uint64) []byte {
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(data)
	return data
}

func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// json sends a request and reads the answer.
func (r *rig) json(req *http.Request, to any) (status int) {
	r.t.Helper()
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if to != nil && json.Unmarshal(data, to) != nil {
		r.t.Fatalf("%d: %s", resp.StatusCode, data)
	}
	return resp.StatusCode
}

// call makes a call of the registry API with a registry token, at the door or, with another host, past it.
func (r *rig) call(host, bearer, method, path string, body io.Reader) (*http.Response, error) {
	r.t.Helper()
	base := "http://" + host
	if host == r.host {
		base = r.url()
	}
	req, err := http.NewRequest(method, base+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	req.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json") // else there is none
	if body != nil {
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	return r.client.Do(req)
}

// status is what a call answers.
func (r *rig) status(host, bearer, method, path string, body io.Reader) int {
	r.t.Helper()
	resp, err := r.call(host, bearer, method, path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode
}
