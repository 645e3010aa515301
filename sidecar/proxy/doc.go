// Package proxy is the reverse-proxy door: it judges each request to a service, passes on what is allowed, and goes on judging until the last byte.
//
// [Door] is the whole: package gate judges, an [Upstream] passes on. [Upstream] alone is for doors that judge by other means (package registry).
//
// # Judged until the end
//
// The question that a request was allowed by is asked again before every chunk that is passed on, in either direction, before the end of a body
// is passed on (an upload that is not ended is not taken), and once a second while nothing flows. From the cache this takes a fraction of a
// microsecond. The first answer that is no allow cuts, for good: the request to the service is cancelled, and the client's connection is broken,
// reset where that can be done, so that nobody takes a part for the whole. Where no byte of the answer has left yet, the client gets the
// refusal instead. So once a receipt says that a revocation is effective, no further chunk is begun. What is in the kernel's buffers already,
// or on the wire, is out: that is what a reset throws away where it can.
//
// What cannot be decided is no allow (P2), and there is no grace. But the question waits as any other does, up to the wait and the timeout of package
// pep, and the chunk waits with it: a PDP that restarts cuts no transfer whose lease runs.
//
// Each of these questions counts as one: among the cache's hits, and in the counts of the PDP's audit log, where it keeps allowed decisions. Requests are
// counted by jobward.verdicts, those twice whose token is in the body, and those passed on by jobward.passages.
//
// # What is passed on
//
// The bytes of the path as they came, so that what was judged is what is served; the query less its job tokens; the body as it comes, without
// bound, in chunks, both ways at once. The Host is the client's. Not passed on:
//
//   - job tokens, and headers and trailers that begin with Jobward-, which only this door sets, in either direction;
//   - headers with an underscore or a dot in their name, which CGI and its heirs take for another header;
//   - headers that ask a service to take another path or method than the request line's (X-Original-URL, X-HTTP-Method-Override and so on). A
//     service that takes a method from the body (a form field _method) must be told not to;
//   - X-Forwarded-* and X-Real-Ip of a client that is no trusted proxy: they are replaced;
//   - upgrades. An h2c upgrade is ignored, as it may be; others, WebSocket among them, are refused with 501, since nothing would judge them.
//
// Refused with 400 are request lines with anything but a path (absolute URLs, *), paths that begin with two slashes, CONNECT and TRACE. A service that cannot be reached is 502, with words.
//
// Clients may be slow: nothing bounds how long a body takes, in either direction. Bounded are headers (by the server that the door is in), the search
// below, and what comes of an upload after its answer.
//
// # Tokens in a body
//
// Only on routes that take a token as a parameter, and only when the request showed none elsewhere, the body is searched for the fields token and
// job_token: at most 64 KiB of it, in at most ten seconds. The rest of the body is passed on as it is.
//
//   - application/x-www-form-urlencoded and JSON (fields of the outermost object): the whole body must have at most 64 KiB. The fields are removed;
//     what has a token in it and is no JSON is answered 400.
//   - multipart/form-data: reading stops behind the first part that holds a token, and what follows is streamed. The parts are dropped. A second token
//     behind that is neither looked at nor removed: put the token first, and once.
//
// A larger body without a token in front is answered 413: put the token into the header JOB-TOKEN. A body with a Content-Encoding is not searched.
// Where a request shows a token elsewhere its body is not looked at, and a service must not take a token from it.
package proxy
