package engine

// Codes of the errors that allowlist, directory, synchronisation, instance and audit
// verbs give (AIP-193 reasons), each with its kind. The store's own codes and
// INVALID_FIELD (a bad field, with a violation that names it) come beside them.
const (
	// CodeInvalidField: KindInvalid; the violations name the fields.
	CodeInvalidField = "INVALID_FIELD"
	// CodeContention: KindConflict; others kept changing the same records. Try again.
	CodeContention = "CONTENTION"
	// CodeRevisionMismatch: KindConflict; the record was changed since the revision that
	// the caller expects. Read it again.
	CodeRevisionMismatch = "REVISION_MISMATCH"
	// CodeRequestIDReused: KindInvalid; the request id was used for another call.
	CodeRequestIDReused = "REQUEST_ID_REUSED"
	// CodeCursorInvalid: KindInvalid; what is given to go on after was not given out by
	// this list, or what it pointed into has moved. Start at the first page.
	CodeCursorInvalid = "CURSOR_INVALID"

	// CodeProjectNotFound: KindNotFound; the project does not exist, or the user acted
	// for may not see it. The two are one on purpose (SEMANTICS §16).
	CodeProjectNotFound = "PROJECT_NOT_FOUND"
	// CodeGroupNotFound: KindNotFound; as CodeProjectNotFound, for a group.
	CodeGroupNotFound = "GROUP_NOT_FOUND"
	// CodeUserNotFound: KindNotFound; no user has this id.
	CodeUserNotFound = "USER_NOT_FOUND"

	// CodeUserRequired: KindForbidden; only callers of the admin role may act without
	// naming a user.
	CodeUserRequired = "USER_REQUIRED"
	// CodeUserNotActive: KindForbidden; the user acted for does not exist or is not active.
	CodeUserNotActive = "USER_NOT_ACTIVE"
	// CodeNotMaintainer: KindForbidden; the user acted for sees the project and is no
	// maintainer of it.
	CodeNotMaintainer = "NOT_MAINTAINER"
	// CodeNotAdmin: KindForbidden; the user acted for is no instance administrator.
	CodeNotAdmin = "NOT_ADMIN"

	// CodeEntryExists: KindExists; the list has an entry for this project or group.
	CodeEntryExists = "ENTRY_EXISTS"
	// CodeEntryNotFound: KindNotFound; the list has no such entry.
	CodeEntryNotFound = "ENTRY_NOT_FOUND"
	// CodeSelfEntry: KindInvalid; a project always reaches itself, so the implied entry
	// can be neither added nor changed nor removed.
	CodeSelfEntry = "SELF_ENTRY"
	// CodeListFull: KindPrecondition; the list holds as many projects, or groups, as the
	// instance allows.
	CodeListFull = "LIST_FULL"
	// CodeInboundEnforced: KindPrecondition; the instance keeps every inbound list in
	// force, so none can be switched off.
	CodeInboundEnforced = "INBOUND_ENFORCED"
	// CodePolicyUnknown: KindInvalid; the catalogue has no such policy to grant.
	CodePolicyUnknown = "POLICY_UNKNOWN"

	// CodeNameTaken: KindExists; another group or project has the name in that place.
	CodeNameTaken = "NAME_TAKEN"
	// CodeGroupNotEmpty: KindPrecondition; a group with groups or projects in it cannot
	// be deleted.
	CodeGroupNotEmpty = "GROUP_NOT_EMPTY"
	// CodeNotShared: KindInvalid; an engine that is to be one of several has a store that only
	// one can have open.
	CodeNotShared = "NOT_SHARED"

	// CodeDeletionNotBegun: KindPrecondition; FinishProjectDeletion without the begin.
	CodeDeletionNotBegun = "DELETION_NOT_BEGUN"

	// CodeSyncFull: KindExhausted; more records than a synchronisation may stage.
	CodeSyncFull = "SYNC_FULL"
	// CodeSyncDone: KindPrecondition; the synchronisation is over, or failed before.
	CodeSyncDone = "SYNC_DONE"
	// CodeSyncAhead: KindInvalid; the synchronisation says it is as of a revision that
	// does not exist yet.
	CodeSyncAhead = "SYNC_AHEAD"
	// CodeSyncOvertaken: KindConflict; the directory changed under the synchronisation in
	// a way that its rest does not fit any more. What is done is done and valid; run it
	// again with a fresh list.
	CodeSyncOvertaken = "SYNC_OVERTAKEN"

	// CodeCatalogueInvalid: KindInvalid; the permission catalogue cannot be used, and the
	// message says where.
	CodeCatalogueInvalid = "CATALOGUE_INVALID"
)
