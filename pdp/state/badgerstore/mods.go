package badgerstore

import (
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// mods remembers which revision last changed a record, zero for one that is not there, of
// those looked up or changed lately. It is never wrong, as all changes pass it by. Guards ask
// about the same few records again and again (the project, the user, the job just issued),
// and looking them up on the disk was half of what a transaction cost to build.
type mods struct {
	// A record is in young, or in old, or in both: then old is out of date.
	young, old map[state.Key]authz.Revision
}

// maxMods bounds each half, to a few megabytes.
const maxMods = 32 << 10

func (m *mods) get(key state.Key) (mod authz.Revision, ok bool) {
	if mod, ok = m.young[key]; ok {
		return mod, true
	}
	if mod, ok = m.old[key]; ok {
		m.set(key, mod)
	}
	return mod, ok
}

func (m *mods) set(key state.Key, mod authz.Revision) {
	if len(m.young) >= maxMods || m.young == nil {
		m.old, m.young = m.young, make(map[state.Key]authz.Revision)
	}
	m.young[key] = mod
}
