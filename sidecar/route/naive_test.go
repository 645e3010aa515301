package route_test

import (
	"math"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/goccy/go-yaml"

	"github.com/jobward/jobward/sidecar/route"
)

// naive is the table once more, in the obvious way: each reading of each pattern is a regular expression over the decoded segments. It reads
// routes.yaml by itself and shares no code with the package.
type naive struct{ rows []naiveRow }

type naiveRow struct {
	name, method, query string
	re                  *regexp.Regexp
	// What each group of re must be besides, and which make up the target.
	groups  []naiveGroup
	project string
}

type naiveGroup struct {
	name, kind string
	not        []string
	encoded    bool
	suffix     string
}

// sep stands between decoded segments; no path may have it.
const sep = "\x01"

var naiveParam = regexp.MustCompile(`^([:*])([a-z0-9_]+)(?:<([^>]*)>)?(.*)$`)

func readNaive(t testing.TB, document []byte) *naive {
	var doc struct {
		Routes []struct {
			Methods, Patterns []string
			Query             string
			Project, Job      string
			Permission        string
			Surface, Style    string
			Carriers          []string
			Open              bool
		}
	}
	if err := yaml.Unmarshal(document, &doc); err != nil {
		t.Fatal(err)
	}
	n := &naive{}
	for _, r := range doc.Routes {
		for _, m := range r.Methods {
			for _, p := range r.Patterns {
				name := m + " " + p
				if r.Query != "" {
					name += "?" + r.Query
				}
				for _, reading := range naiveReadings(p) {
					row := naiveRow{name: name, method: m, query: r.Query, project: r.Project}
					if r.Job != "" && r.Job != "own" {
						row.project = "job" + r.Job
					}
					row.compile(reading)
					n.rows = append(n.rows, row)
				}
			}
		}
	}
	return n
}

func naiveReadings(p string) []string {
	i := strings.IndexByte(p, '(')
	if i < 0 {
		return []string{p}
	}
	j := strings.IndexByte(p, ')')
	return append(naiveReadings(p[:i]+p[j+1:]), naiveReadings(p[:i]+p[i+1:j]+p[j+1:])...)
}

func (r *naiveRow) compile(pattern string) {
	re := "^"
	for _, piece := range strings.Split(pattern[1:], "/") {
		m := naiveParam.FindStringSubmatch(piece)
		if m == nil {
			re += sep + regexp.QuoteMeta(piece)
			continue
		}
		g := naiveGroup{name: m[2], kind: r.kind(m[1] + m[2]), suffix: m[4]}
		for _, w := range strings.Split(m[3], ",") {
			w = strings.TrimSpace(w)
			if strings.HasPrefix(w, "not ") {
				g.not = strings.Split(w[4:], "|")
			}
			g.encoded = g.encoded || w == "encoded"
			if w == "number" {
				g.kind = "number"
			}
		}
		one := sep + "[^" + sep + "]+"
		if m[1] == "*" {
			one = "(?:" + one + ")+"
		}
		re += "(" + one + regexp.QuoteMeta(m[4]) + ")"
		r.groups = append(r.groups, g)
	}
	r.re = regexp.MustCompile(re + "$")
}

func (r *naiveRow) kind(param string) string {
	switch {
	case r.project == "job"+param:
		return "job"
	case r.project == "+"+param[1:]:
		return "plus"
	case r.project == param && param[0] == ':':
		return "id"
	case strings.Contains("/"+r.project+"/", "/"+param+"/"):
		return "name"
	}
	return "any"
}

var (
	naiveName = regexp.MustCompile(`^[A-Za-z0-9._~-]+$`)
	naiveID   = regexp.MustCompile(`^[1-9][0-9]*$`)
	allDigits = regexp.MustCompile(`^[0-9]+$`)
)

func isName(s string) bool {
	return naiveName.MatchString(s) && s != "." && s != ".." && s != "-" && !strings.HasSuffix(s, ".git")
}

func isPath(s, sep string) bool {
	names := strings.Split(s, sep)
	for _, n := range names {
		if !isName(n) {
			return false
		}
	}
	return len(names) >= 2 && len(names) <= 64 && len(s) <= 1024
}

// target says whether the segments satisfy the group, and what they add to the target.
func (g *naiveGroup) target(segments, raws []string) (string, bool) {
	for i, s := range segments {
		for _, n := range g.not {
			if s == n || n[0] == '*' && strings.HasSuffix(s, n[1:]) {
				return "", false
			}
		}
		value := s
		if i == len(segments)-1 {
			if value = strings.TrimSuffix(value, g.suffix); value == "" || !strings.HasSuffix(raws[i], g.suffix) {
				return "", false
			}
		}
		ok := true
		switch g.kind {
		case "id":
			n, err := strconv.ParseFloat(value, 64)
			ok = naiveID.MatchString(value) && err == nil && n <= math.MaxInt64>>10 || !allDigits.MatchString(value) && isPath(value, "/")
		case "plus":
			ok = isPath(value, "+")
		case "name":
			ok = isName(value) && raws[i] == s
		case "number":
			ok = allDigits.MatchString(value)
		case "job":
			ok = len(value) <= 128 && strings.Trim(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") == ""
		}
		if !ok || strings.Contains(s, "/") && !g.encoded && g.kind != "id" {
			return "", false
		}
	}
	switch s := strings.TrimSuffix(strings.Join(segments, "/"), g.suffix); g.kind {
	case "id", "name", "job":
		return s, true
	case "plus":
		return strings.ReplaceAll(s, "+", "/"), true
	}
	return "", true
}

// match gives the names of all rows that match, each with its target; "" for a path that is never matched.
func (n *naive) match(r *route.Request) (names, targets []string) {
	raws := strings.Split(r.Path, "/")
	if len(r.Path) > 4096 || len(raws) < 2 || len(raws) > 129 || raws[0] != "" {
		return nil, nil
	}
	raws = raws[1:]
	var segments []string
	for i, raw := range raws {
		s, err := url.PathUnescape(raw)
		if err != nil || raw == "" && i < len(raws)-1 || strings.ContainsAny(raw, " #?") || strings.ContainsAny(s, ";\\\x7f") ||
			strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }) || !utf8.ValidString(s) || regexp.MustCompile(`%[0-9A-Fa-f]{2}`).MatchString(s) {
			return nil, nil
		}
		for _, name := range strings.Split(s, "/") {
			if name == "." || name == ".." || name == "" && raw != "" {
				return nil, nil
			}
		}
		segments = append(segments, s)
	}
	for _, row := range n.rows {
		if m := row.re.FindStringSubmatchIndex(sep + strings.Join(segments, sep)); m != nil && row.method == r.Method && row.condition(r.Query) {
			if target, ok := row.check(segments, raws, m); ok {
				names, targets = append(names, row.name), append(targets, target)
			}
		}
	}
	return names, targets
}

// check looks at what the groups hold, and that everything outside of them stands there as it was sent.
func (r *naiveRow) check(segments, raws []string, m []int) (string, bool) {
	at := func(place int) int { return strings.Count((sep + strings.Join(segments, sep))[:place], sep) }
	literal := make([]bool, len(segments))
	for i := range literal {
		literal[i] = true
	}
	var target []string
	for i, g := range r.groups {
		lo, hi := at(m[2*i+2]), at(m[2*i+3])
		value, ok := g.target(segments[lo:hi], raws[lo:hi])
		if !ok {
			return "", false
		}
		if value != "" {
			target = append(target, value)
		}
		for k := lo; k < hi; k++ {
			literal[k] = false
		}
	}
	for i := range literal {
		if literal[i] && raws[i] != segments[i] {
			return "", false
		}
	}
	if p, ok := strings.CutPrefix(r.project, "="); ok {
		return p, true
	}
	path := strings.Join(target, "/")
	if strings.ContainsAny(r.project, "*/") && !isPath(path, "/") {
		return "", false
	}
	return path, true
}

func (r *naiveRow) condition(query string) bool {
	if r.query == "" {
		return true
	}
	name, value, _ := strings.Cut(r.query, "=")
	v, err := url.ParseQuery(query)
	if err != nil {
		return false
	}
	for k := range v {
		if strings.ContainsFunc(k, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return false
		}
	}
	return len(v[name]) == 1 && v[name][0] == value
}

func builtinNaive(t testing.TB) *naive {
	document, err := os.ReadFile("routes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return readNaive(t, document)
}
