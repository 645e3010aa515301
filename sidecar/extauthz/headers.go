package extauthz

import (
	"strings"

	"github.com/jobward/jobward/sidecar/gate"
)

// header is one header as Envoy tells of it.
type header struct {
	key, value string // the key in lower case, unless somebody else tells
	mapped     bool   // it is of the map, where a name comes once
}

// headers are those of one request; it implements gate.Headers.
type headers struct {
	list   []header
	values []string // what Values gave, all in one piece of memory
}

// add takes one header. Of the map's entries with one name the last one counts, as in package proto.
func (h *headers) add(key, value string, mapped bool) {
	if mapped {
		for i := range h.list {
			if h.list[i].mapped && h.list[i].key == key {
				h.list[i].value = value
				return
			}
		}
	}
	h.list = append(h.list, header{key, value, mapped})
}

// Values implements gate.Headers.
func (h *headers) Values(name string) []string {
	from := len(h.values)
	for i := range h.list {
		if k := h.list[i].key; len(k) == len(name) && named(k, name) {
			h.values = append(h.values, h.list[i].value)
		}
	}
	return h.values[from:len(h.values):len(h.values)]
}

// named compares a name with a canonical one of the same length. In names that begin with X- an underscore is a hyphen: those ask a service to take the
// request for another one, and are refused, and a service may read the sign either way.
func named(key, name string) bool {
	x := name[0] == 'X'
	for i := range len(key) {
		k, n := key[i], name[i]
		if 'A' <= k && k <= 'Z' {
			k += 'a' - 'A'
		}
		if 'A' <= n && n <= 'Z' {
			n += 'a' - 'A'
		}
		if k != n && !(x && k == '_' && n == '-') {
			return false
		}
	}
	return true
}

// ambiguous reports whether Authorization holds several credentials of which one may be a job token: two headers that Envoy has joined, of which
// gate would see one and the service behind perhaps the other. Other schemes have commas within one credential.
func (h *headers) ambiguous() bool {
	for _, value := range h.Values("Authorization") {
		if strings.IndexByte(value, ',') < 0 {
			continue
		}
		for piece := range strings.SplitSeq(value, ",") {
			scheme, _, _ := strings.Cut(strings.TrimSpace(piece), " ")
			if strings.EqualFold(scheme, "basic") || strings.EqualFold(scheme, "bearer") {
				return true
			}
		}
	}
	return false
}

// Our headers as Envoy has them, in lower case.
const (
	tokenHeader   = "job-token"
	jobHeader     = "jobward-job"
	projectHeader = "jobward-project"
	userHeader    = "jobward-user"
)

// remove calls take for every header that the client sent and the service must not see, but for the identity headers by their proper names, which are
// overwritten or removed in any case, and for job-token, likewise.
func (h *headers) remove(take func(name string)) {
	for i := range h.list {
		k := h.list[i].key
		if len(k) < len("jobward-") || !gate.Stripped(k) {
			continue
		}
		switch k {
		case jobHeader, projectHeader, userHeader, tokenHeader:
		default:
			take(k)
		}
	}
}
