package etcdstore

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// The places of the registry. The incarnation is in the names, in hexadecimal digits, and in
// the checksums with them.
const (
	replicaDir  = "replica/"  // incarnation: a registration
	departedDir = "departed/" // incarnation: what stands in its place
)

func replicaName(id state.Incarnation) string { return replicaDir + hex.EncodeToString(id[:]) }

func departedName(id state.Incarnation) string { return departedDir + hex.EncodeToString(id[:]) }

// parseIncarnation reads the incarnation out of a name in dir.
func parseIncarnation(dir, name string) (id state.Incarnation, err error) {
	b, err := hex.DecodeString(strings.TrimPrefix(name, dir))
	if err != nil || len(b) != len(id) || dir+hex.EncodeToString(b) != name {
		return id, fmt.Errorf("%q does not name an incarnation", name)
	}
	copy(id[:], b)
	return id, nil
}

// encodeRegistration gives the one value that a registration has: a fence compares it.
func encodeRegistration(r state.Registration) string {
	b := appendText([]byte{format}, r.Name)
	b = appendText(b, r.Address)
	for _, v := range []uint64{uint64(r.Applied), uint64(r.Settled), uint64(r.Term), uint64(r.Fence), r.Version} {
		b = binary.AppendUvarint(b, v)
	}
	return string(seal(replicaName(r.Incarnation), b))
}

func decodeRegistration(name string, value []byte) (reg state.Registration, err error) {
	b, err := unseal(name, value)
	if err != nil {
		return reg, err
	}
	if reg.Incarnation, err = parseIncarnation(replicaDir, name); err != nil {
		return reg, err
	}
	r := reader{b: b}
	reg.Name, reg.Address = string(r.text()), string(r.text())
	reg.Applied, reg.Settled = authz.Revision(r.uint()), authz.Revision(r.uint())
	reg.Term, reg.Fence = time.Duration(r.uint()), time.Duration(r.uint())
	reg.Version = r.uint()
	return reg, r.end(name)
}

func encodeDeparted(d state.Departed) string {
	b := appendText([]byte{format}, d.Name)
	b = binary.AppendUvarint(b, uint64(d.Term))
	b = binary.AppendUvarint(b, uint64(d.Fence))
	return string(seal(departedName(d.Incarnation), b))
}

func decodeDeparted(name string, value []byte) (d state.Departed, err error) {
	b, err := unseal(name, value)
	if err != nil {
		return d, err
	}
	if d.Incarnation, err = parseIncarnation(departedDir, name); err != nil {
		return d, err
	}
	r := reader{b: b}
	d.Name = string(r.text())
	d.Term, d.Fence = time.Duration(r.uint()), time.Duration(r.uint())
	return d, r.end(name)
}

// end says whether everything was read and nothing was left.
func (r *reader) end(name string) error {
	if r.err != nil || len(r.b) > 0 {
		return fmt.Errorf("%q has the wrong length", name)
	}
	return nil
}
