// Package policy is the rule: whether a job token may do what it asks, decided
// from a [World] alone. It has no clock, no lock, no I/O; the time is an argument.
//
// [Walk.Decide] and [Walk.Explain] are one walk over one list of rules, without and
// with a recorder, so they cannot disagree. The walk also collects the dependency
// keys of everything it looked up, absence included (PROTOCOL R15).
//
// The rules, in order; the first that refuses gives the reason. Sections are those
// of SEMANTICS.md. Tests cite the numbers.
//
//	R1   the token is one, and some job has it (§3.2, §4.8)
//	R2   it was not replaced by a later one and its time is not over (§3.3)
//	R3   the job is running or canceling (§3.4, §5.2)
//	R4   the job is not erased (§3.5, §5.5)
//	R5   the job's heartbeat has not lapsed (PROTOCOL R12)
//	R6   the source project exists, is not being deleted, neither is a group above
//	     it, and has not been since the token was issued (§3.6, §5.6, P5)
//	R7   the user exists, is active, and was not blocked since the token was issued (§6.2)
//	R8   the permission exists, takes job tokens, and belongs to the surface (§4.6, §4.7);
//	     Git takes none from a project without CI (§10.1)
//	R9   the job did not limit itself to other permissions
//	R10  a question about the job itself needs no more than that
//	R11  the target exists, is not hidden or pending deletion, nor is a group above it (§3.8, §14)
//	R12  the job did not limit itself to other targets
//	R13  own-project permissions stay in the own project (§11.1, §11.3)
//	R14  outbound: the source does not limit itself, or the target is not private,
//	     or it is listed (§7.2)
//	R15  inbound: the target's list is off, or has the source or a group above it;
//	     the nearest entry is the one that counts (§7.3 to §7.6); what fails here or
//	     in R14 is refused outright unless the target is open to the user (§8.2)
//	R16  pushes need their switch, and from outside an entry that grants it (§10.4)
//	R17  features: disabled for all, or members only (§8.5, §8.6)
//	R18  role: none for the public set on an open target, else the least role, and that
//	     of a members-only feature; a source that is not in scope has the public set
//	     only (§8.1 to §8.5, §8.7, §8.8)
//	R19  the state of the target, and of the groups above it (§14, §0.8)
//	R20  fine-grained permissions of the nearest entry, on REST (§9)
//
// A question about [authz.Nobody] is an anonymous visitor's. The rules about a job, its
// project and its user pass (R2 to R7, R9, R12, R14 to R16, R20), because there is none;
// R8, R11, R13 and R19 are as above, and
//
//   - R1 notes that no token was shown;
//   - R10 refuses a question about the job itself;
//   - R17 wants all features that the permission asks for open to everybody;
//   - R18 wants a permission of the public set, with its pipelines shown, and a target that
//     is public, or has its packages open to anybody (§8.1, §8.3, §8.7, §8.8).
//
// What is internal is not for visitors. A refusal of theirs is token_missing, whatever
// refused it, unless no token would help (R8). An allow is allowed_open. It rests on the
// settings, the target and the groups above it, and on no job and no user.
//
// A project always reaches itself: R14, R15 and R20 pass when source and target are
// the same. Instance administrators are users like others (§0.3). A target is open
// to a user when it is public, or internal and the user is not external (§8.1). With
// public_scope exempt, allowlists do not bind on open targets (§0.2).
//
// Where SEMANTICS leaves a choice:
//
//   - A source whose deletion is in progress is dead, as the seed says, not only one
//     pending deletion. A target whose deletion is in progress still is read (§14).
//   - The state of a group counts for everything below it. States add up: what is
//     archived inside a group that is being deleted is not destroyed either.
//   - The exemption of §9.2 step 2 holds on targets open to the user, so an internal
//     target gives it to no external user. Packages open to anybody (§8.8) count as open.
//   - Where lists do not bind (exempt), what an entry lacks does not either. A push from
//     outside needs its entry all the same: §10.4 asks for it by name. It needs
//     PushCross and not PushSelf.
//   - §10.1 is about Git and not about the registry, whose section does not repeat it.
//     Members-only CI is CI.
//   - A question about the own job is answered whatever target comes with it, and binds
//     to the job's limit on permissions, not to that on targets. Every other question
//     about the own project binds to both.
//   - A bare question (surface policy) may be about any permission that takes tokens. It
//     has no route, so R20 does not apply.
//   - Of two reasons within one rule the one is told that is harder to help: a feature
//     that is off before one for members only.
package policy
