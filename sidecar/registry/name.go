package registry

import "strings"

// Bounds of names, as the distribution specification has them, and of how many questions a name may cost.
const (
	maxName       = 255
	maxComponents = 24
	maxTag        = 128
	maxReference  = 256 // a digest, or the name of an upload
)

// validName reports whether s can be a repository's: components of lower-case letters and digits, joined by one dot, one or two
// underscores or any number of dashes, with slashes between.
func validName(s string) bool {
	if len(s) > maxName || strings.Count(s, "/") >= maxComponents {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if !validComponent(part) {
			return false
		}
	}
	return true
}

func validComponent(s string) bool {
	for {
		n := 0
		for n < len(s) && (s[n] >= 'a' && s[n] <= 'z' || s[n] >= '0' && s[n] <= '9') {
			n++
		}
		if n == 0 {
			return false
		}
		if s = s[n:]; s == "" {
			return true
		}
		switch {
		case s[0] == '.':
			s = s[1:]
		case strings.HasPrefix(s, "__"):
			s = s[2:]
		case s[0] == '_':
			s = s[1:]
		case s[0] == '-':
			s = strings.TrimLeft(s, "-")
		default:
			return false
		}
	}
}

// prefixes gives the paths that the project of a repository can have, the longest first: those of at least two components.
func prefixes(name string) (paths []string) {
	for {
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return paths
		}
		paths = append(paths, name)
		name = name[:i]
	}
}

func word(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// validTag reports whether s can be a tag.
func validTag(s string) bool {
	return s != "" && len(s) <= maxTag && s[0] != '.' && s[0] != '-' && only(s, "._-")
}

// validDigest reports whether s can be a content digest, algorithm:hash.
func validDigest(s string) bool {
	algorithm, hash, ok := strings.Cut(s, ":")
	return ok && len(s) <= maxReference && algorithm != "" && hash != "" && only(algorithm, "+._-") && only(hash, "=_-")
}

// validUpload reports whether s can be the name that a registry gave an upload.
func validUpload(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= maxReference && only(s, "._=-")
}

// only reports whether s has letters, digits and the bytes of more.
func only(s, more string) bool {
	for i := range len(s) {
		if !word(s[i]) && strings.IndexByte(more, s[i]) < 0 {
			return false
		}
	}
	return true
}
