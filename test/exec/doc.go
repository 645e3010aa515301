// Package exec tries pdpctl exec and pdpctl mask from outside: real processes, signals, pipes and terminals, beside a real PDP. On Linux only.
package exec
