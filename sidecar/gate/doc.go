// Package gate is what the HTTP doors of a sidecar have in common: from a request to the question it asks, and from the decision to how the
// answer looks from outside. It finds the route (package route), finds the job token on it (SEMANTICS §4), asks, and words the answer
// (§§0.4, 15). It reads no body, writes no response and knows no proxy: those are the doors' own, forwardauth, extauthz, registry, and
// package proxy.
package gate
