package state

import (
	"encoding/binary"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
)

func appendInstance(dst []byte, r *Instance) []byte {
	dst = append(dst, byte(r.PublicScope), bits(r.EnforceInbound, r.AnyoneCanPull))
	dst = binary.AppendVarint(dst, int64(r.MaxProjectEntries))
	return binary.AppendVarint(dst, int64(r.MaxGroupEntries))
}

func appendGroup(dst []byte, r *Group) []byte {
	dst = binary.AppendVarint(dst, int64(r.Parent))
	dst = appendText(dst, r.Name)
	return append(dst, byte(r.Visibility), byte(r.State))
}

func appendProject(dst []byte, r *Project) []byte {
	dst = binary.AppendVarint(dst, int64(r.Group))
	dst = appendText(dst, r.Namespace)
	dst = appendText(dst, r.Name)
	dst = append(dst, byte(r.Visibility), byte(r.State), bits(r.PublicBuilds, r.ReadOnly, r.Hidden))
	for _, level := range r.Features {
		dst = append(dst, byte(level))
	}
	return dst
}

func appendUser(dst []byte, r *User) []byte {
	dst = appendText(dst, r.Name)
	return append(dst, byte(r.State), bits(r.External, r.Admin))
}

func appendMembers(dst []byte, r *Members) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(r.List)))
	for _, m := range r.List {
		dst = append(appendScope(dst, m.Scope), byte(m.Role))
	}
	return dst
}

func appendAllowlist(dst []byte, r *Allowlist) []byte {
	dst = append(dst, bits(r.InboundOn, r.OutboundOn, r.PushSelf, r.PushCross))
	dst = binary.AppendUvarint(dst, uint64(len(r.Inbound)))
	for i := range r.Inbound {
		e := &r.Inbound[i]
		dst = append(appendScope(dst, e.Caller), bits(e.Default, e.Autopopulated))
		dst = binary.AppendUvarint(dst, uint64(len(e.Policies)))
		for _, p := range e.Policies {
			dst = appendText(dst, p)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Outbound)))
	for _, id := range r.Outbound {
		dst = binary.AppendVarint(dst, int64(id))
	}
	return dst
}

func appendJob(dst []byte, r *Job) []byte {
	dst = append(dst, byte(r.Status), bits(r.Erased, r.Lapsed, !r.Digest.IsZero()))
	if !r.Digest.IsZero() {
		dst = append(dst, r.Digest[:]...)
	}
	dst = binary.AppendVarint(dst, int64(r.Project))
	dst = binary.AppendVarint(dst, int64(r.User))
	dst = binary.AppendVarint(dst, r.Pipeline)
	dst = appendText(dst, r.Ref)
	dst = appendText(dst, r.Runner)
	dst = binary.AppendVarint(dst, int64(r.Term))
	dst = binary.AppendUvarint(dst, uint64(r.Issued))
	dst = binary.AppendVarint(dst, int64(r.IssuedAt))
	dst = binary.AppendVarint(dst, int64(r.Expires))
	dst = binary.AppendUvarint(dst, uint64(r.Ended))
	dst = binary.AppendVarint(dst, int64(r.EndedAt))
	return appendLimits(dst, &r.Limits)
}

// appendLimits keeps apart a nil list, which limits nothing, and an empty one, which
// leaves nothing: the count is one too high, and zero is nil.
func appendLimits(dst []byte, l *policy.Limits) []byte {
	dst = appendOptional(dst, len(l.Permissions), l.Permissions == nil)
	for _, p := range l.Permissions {
		dst = appendText(dst, p)
	}
	dst = appendOptional(dst, len(l.Targets), l.Targets == nil)
	for _, s := range l.Targets {
		dst = appendScope(dst, s)
	}
	return dst
}

func appendOptional(dst []byte, n int, none bool) []byte {
	if none {
		return append(dst, 0)
	}
	return binary.AppendUvarint(dst, uint64(n)+1)
}

func appendScope(dst []byte, s authz.Scope) []byte {
	return binary.AppendVarint(append(dst, byte(s.Kind)), s.ID)
}

func appendText[T ~string | ~[]byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// bits packs up to eight booleans, the first lowest.
func bits(flags ...bool) byte {
	var b byte
	for i, f := range flags {
		if f {
			b |= 1 << i
		}
	}
	return b
}
