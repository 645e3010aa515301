package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/jobward/jobward/test/programs"
)

// large is more than all the buffers between a registry and a client that does not read.
const large = 64 << 20

// pullCut ends a job in the middle of a blob.
func (w *world) pullCut(t *testing.T) {
	data := random(large, 11)
	digest := w.upload(t, w.bearer(w.shop, "repository:acme/web/shop:pull,push"), "acme/web/shop", data)
	path := "/v2/acme/web/shop/blobs/" + digest
	j := w.job(shop, dana)
	resp, err := w.call(w.host, w.bearer(j, "repository:acme/web/shop:pull"), "GET", path, nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	defer resp.Body.Close()
	if _, err := io.CopyN(io.Discard, resp.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	w.revoke(j)
	rest, err := io.Copy(io.Discard, resp.Body)
	if err == nil || 1<<20+rest >= large {
		t.Errorf("the pull of a job that ended went on to %d of %d bytes: %v", 1<<20+rest, large, err)
	}
	t.Logf("cut after %d of %d MiB: %v", (1<<20+rest)>>20, large>>20, err)

	// The same pull by a job that lives is whole.
	resp, err = w.call(w.host, w.bearer(w.shop, "repository:acme/web/shop:pull"), "GET", path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if whole, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(whole, data) {
		t.Errorf("%d bytes: %v", len(whole), err)
	}
}

// pushCut ends a job in the middle of an upload, whose last byte is sent after that.
func (w *world) pushCut(t *testing.T) {
	data := random(8<<20, 12)
	sum := sha256.Sum256(data)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	j := w.job(shop, dana)
	bearer := w.bearer(j, "repository:acme/web/shop:pull,push")
	at := w.begin(t, bearer, "acme/web/shop")
	reader, writer := io.Pipe()
	defer writer.Close()
	done := make(chan error, 1)
	go func() {
		resp, err := w.call(w.host, bearer, "PUT", at+query(at)+"digest="+digest, reader)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusCreated {
				done <- errors.New("it was taken")
				return
			}
		}
		done <- nil
		reader.Close()
	}()
	if _, err := writer.Write(data[:4<<20]); err != nil {
		t.Fatal(err)
	}
	w.revoke(j)
	select { // while nothing more is sent
	case err := <-done:
		if err != nil {
			t.Errorf("the push of a job that ended: %v", err)
		}
	case <-time.After(programs.Patience):
		t.Error("the push of a job that ended is held")
	}
	writer.Write(data[4<<20:]) // fails or not: nobody may be there any more
	writer.Close()
	if status := w.status(w.host, w.bearer(w.shop, "repository:acme/web/shop:pull"), "HEAD", "/v2/acme/web/shop/blobs/"+digest, nil); status != 404 {
		t.Errorf("the blob is there: %d", status)
	}
}
