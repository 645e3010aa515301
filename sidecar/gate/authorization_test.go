package gate

import "testing"

// TestAuthorizationElsewhere: a job token in Authorization goes no further, however it stands there, and behind what a proxy has joined by a comma it is as
// good as in front, dead or alive.
func TestAuthorizationElsewhere(t *testing.T) {
	const dead = "jobt-dead"
	for value, want := range map[string]struct {
		status int // 0: allowed
		drop   bool
	}{
		basicOf("oauth2", good):      {0, true},
		basicOf("", good):            {0, true},
		basicOf(good, "x"):           {0, false}, // a name, which no service takes for a token
		basicOf("dana", "secret"):    {0, false},
		good:                         {0, true},
		"token " + good:              {0, true},
		"Token  " + good:             {0, true},
		"Bearer somebody-else":       {0, false},
		"Digest username=a, realm=b": {0, false},
		"Bearer x, Bearer " + dead:   {401, true},
		"Digest a=b,Bearer " + dead:  {401, true},
		"Basic ZGFuYTpzZWNyZXQ=, " + basicOf("gitlab-ci-token", dead):      {401, true},
		"Bearer " + good + ", Bearer " + dead:                              {400, true},
		basicOf("gitlab-ci-token", good) + "," + basicOf("dana", "secret"): {0, true},
	} {
		r := basicReq.request()
		head(r).Set("Authorization", value)
		v := gateOf(allows(true)).Judge(t.Context(), r)
		if v.Status != want.status || v.DropAuthorization != want.drop {
			t.Errorf("%.40q: %d, dropped %t; want %d, %t", value, v.Status, v.DropAuthorization, want.status, want.drop)
		}
	}
}
