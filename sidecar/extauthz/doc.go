// Package extauthz is the door for Envoy: envoy.service.auth.v3.Authorization on the sidecar's gRPC listener, so that the ext_authz filter asks
// about each request and enforces the answer. Package gate judges; this package reads what Envoy tells of a request and words the answer.
// deploy/envoy/envoy.yaml is the recipe. Who may call is package grpccheck's table: a caller with the role service.
//
// # What is read
//
// Method and path as they came (Envoy's :path, with the query), headers, and the body where the filter sends it (with_request_body). Headers may
// come as a map, where Envoy joins those of one name by commas, or as a list (encode_raw_headers); both are looked at. The rest of a
// CheckRequest, context_extensions among it, says nothing that counts here.
//
// A body is searched for the parameters token and job_token: form fields, multipart fields and members of the outermost JSON object, in its first
// 64 KiB. A cut body (x-envoy-auth-partial-body, or more than that) counts as far as a token stands in it whole; else it counts as not seen. A
// body that is compressed, or of another type, is not searched. Envoy cannot change a body, so the service behind sees what stands there.
//
// # What is answered
//
// The RPC succeeds whenever there is an answer. An allowed request gets the identity headers, and loses job tokens and whatever the client sent as
// Jobward-*, in any spelling that a service may take for it. Envoy removes query parameters by name, and knows only ampersands between them: a
// job token that stands where Envoy cannot remove it is refused with 400.
//
//	HTTP status   CheckResponse.status
//	(allowed)     OK
//	401           UNAUTHENTICATED
//	503           UNAVAILABLE
//	others        PERMISSION_DENIED
//
// What is no proper request (no HTTP attributes, no path, bytes that are no CheckRequest) is 400, more than 1000 headers 431, and a message over
// the limit 413: answers and not errors, so that a filter with failure_mode_allow does not let them through. Only what has no answer is an
// error: a caller without the role, a message of more than twice the limit, which gRPC refuses before it is read, and a fault of ours.
//
// Dynamic metadata has, where they are known, job, project, user, target, reason, permission and revision, for access logs and for later
// filters, all as strings: a number in it would be a float. The reason is for the operator: clients are not told unless tell-reason is on.
//
// # Speed
//
// An answer from the cache should cost no more than an empty handler does. Half of that would go into decoding a CheckRequest by reflection, so it is
// read by hand (the few fields that count), and the answer is written by hand. The tests compare both with the generated code.
package extauthz
