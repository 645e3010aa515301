// Package forwardauth answers proxies that ask before they pass a request on: nginx with auth_request, and Traefik and Caddy with forward-auth.
// It judges the original request, which the proxy describes in headers, by package gate. It answers nothing else.
//
// # What proxies must send
//
// The subrequest is a GET without a body, with all headers of the original request, and with
//
//	/auth/nginx   X-Original-Method: $request_method    X-Original-URI: $request_uri     (set by the recipe)
//	/auth         X-Forwarded-Method                    X-Forwarded-Uri                  (set by Traefik and Caddy themselves)
//
// each exactly once. The URI is what stood on the request line: nginx's $uri is decoded and merged, and would be judged as another one. It
// begins with a slash: all three proxies give the path and query only, also of a request line with a whole URL in it. Refused with 400 are
// a header that is missing or there twice, an unknown form of method, a URI with a fragment, a space or a control character, the headers of both
// dialects where they differ (a client's, that the proxy has not taken away), more than one Authorization, and our own headers in a spelling
// that the proxy would not take away (Jobward_Job), and X_HTTP_Method_Override and its kind. A URI above 8 KiB is refused with 414.
//
// Nobody is believed but Options.TrustedProxies: anybody who can set these headers chooses what is judged. Traefik must not be told to trust
// X-Forwarded-* of its clients, and must not be told to keep the method of the request (preserveRequestMethod) or its body.
//
// The subrequest has no body, so a token in a form is not seen here (the trigger's token=…): such a request is one without a token. Use the
// reverse proxy, or Envoy with request bodies, for these.
//
// # What they get
//
// Allowed is 204 with these headers, all of them always there, and empty where there is nothing to say, so that what the recipe copies replaces
// what a client made up:
//
//	Jobward-Job, Jobward-Project, Jobward-User   whose job it is; empty for an anonymous visitor
//	Jobward-Uri                                  path and query as judged, without job tokens: with nginx, pass this on, and log this
//	Authorization                                as the client sent it, or empty if it held a job token: pass this on
//
// Refused is, for /auth, the whole answer for the client: status, headers, body. For /auth/nginx, which knows no more than these, it is 401 with
// WWW-Authenticate, or 403 for everything else, with
//
//	Jobward-Outcome        the real status: 400, 403, 404, 414, 503
//	Jobward-Message        the body, one line
//	Jobward-Message-Type   its Content-Type
//	Retry-After, Job-Status, Jobward-Reason      where package gate has them
//
// A request from somebody who is not trusted gets 403 without Jobward-Outcome.
//
// # What recipes must do
//
// nginx:
//
//	location = /auth/nginx {
//	    internal;
//	    proxy_pass http://…;
//	    proxy_pass_request_body off;
//	    proxy_set_header Content-Length "";               # else we wait for the body
//	    proxy_set_header X-Original-Method $request_method;
//	    proxy_set_header X-Original-URI $request_uri;
//	    proxy_set_header X-Forwarded-Method "";           # a client's own would conflict
//	    proxy_set_header X-Forwarded-Uri "";
//	    proxy_http_version 1.1; proxy_set_header Connection "";   # and keepalive in the upstream block
//	}
//
// In the guarded location: auth_request_set a variable from each $upstream_http_… above (jobward_job, jobward_uri, authorization and so on);
// proxy_set_header for the three identity headers, for Authorization, and Job-Token ""; proxy_pass to http://backend$jobward_uri, so that the
// service gets the very path that was judged and no token; error_page 403 to a named location that returns $jobward_outcome's status with
// $jobward_message. The access log must not contain $request, $request_uri or $args (use $jobward_uri), and the error log must be kept above
// the levels at which nginx writes request lines: both may hold ?job_token=. Headers with underscores stay off (the default).
//
// Caddy: in one route block request_header -Connection (what it names would be dropped from the question, and from what is passed on),
// request_header -X-Original-Method and -X-Original-Uri, forward_auth with copy_headers for the five headers above, request_header -Job-Token. Do
// not rewrite to Jobward-Uri: Caddy encodes a path from a placeholder once more, and expands what a client has put into braces in the query. And do
// not take tokens out with uri replace, which replaces the same text in the path: another path would be served than was judged. From Caddy 2.8 on
// they are taken out of queries by uri query -job_token -token; before, set Options.RefuseQueryTokens. Caddy sends the query of the request to us
// as well (GET /auth?job_token=…): nothing between may log it.
//
// Traefik: authResponseHeaders with the five headers and Job-Token, which is not in the answer and so is removed. At the entry point
// forwardedHeaders.connection with Job-Token and Authorization, and in a headers middleware before it an empty Connection: what is named there is dropped
// else, before anybody has judged it. encodeQuerySemicolons, since it makes an ampersand of a semicolon. It cannot take a token out of a query.
//
// Where the proxy cannot, either the service is trusted with tokens of its jobs, or Options.RefuseQueryTokens, or the reverse proxy.
//
// nginx's ingress controller for Kubernetes sends X-Original-URL, which package gate refuses: some services obey it.
package forwardauth
