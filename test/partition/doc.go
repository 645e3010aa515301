// Package partition runs the shipped PDP and sidecars as processes, does to them what happens to processes and networks, and looks from
// outside whether their promises hold (P1, P2, P6). It stops and kills processes, puts old data back, drops packets between network namespaces,
// and leads connections through a relay that delays, stalls and cuts them.
//
// Several PDPs run on a real etcd, each member, PDP and sidecar in a namespace of its own on one bridge, so that any two can be parted (R8).
//
// Two lookers share no code with what they look at. The hammer asks many questions at one time while jobs are issued and revoked, and counts the
// checks that began after an effective receipt had returned and were allowed all the same: there must be none. The recorder keeps a
// history of Issue, Revoke, Check and edits of allowlists, and porcupine searches for an order of it that a small model allows.
//
// Bugs are planted by the same tests: each kind of fault has one that it must turn red.
//
// The test binary re-executes itself as PDP and as sidecar. More of everything: -rounds. The same again: -seed.
package partition
