package route

import (
	"slices"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
)

// node is a place in the table: what was matched so far is the way to it from the root.
type node struct {
	literals map[string]*node
	params   []edge
	leaves   []leaf
}

// edge leads over one segment of a class, or over one or more.
type edge struct {
	class *class
	key   string
	many  bool
	next  *node
}

// leaf is a route that ends at a node, for one method.
type leaf struct {
	method string
	query  query
	route  *Route
	find   finder
}

// finder says where in the matched path the target is.
type finder struct {
	how   how
	fixed authz.Target
	// The project or job is in the segments from first to the one with after segments behind it, and suffix does not belong to it.
	first, after int
	suffix       string
}

type how uint8

const (
	nowhere how = iota
	fixed
	inID    // one segment, number or full path
	inPlus  // one segment, + for slashes
	inNames // the names of the segments are the full path
	inJob   // one segment, a job id
)

// add puts a pattern into the trie.
func (n *node) add(p *pattern, l leaf) {
	for i := range p.parts {
		n = n.child(&p.parts[i])
	}
	n.leaves = append(n.leaves, l)
}

func (n *node) child(p *part) *node {
	if p.class == nil {
		if n.literals == nil {
			n.literals = map[string]*node{}
		}
		if n.literals[p.literal] == nil {
			n.literals[p.literal] = &node{}
		}
		return n.literals[p.literal]
	}
	key := p.class.key()
	i := slices.IndexFunc(n.params, func(e edge) bool { return e.key == key && e.many == p.many })
	if i < 0 {
		i = len(n.params)
		n.params = append(n.params, edge{class: p.class, key: key, many: p.many, next: &node{}})
	}
	return n.params[i].next
}

// search is one look into a trie.
type search struct {
	split
	method, query string
	loose         bool
	err           *authz.Error
}

// from finds the leaf for the segments from i on. No two routes match one request, so the first found is the only one.
func (s *search) from(n *node, i int) *leaf {
	if i == s.n {
		return s.leaf(n)
	}
	raw, dec := s.segment(i)
	lit := raw
	if s.loose {
		lit = dec
	}
	if next := n.literals[lit]; next != nil {
		if l := s.from(next, i+1); l != nil || s.err != nil {
			return l
		}
	}
	for k := range n.params {
		e := &n.params[k]
		for j := i; j < s.n; j++ {
			if raw, dec = s.segment(j); !e.class.matches(raw, dec, s.loose) {
				break
			}
			if l := s.from(e.next, j+1); l != nil || s.err != nil {
				return l
			}
			if !e.many {
				break
			}
		}
	}
	return nil
}

func (s *search) leaf(n *node) *leaf {
	for i := range n.leaves {
		l := &n.leaves[i]
		if l.method != s.method {
			continue
		}
		if l.query.name == "" {
			return l
		}
		var ok bool
		if ok, s.err = l.query.holds(s.query); ok || s.err != nil {
			return l
		}
	}
	return nil
}

// target fills the target or the job of m.
func (s *search) target(f *finder, m *Match) *authz.Error {
	switch f.how {
	case nowhere:
		return nil
	case fixed:
		m.Target = f.fixed
		return nil
	}
	begin := 1
	if f.first > 0 {
		begin = int(s.rawEnd[f.first-1]) + 1
	}
	last := s.n - 1 - f.after
	if f.after < 0 {
		last = f.first - f.after - 1
	}
	_, dec := s.segment(last)
	switch f.how {
	case inID:
		dec = strings.TrimSuffix(dec, f.suffix)
		if digits(dec) {
			m.Target.ID = number(dec)
		} else {
			m.Target.Path = dec
		}
	case inPlus:
		m.Target.Path = strings.ReplaceAll(strings.TrimSuffix(dec, f.suffix), "+", "/")
	case inJob:
		m.Job = authz.JobID(strings.TrimSuffix(dec, f.suffix))
	case inNames:
		m.Target.Path = strings.TrimSuffix(s.raw[begin:s.rawEnd[last]], f.suffix)
		if len(m.Target.Path) > maxProjectPath || last-f.first >= maxProjectNames {
			return badPath("the project's path has more than 1024 bytes or 64 names")
		}
	}
	return nil
}
