package registry

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/gate"
)

// need is one thing that a request does to a repository: what is asked, and the access that its token must have.
type need struct {
	name       string
	permission authz.Permission
	access     actions
}

var (
	toPull   = need{permission: "pull_image", access: pull}
	toPush   = need{permission: "push_image", access: pull | push} // as registries want it: what is pushed is looked for first
	toDelete = need{permission: "delete_image", access: remove}
)

func (n need) of(name string) need {
	n.name = name
	return n
}

// methods says what a method needs at one kind of place; none of them is taken elsewhere.
type methods map[string]need

var (
	atManifest = methods{http.MethodGet: toPull, http.MethodHead: toPull, http.MethodPut: toPush, http.MethodDelete: toDelete}
	atBlob     = methods{http.MethodGet: toPull, http.MethodHead: toPull, http.MethodDelete: toDelete}
	atUploads  = methods{http.MethodPost: toPush}
	atUpload   = methods{http.MethodGet: toPush, http.MethodHead: toPush, http.MethodPatch: toPush, http.MethodPut: toPush, http.MethodDelete: toDelete}
	atList     = methods{http.MethodGet: toPull, http.MethodHead: toPull}
)

var (
	noPlace  = &refusal{status: http.StatusNotFound, code: codeUnsupported, text: "this registry has no such call", outcome: gate.Unrouted}
	noMethod = &refusal{status: http.StatusMethodNotAllowed, code: codeUnsupported, text: "this registry takes no such method there", outcome: gate.Unrouted}
	noList   = &refusal{status: http.StatusForbidden, code: codeDenied, text: "this registry tells nobody which repositories there are", outcome: gate.CallerRefused}
	noName   = &refusal{status: http.StatusBadRequest, code: codeName, text: "that is no name of a repository, or no reference in one", outcome: gate.BadRequest}
)

// needsOf says what a request to a registry does. path is that of the request line and begins with /v2/. What it takes has one meaning only: there is
// nothing in it that a registry could decode once more, or clean.
func needsOf(method, path, query string) (needs []need, no *refusal) {
	// Some clients encode the colon of a digest; nothing else is taken encoded.
	path = strings.ReplaceAll(strings.ReplaceAll(path, "%3A", ":"), "%3a", ":")
	if strings.IndexByte(path, '%') >= 0 {
		return nil, bad("a path of a registry has nothing that needs percent-encoding")
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, bad("the query cannot be read")
	}
	rest := strings.TrimPrefix(path, root)
	switch rest {
	case "":
		if method != http.MethodGet && method != http.MethodHead {
			return nil, noMethod
		}
		return nil, nil
	case "_catalog":
		return nil, noList
	}
	name, at, ok := place(rest)
	if at == nil {
		return nil, noPlace
	}
	if !ok || !validName(name) {
		return nil, noName
	}
	n, ok := at[method]
	if !ok {
		return nil, noMethod
	}
	needs = []need{n.of(name)}
	switch from := values["from"]; {
	case len(from) > 1 || len(values["mount"]) > 1:
		return nil, bad("mount and from may be there once")
	case len(from) == 1 && from[0] != "":
		if !validName(from[0]) {
			return nil, noName
		}
		needs = append(needs, toPull.of(from[0]))
	}
	return needs, nil
}

// place splits a path behind /v2/ by its end. at is nil for an end that no call has; ok tells that what stands behind the name is well-formed.
func place(rest string) (name string, at methods, ok bool) {
	parts := strings.Split(rest, "/")
	n := len(parts)
	if n < 3 {
		return "", nil, false
	}
	last := parts[n-1]
	before := func(k int) string { return strings.Join(parts[:n-k], "/") }
	switch {
	case n > 3 && parts[n-3] == "blobs" && parts[n-2] == "uploads" && last == "":
		return before(3), atUploads, true
	case n > 3 && parts[n-3] == "blobs" && parts[n-2] == "uploads":
		return before(3), atUpload, validUpload(last)
	case parts[n-2] == "manifests":
		return before(2), atManifest, validTag(last) || validDigest(last)
	case parts[n-2] == "blobs":
		return before(2), atBlob, validDigest(last)
	case parts[n-2] == "referrers":
		return before(2), atList, validDigest(last)
	case parts[n-2] == "tags" && last == "list":
		return before(2), atList, true
	}
	return "", nil, false
}
