package route

import (
	"slices"
	"strconv"
	"strings"
)

// meet gives a path that both patterns match, "" when there is none. It walks both at once; segment by segment it asks for a text that both
// parts match (common), so the answer is exact and comes with its proof.
func meet(a, b *pattern) string {
	m := meeting{a: a.parts, b: b.parts, seen: make([]bool, (len(a.parts)+1)*(len(b.parts)+1))}
	if !m.from(0, 0) {
		return ""
	}
	slices.Reverse(m.path)
	return "/" + strings.Join(m.path, "/")
}

// meeting is a depth-first walk over pairs of places. A place is the number of parts that are behind; when the last of them is a many, it may
// take another segment.
type meeting struct {
	a, b []part
	seen []bool // pairs that lead to no common path
	path []string
}

func (m *meeting) from(i, j int) bool {
	if i == len(m.a) && j == len(m.b) {
		return true
	}
	at := i*(len(m.b)+1) + j
	if m.seen[at] {
		return false
	}
	m.seen[at] = true
	for _, x := range next(m.a, i) {
		for _, y := range next(m.b, j) {
			if text, ok := common(&m.a[x-1], &m.b[y-1]); ok && m.from(x, y) {
				m.path = append(m.path, text)
				return true
			}
		}
	}
	return false
}

// next gives the places that one more segment leads to: the same again behind a many, and the next part.
func next(parts []part, i int) []int {
	var to []int
	if i > 0 && parts[i-1].many {
		to = append(to, i)
	}
	if i < len(parts) {
		to = append(to, i+1)
	}
	return to
}

// common gives a segment, percent-encoded, that both parts match.
//
// Literals are tried as they are. Of two classes the longer suffix is part of every common segment, and one of the stems before it gives a
// common segment if there is any: each kind is closed under exchanging what is before the suffix by a stem of its kind; not takes away at most
// 32 texts, of which there are more stems; and an ending after not begins with a dot, which no stem has, so it can only be met inside the
// suffix, where no stem would help.
func common(a, b *part) (string, bool) {
	switch {
	case a.class == nil && b.class == nil:
		return a.literal, a.literal == b.literal
	case a.class == nil:
		return a.literal, b.class.matches(a.literal, a.literal, false)
	case b.class == nil:
		return b.literal, a.class.matches(b.literal, b.literal, false)
	}
	suffix := a.class.suffix
	if len(b.class.suffix) > len(suffix) {
		suffix = b.class.suffix
	}
	for _, stem := range stems {
		raw, dec := strings.ReplaceAll(stem, "/", "%2F")+suffix, stem+suffix
		if a.class.matches(raw, dec, false) && b.class.matches(raw, dec, false) {
			return raw, true
		}
	}
	return "", false
}

// stems are texts of every kind, more of each than two parameters can exclude.
var stems = func() (all []string) {
	for i := range 2*maxNot + 4 {
		n := strconv.Itoa(i + 1)
		all = append(all, n, "x"+n, "x"+n+"/y", "x"+n+"+y")
	}
	return all
}()
