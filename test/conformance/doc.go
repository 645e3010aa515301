// Package conformance puts one corpus of questions (pdp/scenario/testdata/cases) to every door of the system, and wants one verdict of all of them:
// the rule alone, the PDP's gRPC, its REST, the caching library, the sidecar's gRPC, Envoy's ext_authz, forward-auth in both dialects, the reverse
// proxy, and the container registry.
//
// Each scenario is a world of its own: a real engine on a store in memory, a real server, a real cache. Tokens are the one thing that is made up: scenario
// worlds hold digests, and no text has the digest that was chosen.
//
// A door that is not in the table fails the test, and so does a permission that no request asks for.
package conformance
