package route

import (
	_ "embed" // the built-in table
	"fmt"
	"slices"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
)

//go:embed routes.yaml
var builtin []byte

// maxRoutes bounds the routes of a table, each method and each reading of a pattern counted: finding overlaps takes their square.
const maxRoutes = 2000

// Table is a set of routes of which no two match one request. It does not change after it is made.
type Table struct {
	root   node
	routes []*Route
	ways   []way
}

// way is one reading of a pattern, with the route it leads to.
type way struct {
	pattern *pattern
	method  string
	query   query
	route   *Route
	find    finder
}

// Builtin gives the table of SEMANTICS §20.
func Builtin() *Table {
	t := &Table{}
	// That no two of these overlap is a test's to show, not each start's.
	if err := t.add(builtin, false); err != nil {
		panic("route: the built-in table is broken: " + err.Error())
	}
	return t
}

// Extend gives the built-in table with the routes of an operator's YAML document added. It cannot change or take away what is built in. Errors
// say which route is wrong and why.
func Extend(document []byte) (*Table, error) {
	t := Builtin()
	if err := t.add(document, true); err != nil {
		return nil, err
	}
	return t, nil
}

// Routes gives every route, in the order of the documents. They are read only.
func (t *Table) Routes() []*Route { return slices.Clone(t.routes) }

// Match finds what r asks. The error is an [*authz.Error]: of KindInvalid for a path or a query that could mean two things to two programs
// (codes BAD_PATH and BAD_QUERY), of KindNotFound where there is no such route (NO_ROUTE). HEAD goes where GET goes.
func (t *Table) Match(r *Request) (Match, error) {
	s := search{method: r.Method, query: r.Query}
	if s.method == "HEAD" {
		s.method = "GET"
	}
	if err := s.cut(r.Path); err != nil {
		return Match{}, err
	}
	l := s.from(&t.root, 0)
	if s.err != nil {
		return Match{}, s.err
	}
	if l == nil {
		return Match{}, t.miss(&s)
	}
	m := Match{Route: l.route}
	if err := s.target(&l.find, &m); err != nil {
		return Match{}, err
	}
	return m, nil
}

// miss tells a path that is unknown from one that a program which decodes early would know.
func (t *Table) miss(s *search) error {
	if len(s.dec) != len(s.raw) {
		s.loose = true
		if l := s.from(&t.root, 0); l != nil || s.err != nil {
			return badPath("the path has percent-encoded characters where the route has none; send letters, digits and slashes as they are")
		}
	}
	return &authz.Error{Kind: authz.KindNotFound, Code: "NO_ROUTE", Message: "no route has this method and path; what the routes are is a setting of the sidecar"}
}

// add puts the rows of a document into the table.
func (t *Table) add(document []byte, check bool) error {
	rows, err := read(document)
	if err != nil {
		return fmt.Errorf("the routes: %w", err)
	}
	for i := range rows {
		if err := t.addRow(&rows[i], check); err != nil {
			return fmt.Errorf("routes[%d]: %w", i, err)
		}
	}
	return nil
}

func (t *Table) addRow(r *row, check bool) error {
	what, target, err := r.what()
	if err != nil {
		return err
	}
	q, err := r.condition()
	if err != nil {
		return err
	}
	if len(r.Methods) == 0 || len(r.Patterns) == 0 {
		return fmt.Errorf("it needs methods and patterns")
	}
	for _, m := range r.Methods {
		if m == "HEAD" || m == "" || len(m) > 32 || strings.Trim(m, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			return fmt.Errorf("method %q: write GET, POST, PUT, … in capitals; HEAD goes where GET goes", m)
		}
		for _, text := range r.Patterns {
			rt := what
			rt.Name = m + " " + text
			if r.Query != "" {
				rt.Name += "?" + r.Query
			}
			if err := t.addRoute(&rt, m, text, q, target, check); err != nil {
				return fmt.Errorf("%q: %w", rt.Name, err)
			}
		}
	}
	return nil
}

func (t *Table) addRoute(rt *Route, method, text string, q query, target *target, check bool) error {
	readings, err := expand(text)
	if err != nil {
		return err
	}
	for _, reading := range readings {
		written, err := parse(reading, target)
		if err != nil {
			return err
		}
		find, err := target.finder(written)
		if err != nil {
			return err
		}
		for _, p := range written.shapes(target) {
			w := way{pattern: p, method: method, query: q, route: rt, find: find}
			if check {
				if err := t.clash(&w); err != nil {
					return err
				}
			}
			if len(t.ways) == maxRoutes {
				return fmt.Errorf("the table has more than %d routes", maxRoutes)
			}
			t.ways = append(t.ways, w)
			t.root.add(p, leaf{method: method, query: q, route: rt, find: find})
		}
	}
	t.routes = append(t.routes, rt)
	return nil
}

// clash says with which route of the table w would share a request.
func (t *Table) clash(w *way) error {
	for i := range t.ways {
		path := w.meets(&t.ways[i])
		switch {
		case path == "":
		case t.ways[i].route == w.route:
			return fmt.Errorf("with and without an optional piece it matches %s, with different targets", path)
		default:
			return fmt.Errorf("%q matches %s too, and a request must have one route; a parameter can leave out what another route has, as in :name<not a|b|*.git>",
				t.ways[i].route.Name, path)
		}
	}
	return nil
}

// meets gives a path of a request that both ways match, "" when there is none.
func (w *way) meets(o *way) string {
	if w.route == o.route && w.find == o.find || w.method != o.method || w.query.name == o.query.name && w.query.value != o.query.value {
		return ""
	}
	return meet(w.pattern, o.pattern)
}
