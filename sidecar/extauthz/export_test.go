package extauthz

// The rig, for the test that stands outside the package because a real PDP is on a higher floor.
var (
	Serve   = serve
	Asked   = asked
	Check   = check
	Outcome = outcome
)
