package state_test

import (
	"testing"

	"github.com/jobward/jobward/pdp/state"
)

func TestKeyParts(t *testing.T) {
	for _, c := range []struct {
		key    state.Key
		number int64
		ofUser bool
		name   string
	}{
		{"", 0, false, ""},
		{state.GroupKey(7), 7, false, "\x00\x00\x00\x00\x00\x00\x00\x07"},
		{state.ProjectDeathKey(7), 7, false, "\x00\x00\x00\x00\x00\x00\x00\x07"},
		{state.UserDeathKey(7), 7, true, "\x40\x00\x00\x00\x00\x00\x00\x07"},
		{state.JobKey("j-1"), 0, false, "j-1"},
		{state.JobKey("12345678"), 0, false, "12345678"},
		{state.LeasesKey(), 0, false, ""},
		{state.DirectoryKey(), 0, false, ""},
	} {
		if n, u, s := c.key.Number(), c.key.OfUser(), c.key.Name(); n != c.number || u != c.ofUser || s != c.name {
			t.Errorf("%v: number %d, of user %v, name %q", c.key, n, u, s)
		}
	}
}
