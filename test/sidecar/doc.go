// Package sidecar runs the shipped sidecar beside the shipped PDP over real sockets, the PDP in a process of its own so that it can be killed, and
// looks at both from outside: what is answered from the cache, what a receipt means, and what happens when one of the two goes away.
package sidecar
