package gate

import (
	"slices"
	"strconv"
	"strings"

	"github.com/jobward/jobward/sidecar/pep"
)

// Headers of our own, set on what is passed on to the service. A service may believe them because the doors take them away from what
// clients send.
const (
	JobHeader     = "Jobward-Job"     // the id of the job
	ProjectHeader = "Jobward-Project" // the number of the project that it runs in
	UserHeader    = "Jobward-User"    // the number of the user who caused it
)

// Stripped reports whether a header that a client sent is taken away before a request is passed on: Job-Token, and every Jobward-*. Case
// does not count, and neither does the sign between words, since what is behind may take Jobward_Job for Jobward-Job.
func Stripped(name string) bool {
	return folds(name, "job-token", false) || folds(name, "jobward-", true)
}

// Disguised reports whether a header is one that [Stripped] names, or that asks for another request than is judged, in a spelling by which it would be
// overlooked: a proxy takes away what has the proper name, and services of CGI's kind take one for the other.
func Disguised(name string) bool {
	return strings.ContainsAny(name, "_.") && (Stripped(name) || slices.ContainsFunc(overriding[:], func(o string) bool { return folds(name, o, false) }))
}

func folds(name, to string, prefix bool) bool {
	if len(name) < len(to) || len(name) > len(to) && !prefix {
		return false
	}
	for i := range len(to) {
		c := name[i]
		switch {
		case c == '_' || c == '.':
			c = '-'
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		t := to[i]
		if 'A' <= t && t <= 'Z' {
			t += 'a' - 'A'
		}
		if c != t {
			return false
		}
	}
	return true
}

// IdentityOf gives what the headers [JobHeader], [ProjectHeader] and [UserHeader] say of an allowed request; all are empty for an anonymous
// one. They are set in any case, so that nothing that a client made up stands in their place.
func IdentityOf(v *Verdict) (job, project, user string) {
	if v.Identity == (pep.Identity{}) {
		return "", "", ""
	}
	return string(v.Identity.Job), strconv.FormatInt(int64(v.Identity.Source), 10), strconv.FormatInt(int64(v.Identity.User), 10)
}
