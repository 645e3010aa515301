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
// When the store reports that it can no longer tell what is durable, the process stops at once with an error (P4).
package daemon
