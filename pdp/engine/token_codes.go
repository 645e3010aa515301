package engine

// Codes of the errors that the token and decision verbs give (AIP-193 reasons).
const (
	// CodeBehind: the caller has seen a later revision than this PDP has.
	CodeBehind = "BEHIND"
	// CodeJobNotFound: no job of this id is known.
	CodeJobNotFound = "JOB_NOT_FOUND"
	// CodeJobEnded: the job has ended, so it cannot be issued.
	CodeJobEnded = "JOB_ENDED"
	// CodeJobMismatch: the job was issued for another project or user.
	CodeJobMismatch = "JOB_MISMATCH"
	// CodeSourceGone: the job's project does not exist or is being deleted.
	CodeSourceGone = "SOURCE_GONE"
	// CodeUserInactive: the user does not exist or may not act.
	CodeUserInactive = "USER_INACTIVE"
	// CodeTokenUnknown: nobody has the token.
	CodeTokenUnknown = "TOKEN_UNKNOWN"
)
