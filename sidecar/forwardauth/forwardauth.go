package forwardauth

import (
	"net/http"
	"net/netip"
	"strconv"

	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/route"
)

// Options are the settings of a door.
type Options struct {
	// Gate judges; it must be set.
	Gate *gate.Gate
	// TrustedProxies are the addresses that may ask. Empty trusts none.
	TrustedProxies []netip.Prefix
	// TrustUnix trusts whoever connects through a Unix socket: its file mode says who that can be.
	TrustUnix bool
	// RefuseQueryTokens refuses with 400 what would be allowed by a job token in the query: for proxies that cannot take it out before they
	// pass the request on.
	RefuseQueryTokens bool
}

// The paths that are answered.
const (
	Path      = "/auth"       // Traefik and Caddy
	NginxPath = "/auth/nginx" // nginx
)

// Headers of answers, beside those of package gate.
const (
	URIHeader         = "Jobward-Uri"
	OutcomeHeader     = "Jobward-Outcome"
	MessageHeader     = "Jobward-Message"
	MessageTypeHeader = "Jobward-Message-Type"
)

type handler struct {
	gate  *gate.Gate
	peers []netip.Prefix
	unix  bool
	// refuseQuery is Options.RefuseQueryTokens.
	refuseQuery bool
}

// New makes the handler of both dialects. It keeps a copy of the options.
func New(o Options) http.Handler {
	h := &handler{gate: o.Gate, unix: o.TrustUnix, refuseQuery: o.RefuseQueryTokens}
	for _, p := range o.TrustedProxies {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		h.peers = append(h.peers, p)
	}
	return h
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var d *dialect
	switch r.URL.Path {
	case Path:
		d = &forward
	case NginxPath:
		d = &nginx
	}
	switch {
	case !h.trusted(r):
		// Before anything else, and the same for every path: a stranger learns nothing from us.
		refuse(w, http.StatusForbidden, textType, "This address is not one of the proxies that may ask here. Name it in the settings of the sidecar.")
	case d == nil || r.Method != http.MethodGet:
		refuse(w, http.StatusNotFound, textType, "Here is nothing but the questions of proxies: GET "+Path+" and GET "+NginxPath+".")
	default:
		h.ask(w, r, d)
	}
}

// trusted reports whether the peer of the connection is one of the proxies.
func (h *handler) trusted(r *http.Request) bool {
	peer, socket := gate.Peer(r)
	return socket && h.unix || gate.Among(h.peers, peer)
}

// ask judges the request that r tells of.
func (h *handler) ask(w http.ResponseWriter, r *http.Request, d *dialect) {
	o, no := d.original(r.Header)
	if no != nil {
		d.refuse(w, no.status, nil, textType, no.text)
		return
	}
	v := h.gate.Judge(r.Context(), &gate.Request{Request: o.Request, Header: r.Header})
	if !v.Allow {
		d.refuse(w, v.Status, v.Header, v.ContentType, v.Body)
		return
	}
	if h.refuseQuery && v.Query != o.Query {
		d.refuse(w, http.StatusBadRequest, nil, textType, "A job token in the query would be passed on to the service. Put it into the header JOB-TOKEN.")
		return
	}
	authorization := ""
	if a := r.Header["Authorization"]; len(a) > 0 && !v.DropAuthorization {
		authorization = a[0]
	}
	job, project, user := gate.IdentityOf(&v)
	values := []string{job, project, user, o.without(v.Query), authorization}
	head := w.Header()
	for i, name := range [...]string{gate.JobHeader, gate.ProjectHeader, gate.UserHeader, URIHeader, "Authorization"} {
		head[name] = values[i : i+1 : i+1]
	}
	w.WriteHeader(http.StatusNoContent)
}

const textType = "text/plain; charset=utf-8"

func refuse(w http.ResponseWriter, status int, contentType, body string) {
	head := w.Header()
	head.Set("Content-Type", contentType)
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write([]byte(body)) // who has gone away reads nothing
}

// refuse says no as the dialect has it.
func (d *dialect) refuse(w http.ResponseWriter, status int, headers [][2]string, contentType, body string) {
	head := w.Header()
	for _, h := range headers {
		head.Add(h[0], h[1])
	}
	head.Set("Cache-Control", "no-store")
	if d.statuses {
		refuse(w, status, contentType, body)
		return
	}
	head.Set(OutcomeHeader, strconv.Itoa(status))
	head.Set(MessageHeader, body)
	head.Set(MessageTypeHeader, contentType)
	if status != http.StatusUnauthorized {
		status = http.StatusForbidden
	}
	refuse(w, status, contentType, body)
}

// original is a request as the proxy tells it.
type original struct {
	route.Request
	uri string
}

// without gives the URI with another query.
func (o *original) without(query string) string {
	switch {
	case len(query) == len(o.Query):
		return o.uri // only ever shortened
	case query == "":
		return o.Path
	}
	return o.Path + "?" + query
}
