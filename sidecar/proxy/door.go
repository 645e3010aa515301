package proxy

import (
	"context"
	"net/http"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/route"
)

// Door is an HTTP handler that judges requests, passes on those that are allowed, and goes on judging. Its fields are set before the first request
// and not changed afterwards.
type Door struct {
	// Gate judges; it must be set.
	Gate *gate.Gate
	// Service is what allowed requests are passed on to; it must be set.
	Service *Upstream
	// Done, if set, is told what became of each request that was passed on.
	Done func(Outcome)
}

// ServeHTTP implements http.Handler.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer Hurry(w, r)
	path, err := RawPath(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	asked := gate.Request{Request: route.Request{Method: r.Method, Path: path, Query: r.URL.RawQuery}, Header: r.Header}
	v := d.Gate.Judge(r.Context(), &asked)
	if kind := d.inBody(r, &v); kind != nil {
		asked.Form, err = search(w, r, searchTime, kind, func(f gate.Field) bool {
			return f.Name == "job_token" || v.Route.Carriers&route.Param != 0 || !d.Gate.Asker.Digest(strings.TrimSpace(f.Value)).IsZero()
		})
		if err != nil {
			refuseBody(w, err)
			return
		}
		if asked.Form != nil {
			v = d.Gate.Judge(r.Context(), &asked)
		}
	}
	if !v.Allow {
		refuseAs(w, &v)
		return
	}
	job, project, user := gate.IdentityOf(&v)
	p := Passage{Query: v.Query, DropAuthorization: v.DropAuthorization}
	if job != "" {
		p.Set = [][2]string{{gate.JobHeader, job}, {gate.ProjectHeader, project}, {gate.UserHeader, user}}
	}
	if !v.Question.Token.IsZero() {
		p.Ask = func(ctx context.Context) bool { return Allows(ctx, d.Gate.Asker, v.Question) }
		p.Refuse = func(w http.ResponseWriter) {
			v := d.Gate.Judge(r.Context(), &asked)
			if v.Allow { // again, or for others than who was cut
				panic(http.ErrAbortHandler)
			}
			refuseAs(w, &v)
		}
	}
	d.Service.Serve(w, r, p, d.Done)
}

// Allows asks a question once more; what cannot be decided is no allow.
func Allows(ctx context.Context, of authz.Decider, q authz.Request) bool {
	d, err := of.Check(ctx, q)
	return err == nil && d.Allow
}

// inBody gives how the body of r is searched for a token; nil when it is not.
func (d *Door) inBody(r *http.Request, v *gate.Verdict) *gate.Body {
	if v.Route == nil || v.Route.Open || v.Route.Carriers&(route.Param|route.ParamTok) == 0 || r.Body == nil || r.ContentLength == 0 {
		return nil
	}
	// What stands where the route does not look is no token, and hides none.
	if seen := v.Question.Token != authz.Nobody && v.Reason != authz.TokenMissing && !(v.Allow && v.Question.Token.IsZero()); seen {
		return nil
	}
	return gate.BodyOf(r.Header)
}
