// Package replica makes one PDP of several on one store (PROTOCOL R8): a [Member]
// registers it and keeps it registered, says until when it may answer, and has every other
// incarnation settle a revision, fences those that say nothing, and waits out those that
// have departed. It knows the others by a [state.Registry] and talks to them through a
// [Dialer]; neither gRPC nor etcd is in it.
//
// # What is to be proved
//
// When a receipt for the change at revision N is effective, no PDP answers a check that
// starts afterwards from before N, and no sidecar's cache does (P1). Package lease proves it
// for the sidecars of one PDP. For several:
//
// Whoever answers after the receipt has joined before the list was read, or after. If after,
// its view was loaded at a head that has N (M2, M4). If before, it is in the list, live or
// departed (M5), and has settled N, or was waited out (M6, M7). Who has settled N has it in
// its view, and its sidecars have let go or lost their leases. Who was waited out cannot have
// renewed its registration since it was fenced (M3), so it answers and grants nothing any more
// (M1), and what it had granted is over.
//
// # Invariants
//
//	M1   A PDP answers a check, grants a lease or renews one only until F(1-ρ) after it
//	     sent its last successful renewal, by the clock read in that very call, before the
//	     view is looked at: afterwards is too late, as it may have joined anew in between,
//	     with a view that has caught up since (R8, R11).
//	M2   It does so only when its view has reached the head that this renewal read in its
//	     own transaction; so a view that stands still ends it as a lost store does (R8).
//	M3   A renewal succeeds only while its registration stands; who was fenced never comes
//	     back under the same name. It cuts all its generations and joins anew (R2, R8).
//	M4   A PDP registers before it loads its view, and serves after (R8).
//	M5   A receipt reads the list after its change was committed, linearizably; reads are
//	     shared only by those who came before the read was sent (R8, R16).
//	M6   An incarnation has settled N when it says so itself, after its view and its
//	     sidecars have; or when its registration says settled ≥ N; or T(1+ρ)+m after it is
//	     known to have applied N, when everything is over that it granted before. What it
//	     granted later came to its sidecars after N (R2, R8).
//	M7   One that is fenced or departed is settled F(1+ρ)+T(1+ρ)+m after this process first
//	     saw that it had departed, by its own F and T (R8).
//	M8   A peer that is not known to have applied N is fenced F after it was listed, whatever
//	     it has said or settled until then. So a receipt is effective within 2F + T with
//	     margins while the store can be written (R8).
//	M9   Nobody waits for a PDP that loads its view, however long that takes. Its registration
//	     has version 1 until the view is there, is not renewed before, and lets nothing be
//	     answered. The first renewal comes after the list in which it stood so, and
//	     reads a head that has the change (M2).
//	M10  Nobody is taken for dead because the store was gone: who has fallen silent himself
//	     counts the silence of others anew. Housekeeping fences a registration that stood
//	     still for its F and ours; a name whose join had no answer is used again or taken
//	     away (R8).
//
// M6 and M8 are sharper than R8 has them. A peer that says that it has applied N, and for
// which "pending" is an answer, would be heard until its sidecars' leases are nearly over, and
// could then be fenced and waited out once more; package test/model has the story.
package replica
