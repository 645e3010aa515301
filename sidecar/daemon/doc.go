// Package daemon makes a sidecar out of its parts: it reads the settings, starts everything in order, refuses to start in doubt, and stops in
// order. [Config] is the operator's manual. [Main] is the whole program, so that a test binary can be it too.
//
// The order of a start: settings, telemetry, health listener (alive, not ready), state directory and the search for a PDP, listeners, calls and
// requests are taken. It is ready when there is a lease, and waits for one for ever: a sidecar that started before its PDP is no fault. Whatever cannot
// be had as configured ends the start with words on what to do; there is no step that is skipped with a warning.
//
// The order of a stop: not ready, shutdown delay, no new calls and requests while those under way finish, the lease is given back, telemetry. Once the lease is
// given back no receipt waits for this sidecar. A kill at any point is safe: the lease runs out.
//
// # When something fails
//
// Chosen once, here. T is the term of the lease, a setting of the PDP (5 s by default, 60 s at most). In no row is anything allowed that the PDP
// would deny, other than by a state from before a change whose receipt is not effective yet.
//
//	what happens                    cached answers               other questions           ready  receipts at the PDP          until
//	the PDP is gone or unreachable  given while the lease runs,  unavailable; after the    yes,   wait, at most what is left   another PDP of pdp-addr
//	                                at most T                    lapse lease_lapsed or     then   of this lease                or this one is back
//	                                                             unavailable (1)           no
//	the lease lapses                none, and none ever again    as above                  no     count it as lapsed           a new lease; the
//	                                                                                                                           cache starts empty
//	the PDP is back                 those carried over, if the   asked, each question      yes    as ever                      (2)
//	                                lease did not lapse; checked once
//	                                against every change since
//	the PDP restarts                as both rows above           as both rows above        as     wait out the leases it may   it has waited once T
//	                                                                                       above  have forgotten
//	its PDP, one of several on      given while the lease runs;  asked of another PDP      yes    those of the others wait,    another PDP took over
//	etcd, is cut off from etcd      carried over where the next                                   at most 2F + T (6)           or it is let in again
//	or was shut out by the others   one can vouch for them
//	etcd has no quorum              given while the lease runs,  unavailable, F after etcd yes,   none becomes effective       etcd has a quorum; the
//	                                at most F + T                was heard last            then                                cache starts empty
//	                                                                                       no
//	the PDP says it will stop       given                        asked                     yes    as ever                      the next PDP took over
//	this sidecar restarts           none: it starts empty        asked, each once          when   as ever; after a kill wait   a lease, at once
//	                                                                                       leased at most T for the old lease
//	no PDP since the start          none                         unavailable               no     do not wait for this one     there is a PDP
//	a PDP is behind or beside the   given while the lease runs   not asked of it           as the that PDP, once it has proof, a PDP whose history
//	history seen (P6)                                                                      lease  ends; nobody asks it         is the one seen (3)
//	the PDP does not answer         given                        asked                     yes    wait, at most what is left   another PDP, looked for
//	renewals                                                                                      of this lease                after two of them
//	the PDP answers renewals and    given                        unavailable, each after   yes    as ever                      new connections, after a
//	no questions                                                 pdp-timeout                                                   few of them
//	this sidecar reads too slowly,  given while the lease runs:  asked                     yes    wait, at most what is left   a new stream; entries
//	or its queue at the PDP is full the stream is cut, no change                                  of this lease                carried over
//	                                is skipped
//	it owes a confirmation          until the lease lapses: it   asked                     until  wait, at most T              it confirms or lapses
//	                                is not renewed                                         then
//	the wall clock jumps            given: only time that        asked                     yes    as ever                      nothing happens
//	                                passed counts
//	the process or its guest is     the first one tests the      as the lease says         as the count it as lapsed if it     it looks at the clock
//	paused, or the machine sleeps   lease first, on a clock that                           lease  took longer than the lease
//	                                counts the pause (4)
//	reports for the PDP's log of    given                        asked                     yes    as ever                      what could not be told
//	accesses are not taken                                                                                                     is dropped and counted
//	the disk of the mark is full    given                        asked                     yes    as ever                      there is room: the
//	or fails                                                                                                                   log says so (5)
//	the state is damaged or         no start                     no start                  no     as ever                      the operator decides
//	another sidecar has it
//	more questions than the cache   those used least recently    asked                     yes    as ever                      -
//	holds                           make room
//	more than one stream can wait   given                        the stream is not read    yes    as ever                      answers came
//	for                                                          further (backpressure)
//	the service of proxy-to is gone given                        asked                     as the as ever                      it is back; its requests
//	                                                                                       lease                                are answered 502
//
// A transfer under way at proxy-addr is asked about again before each chunk. It goes on where cached answers are given; where none are, the chunk waits
// for the answer, and the transfer is cut when there is none.
//
//	(1) when-unavailable: deny gives a decision with the reason lease_lapsed, error gives UNAVAILABLE. While the lease still runs, and before the
//	    first one, it is UNAVAILABLE always: nothing was lost yet. A question waits up to a second for a PDP when one was lost just now.
//	(2) No storm: pauses between attempts are random and grow; a question that many ask at once is asked once.
//	(3) The log and /readyz say so, also when that PDP has ended, which it does when it was shown what only a later state of itself can have made.
//	    Put its newer data back in place. Removing state-dir/mark.json makes a sidecar believe any PDP, which revives what had died since an
//	    old copy was made: only for a PDP whose store was given up on purpose. The refused one is tried again twice a minute.
//	(4) It cannot see a pause in which every clock of the guest stood still (a snapshot, some live migrations): then it answers for the
//	    rest of its term, as if nothing had been. PROTOCOL R11 lists this assumption.
//	(5) What is not on disk protects until the next restart of this process only.
//	(6) F is replica-fence of the PDPs (5 s by default, 30 s at most). So long a PDP answers, grants and renews after it sent the last registration that etcd
//	    took, and so long the others wait for a word of it; T is added for the leases that it granted until then, and the margins of both.
package daemon
