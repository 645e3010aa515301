package proxy

// The rig, for the tests that stand outside the package because a real PDP is on a higher floor.
var (
	Do    = do
	Ended = ended
)

const Patience = patience

// Zeros has no end.
type Zeros = zeros
