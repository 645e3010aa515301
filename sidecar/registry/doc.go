// Package registry is the door of a container registry (SEMANTICS §11): the token endpoint that docker, containerd, skopeo and crane log in at,
// and the front that stands before the registry itself. The registry can be any that speaks the distribution API.
//
// # Paths
//
//	/jwt/auth   answers registry tokens, to GET with Basic and to POST with grant_type=password
//	/jwt/jwks   the public keys that tokens are signed with
//	/v2/…       the registry behind, judged request by request and until the last byte
//
// All are on one listener, since crane refuses a token endpoint that is a loopback address on another port than the registry.
//
// # Login
//
// The user is gitlab-ci-token and the password a job token. No Authorization at all is an anonymous visitor, who gets what is public. Any other user,
// a blank password, a token that is dead, and any Authorization that is not Basic are 401, on public data too. A login that asks for
// no scope gets a token that opens nothing, if its job lives. The parameters account, client_id and offline_token say nothing here; service, if
// it is there, must be the one of the settings.
//
// # Scopes
//
// A scope is type:name:action,action; the parameter may be repeated, and holds several with spaces between. Answered with 400 and words: more
// than 16 scopes, one of more than 512 bytes, anything but printable ASCII, a missing type, name or colon, an action that is no word, and a query
// that cannot be read. Left out, as if not asked for: other types than repository, so registry:catalog too; types with a class, such as
// repository(plugin); names that are no repository's (more than 255 bytes or 24 components, a capital, a host with a port), or that no project has;
// unknown actions, and none; and whatever the job may not do (§11.4). Several scopes of one repository are one.
//
// pull asks pull_image, push asks push_image, delete asks delete_image, and * all three; the token has * only when all three are allowed. A
// repository belongs to the project that is its longest prefix of at least two components. Projects with a capital in their path cannot be named in a
// registry, whose names have none.
//
// # Tokens
//
// Signed with ES256 or RS256. The header has the certificate chain (x5c), so that a registry needs the CA alone, in its rootcertbundle, and
// the key below it can change without touching the registry; kid is the thumbprint of RFC 7638. A registry that has the JWKS and no
// rootcertbundle refuses tokens with a chain. They live for five minutes by default, and no longer than the job's token could without
// a heartbeat or after its timeout; but a minute at least: clients take any token to be good for so long, and a job that must be heard of every 30 seconds
// could else push nothing large. What has ended opens nothing here whatever its registry token says. A registry that is reached past this
// door knows nothing of that in any case.
//
// The claim jobward_job holds the digest of the job token, so that each request can be asked about. The digest opens nothing: every door hashes what it
// is shown, and the text cannot be found from the hash, having 160 random bits. Whoever can ask the PDP about digests may ask about
// any job by other ways too. Something weaker, a job's number, would not do: a re-issued job has another token, and the old one must stay dead (R7). A
// random name would need a table, which a restart forgets and replicas do not share.
//
// # The front
//
// A request without a Bearer token is answered by the front itself: 401 with a challenge that names its own realm, so it does not matter what the
// registry behind calls itself, or whether it asks for tokens at all. The token must be signed by a key of the settings (by kid; x5c and jwk in a
// header are not looked at), for this service and issuer, not past its end by a second, and hold the access that the request needs. Then the
// question itself is asked (pull_image, push_image or delete_image on that project), from the cache of package pep, and again before each chunk
// (package proxy): when the job ends, its pulls and pushes break off in the middle. The registry behind checks the token too, and would
// alone honour it for up to 60 seconds after its end.
//
//	GET, HEAD of manifests, blobs, tags/list, referrers    pull
//	PUT of manifests; all of blobs/uploads but DELETE      push (the token must have pull and push, as the registry wants)
//	DELETE                                                 delete
//	a parameter from, as in a cross-repository mount       pull there, too
//	GET, HEAD of /v2/                                      a job that lives, or an anonymous token
//	_catalog and everything else                           refused
//
// Answers that lead elsewhere are refused with 502: a redirect to a storage service would be a download that nothing can cut. Set
// storage.redirect.disable in the registry. A Location of an upload is made a path, so that it leads back here. The content type of a form is
// replaced: registries look for mount and from in a form as well, and would find there what was not judged.
//
// # Metrics
//
//	jobward.registry.logins          by outcome: granted (all that was asked for), partly, nothing (a token that opens nothing), dead, user_refused,
//	                                 malformed (no job's credentials), bad_request, undecided (no token can be signed, too)
//	jobward.verdicts                 requests to /v2/, by outcome (package gate); door is Registry. no_token begins every pull: it is how clients find
//	                                 the token endpoint. bad_login is a registry token that has ended, is another's, or is for less than this
//	jobward.decisions                the answers that logins and requests hung on, as at the other doors
//	jobward.passages                 what became of requests that were passed on: served, cut, failed (package proxy)
//	jobward.registry.signing.expiry  seconds until the certificate of the key ends, or one of its chain: then no login succeeds
//
// # Keys that change
//
// The files are read again when they change. What was signed with the key before is taken until it has ended. Certificates behind the chain that are no
// CA's are other signers, whose tokens are taken and whose keys are in the JWKS: the next one, or those of replicas. From 30 days before the certificate
// ends the log says so once a day ([Handler.Run]).
package registry
