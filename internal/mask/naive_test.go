package mask

import (
	"slices"
	"strings"
)

// naive is the masker written again, for whole texts, without automata, filter or streams.
type naive struct {
	phrases []string
	cores   []core
	runs    map[string]int
}

func newNaive(phrases []string) *naive {
	n := &naive{runs: map[string]int{"jobt-1": jobToken, "jobk-1": jobToken}}
	for _, p := range gitlabs {
		n.runs[p] = gitlabToken
	}
	for _, p := range parameters {
		n.runs[p], n.runs[strings.ToLower(p)], n.runs[strings.ToUpper(p)] = urlValue, urlValue, urlValue
	}
	var all []string
	for _, p := range phrases {
		if p = strings.TrimSpace(p); len(p) < MinPhrase {
			continue
		}
		all = append(all, p)
		if lines := strings.Split(p, "\n"); len(lines) > 1 {
			for _, l := range lines {
				if l = strings.TrimSpace(l); len(l) >= MinLine {
					all = append(all, l)
				}
			}
		}
	}
	for _, p := range all {
		n.phrases = append(n.phrases, textForms(p)...)
		n.cores = append(n.cores, cores(p)...)
	}
	return n
}

func (n *naive) mask(text string) string {
	var spans []span
	for from := range len(text) {
		rest := text[from:]
		for _, p := range n.phrases {
			if strings.HasPrefix(rest, p) {
				spans = append(spans, span{from, from + len(p)})
			}
		}
		for _, c := range n.cores {
			to, _, whole := wrapped(text, from, c.text)
			if !whole {
				continue
			}
			if c.after && to < len(text) && strings.IndexByte(alphanumerics+"+/-_", text[to]) >= 0 {
				to++
			}
			spans = append(spans, span{from, to})
		}
		for p, class := range n.runs {
			if !strings.HasPrefix(rest, p) {
				continue
			}
			to := from + len(p)
			for to < len(text) && classes[class].has[text[to]] {
				to++
			}
			if to-from-len(p) >= classes[class].min {
				spans = append(spans, span{from + len(p), to})
			}
		}
	}
	spans = append(spans, n.ending(text)...)
	return paint(text, spans)
}

// wrapped reads the core at a place, with line breaks in it, and gives where it ended, how many characters were read, and whether it was all.
func wrapped(text string, at int, core string) (end, chars int, whole bool) {
	last := -minWidth
	for i := range len(core) {
		if i > 0 && at < len(text) && (text[at] == '\n' || text[at] == '\r') {
			rest := text[at:]
			switch {
			case rest == "\r":
				return len(text), i, false
			case strings.HasPrefix(rest, "\r\n"):
				at += 2
			case rest[0] == '\n':
				at++
			default:
				return at, i, false
			}
			if i-last < minWidth {
				return -1, i, false
			}
			last = i
		}
		if at == len(text) || text[at] != core[i] {
			return at, i, false
		}
		at++
	}
	return at, len(core), true
}

// ending gives the longest beginning of a form at the end of the text that must not be seen.
func (n *naive) ending(text string) (spans []span) {
	for from := range len(text) {
		for _, p := range n.phrases {
			if rest := text[from:]; len(rest) < len(p) && strings.HasPrefix(p, rest) && len(rest) >= int(tooMuch(int32(len(p)))) {
				spans = append(spans, span{from, len(text)})
			}
		}
		for _, c := range n.cores {
			if end, chars, whole := wrapped(text, from, c.text); !whole && end == len(text) && chars >= int(tooMuch(int32(len(c.text)))) {
				spans = append(spans, span{from, len(text)})
			}
		}
	}
	return spans
}

func paint(text string, spans []span) string {
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	var out strings.Builder
	gone := 0
	for i := 0; i < len(spans); {
		s := spans[i]
		for i++; i < len(spans) && spans[i].from < s.to; i++ {
			s.to = max(s.to, spans[i].to)
		}
		out.WriteString(text[gone:s.from] + Mask)
		gone = s.to
	}
	return out.String() + text[gone:]
}
