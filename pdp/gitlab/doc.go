// Package gitlab is GitLab's REST API of job token allowlists, as an http.Handler over the engine: for the clients and tools that
// teams already have, such as GitLab's own libraries and the Terraform provider, unmodified (SEMANTICS §§16, 21). The PDP serves
// it on the address of its setting rest-addr.
//
// # What is there, below /api/v4
//
//	GET, PATCH         /projects/:id/job_token_scope                             the switch of the inbound list
//	GET, POST          /projects/:id/job_token_scope/allowlist                   the projects on it
//	PUT, PATCH, DELETE /projects/:id/job_token_scope/allowlist/:target           one of them
//	GET, POST          /projects/:id/job_token_scope/groups_allowlist            the groups on it
//	PUT, PATCH, DELETE /projects/:id/job_token_scope/groups_allowlist/:target    one of them
//	GET, PUT           /projects/:id                                             what is known of a project; its push switches
//	GET, PUT           /application/settings                                     enforcement for the whole instance
//	GET                /user                                                     the user that the key acts for, with which clients try a key
//	GET                /job                                                      the job that a job token belongs to
//
// An :id is the forge's number, or the full path with each slash written %2F. A :target in an address may be a path as well; in a body it is
// a number. Bodies are JSON or forms, of at most 64 KiB. A parameter may stand in the query, too, and nothing may be there twice.
//
// # To try it
//
// In development mode (pdp --rest-addr=127.0.0.1:7422, with the sample world) nobody needs a key, but says for whom it is done, by the
// name or id of a user in the header Sudo or PRIVATE-TOKEN. Let the project acme/web/site, which is number 13, in:
//
//	curl --fail --request POST --header "PRIVATE-TOKEN: erin" \
//	  --data target_project_id=13 \
//	  http://127.0.0.1:7422/api/v4/projects/acme%2Fplatform%2Fapi/job_token_scope/allowlist
//
// and see that it is on the list, with what its entry grants:
//
//	curl --fail --header "PRIVATE-TOKEN: erin" \
//	  "http://127.0.0.1:7422/api/v4/projects/14/job_token_scope/allowlist?job_token_policies=true"
//
// # Keys
//
// Outside development mode the address is HTTPS, and callers show a key of the callers file in PRIVATE-TOKEN or as "Authorization: Bearer KEY",
// or a client certificate. A job token never does: it is answered 401, dead or alive. Nor does a key in an address. A change that a page of another site
// has a browser make (Sec-Fetch-Site, or an Origin that is not this host) is answered 403.
//
// A key acts for one user, whose own rights count and no others:
//
//	pdp keys new terraform --role=maintainer --user=103
//
// prints the key, once, and its row for the callers file. Callers of the roles maintainer and admin whose row names no user name one in the header Sudo, by id or
// name, as they name users on the gRPC API; without it they are answered 403. Editing asks for maintainer on the project (403), and who cannot see a
// project is told that there is none (404).
//
// # Receipts
//
// An answer to a change waits, at most 10 s, until no sidecar answers from before it any more: after the 204 of a DELETE the next request of a job that was let in is
// refused, everywhere. Every change says so in a header:
//
//	Jobward-Receipt: effective; revision=812
//
// If a sidecar has neither confirmed nor lost its lease by then, the status is the same, because the change is made and durable, and the header says pending. To wait
// again, repeat a PATCH or PUT: one that changes nothing waits for everything before it. (A DELETE that is repeated is 400, as clients expect.)
//
// # Fine-grained permissions
//
// GitLab's REST API has no word for them (GraphQL does). Here POST takes two more parameters, and PUT or PATCH of an entry changes them:
//
//	default_permissions   true: everything that the user's role allows. False: job_token_policies and nothing else.
//	job_token_policies    names such as read_jobs, in either case; a list in JSON, with commas or as job_token_policies[] in a form
//
// With neither an entry has default permissions, as in GitLab; policies alone mean that default_permissions is false. PUT and PATCH do the same, and set both.
// An unknown policy is 400. GET of a list shows them with ?job_token_policies=true. PUT /projects/:id also knows ci_cross_project_push_for_job_token_allowed.
//
// # Where it differs from GitLab
//
//   - Of a project the directory knows its names, namespace, visibility, features and state. description, created_at, default_branch, ssh_url_to_repo, avatar_url and
//     last_activity_at are null, tag_list and topics are empty, star_count is 0, name is the last part of the path. web_url and http_url_to_repo are made from the
//     setting external-url, null without it. A personal namespace has no id.
//   - Of an entry that names what the user may not see there is the id and nothing else: with it the entry can be removed.
//   - inbound_enabled is true also while the instance keeps every list in force. Lists come by id, the project itself first; groups, too, by id.
//   - A PATCH of the switch ignores parameters that it does not know, as GitLab does. POST and PUT refuse them: a misspelt job_token_policies would grant everything, and a
//     description that is taken and not changed would be a lie. PUT /projects/:id takes the push switches alone.
//   - GET /application/settings is for every user, PUT for instance administrators. Beside GitLab's two fields that apply here it shows job_token_public_scope and the two
//     limits of lists.
//   - page is at least 1 and per_page at most 100, whatever is asked for; per_page below 1, and what is no number, is 400.
//   - In GET /job the ids of the job and its runner are numbers where they can be; the CI system may choose others. started_at is when the token was issued. A user who
//     is blocked makes it 403, everything else that ends a token 401.
//   - Neither multipart bodies nor the parameter private_token are taken.
//
// # How it is built
//
// A request passes [Handler.ServeHTTP]: its route is looked up in the one table (route.go) by the path as it was sent, so that %2F stays part of an id; then the caller is
// found (caller.go), then the parameters are read (params.go). No rule of editing is here: the engine judges the user's rights, and errors become statuses in one function
// (answer.go). Neither a query nor a header of a request gets into a log.
package gitlab
