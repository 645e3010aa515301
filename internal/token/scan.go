package token

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Scan finds the first token with one of f's prefixes in b: b[start:end]. The checksum decides, not what stands around the token,
// so a token glued to other letters is found too. Scan takes O(len(b)) time for each prefix, whatever b holds, and does not
// allocate. A token that is cut by the end of b is not found (see [MaxTokenLen]).
func (f *Format) Scan(b []byte) (start, end int, ok bool) {
	for _, p := range f.prefixes {
		for from := 0; ; {
			i := bytes.Index(b[from:], []byte(p))
			at := from + i
			to := at + len(p) + tailLen
			if i < 0 || to > len(b) || ok && at >= start {
				break
			}
			if wellFormed(b[at:to]) {
				start, end, ok = at, to, true
				break
			}
			from = at + 1
		}
	}
	return start, end, ok
}

// Pattern returns an RE2 and PCRE expression that matches f's tokens by their shape, for scanners and maskers of others. It does
// not check the checksum, so it takes a few things that Scan does not.
func (f *Format) Pattern() string {
	// Alternatives are tried in order: the longest first, or a prefix that begins another would hide it. No character that a
	// prefix may have needs quoting.
	prefixes := slices.SortedStableFunc(slices.Values(f.prefixes), func(a, b string) int { return len(b) - len(a) })
	return fmt.Sprintf("(?:%s)%c[0-9A-Za-z]{%d}", strings.Join(prefixes, "|"), version, randomChars+sumChars)
}
