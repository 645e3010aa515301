// Package daemon makes a policy decision point out of its parts: it reads the settings, starts everything in order, refuses to start in
// doubt, and stops in order. [Config] is the operator's manual. [Main] is the whole program, so that a test binary can be it too.
//
// The order of a start: settings, telemetry, admin listener (alive, not ready), store, engine, listeners of gRPC and REST, ready. Whatever cannot be
// had as configured ends the start with words on what to do: there is no step that is skipped with a warning.
//
// The order of a stop: not ready, shutdown delay, no new calls while those under way finish, engine, store, telemetry. A kill at
// any point loses nothing that was acknowledged, so the order is for the callers' comfort and not for safety.
//
// One PDP of several on etcd starts and stops in another order, which is R8's, and here it is for safety: the store is opened, the addresses
// are taken (the others have to be told where to call), the PDP registers, and only then loads its view, so that a change which the view does
// not have finds the registration. It serves when its view has reached what the registration saw. While it may not answer (etcd cannot be
// reached for replica-fence, or another PDP has shut it out) it is alive and not ready, and says why; it registers anew by itself. At its end
// it waits for the leases of its sidecars, then takes its registration away; killed, or with leases left, it leaves that to the others, who
// wait them out.
//
// # When something fails, with several PDPs on etcd
//
// F is replica-fence, T lease-term; margins of one percent and some milliseconds come on top. In no row does a check that starts after an effective receipt
// get an answer from before the change. What sidecars do meanwhile is the table in sidecar/daemon.
//
//	what happens                 this PDP                            its sidecars                   receipts at the others          until
//	it is cut off from etcd      answers, grants and renews for at   move to another PDP; their     wait for it at most F, fence    etcd is back: it registers anew
//	                             most F after its last renewal was   leases run out after at most   it, and wait F + T more; then   if it was fenced, else renews
//	                             sent, then it is FENCED, not ready  F + T                          they say gone
//	etcd has no quorum           the same, at all PDPs               the same; there is none to     no change is taken, no receipt  etcd has one; nobody is fenced
//	                                                                 move to that may answer        becomes effective               for the time it had none
//	it is paused                 answers nothing when it goes on     move, as their renewals are    as when it is cut off           it goes on, cuts all leases, and
//	                             after F: the clock is read in each  not answered                                                   registers as a new incarnation
//	                             answer, and counts the pause
//	it is killed                 -                                   move                           as when it is cut off           2F + T at most; a new start is a
//	                                                                                                                                new incarnation, and waits for nothing
//	it cannot be called by       answers, as it renews and follows   stay                           are settled by what it writes   it can be called
//	another PDP, and is well                                                                        in its registration, every F/3;
//	                                                                                                one that lags is fenced after F
//	all PDPs are restarted, one  lets its sidecars move (at most     move on, their caches carried  do not wait for it              its successor is ready
//	after the other in order     shutdown-grace), then takes its     over
//	                             registration away
//	all are killed               registers anew, and serves          start empty                    wait out the old registrations  2F + T at most
//	it loads its view, however   answers nothing                     are not there yet              do not wait for it              its view has reached the head
//	long that takes                                                                                                                 that its renewal read
//
// The last row is sharper than R8 reads: a registration counts, but one whose PDP has never answered is asked by nobody (M9 of package replica). It
// reads the change before it answers anything, since it registered before it read.
//
// When the store reports that it can no longer tell what is durable, the process stops at once with an error (P4).
package daemon
