// Package gate is what the HTTP doors of a sidecar have in common: from a request to the question it asks, and from the decision to how the
// answer looks from outside. It finds the route (package route), finds the job token on it (SEMANTICS §4), asks, and words the answer
// (§§0.4, 10.3, 12, 15). It reads from no connection and writes no response: those are the doors' own, forwardauth, extauthz, registry, and package
// proxy. What several of them need to know of a request is here: which fields of a body may hold a token ([BodyOf]), and who is at the other end ([Peer]).
//
// # Which token counts
//
// Looked at are the places that the route has (§4.2), and no other: elsewhere a token is not seen, and the request is anonymous (§4.6).
//
//	Authorization: Bearer   a job token if it has the shape of one; else somebody else's credential, and not ours to judge
//	Authorization: Basic    with exactly the user gitlab-ci-token; any other user is somebody else's credential
//	job_token, token        in the query, and in the body where the door has read it; on the trigger route a token that has not the shape of
//	                        one of ours may be a pipeline trigger token: somebody else's
//	JOB-TOKEN               the header, also if a proxy has joined two of them by a comma
//
// Blank counts as absent. Two different tokens on one request are refused with 400, whichever would have come first (§4.3): what is behind
// might take the other. The same token twice is one token. What is longer than any token is unknown, and nothing else about it is looked at
// (§4.8). A token that is there and opens nothing is refused with 401, on public data too, and never becomes an anonymous request (§4.4). A
// job token in PRIVATE-TOKEN is no login (§4.5) and refused the same way, so that it is not passed on.
//
// Other people's credentials are no token: with [Judge] such a request may do what an anonymous visitor may.
//
// # What is not passed on
//
// [Verdict.Query] has no job token in it, whatever the parameter is called; [Verdict.DropAuthorization] tells that the header holds one; and
// headers that [Stripped] knows belong to us: JOB-TOKEN, and those that tell the service whose job it is. A request that asks the service to
// take it for another one than was judged (X-HTTP-Method-Override and its kind) is refused with 400.
//
// # How refusals look
//
//	               no token  dead token  user blocked  not for this job  not to be seen  seen, but not this  two tokens  undecided
//	route.REST        401        401          403             403              404              403             400         503
//	route.Git         401        401          401             403              404              403             400         503
//	route.Runner      403        403          403             403              403              403             403         503
//	route.Own         401        401          403             403              403              403             400         503
//	route.Trigger     401        401          403             403              404              400             400         503
//
// "Not for this job" is what the job limited itself to, and what no job token opens: the same for any project. "Not to be seen" covers a project that
// does not exist, and both look the same to the byte. For anonymous visitors both are 401. The reason stands in the decision record of the PDP, and
// here only if the operator wants it told. Runners are told by the header Job-Status that the job has ended.
package gate
