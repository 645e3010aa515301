package route

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jobward/jobward/pdp/authz"
)

// target is where a row names the project or the job.
type target struct {
	kind  TargetKind
	how   how
	fixed authz.Target
	// params are the parameters that hold the project or the job; where there are several, their segments follow each other.
	params []string
	many   bool // the last one stands for several segments
}

// readTarget reads the fields project and job of a row, of which one is set.
func readTarget(project, job string) (*target, error) {
	switch {
	case project != "" && job != "":
		return nil, fmt.Errorf("it names a project and a job; one of them is the target")
	case job == "own":
		return &target{kind: OwnJob}, nil
	case strings.HasPrefix(job, ":"):
		return &target{kind: ThatJob, how: inJob, params: []string{job[1:]}}, nil
	case job != "":
		return nil, fmt.Errorf("job %q: write own, or the parameter that has the job's id, as in \":id\"", job)
	case project == "owner":
		return &target{kind: Owner}, nil
	case strings.HasPrefix(project, "="):
		t := &target{how: fixed}
		if value := project[1:]; digits(value) && number(value) != 0 {
			t.fixed.ID = number(value)
		} else if !digits(value) && fullPath(value, '/') {
			t.fixed.Path = value
		} else {
			return nil, fmt.Errorf("project %q: after = stands the number of a project or its full path", project)
		}
		return t, nil
	case strings.HasPrefix(project, "+"):
		return &target{how: inPlus, params: []string{project[1:]}}, nil
	}
	t := &target{how: inNames}
	for p := range strings.SplitSeq(project, "/") {
		if len(p) < 2 || t.many || p[0] != ':' && p[0] != '*' {
			return nil, fmt.Errorf("project %q: write the parameter that has it (\":id\", \"*path\", \":owner/:name\", \"+path\"), a fixed one (\"=42\"), or owner", project)
		}
		t.params, t.many = append(t.params, p[1:]), p[0] == '*'
	}
	if len(t.params) == 1 && !t.many {
		t.how = inID
	}
	return t, nil
}

func (t *target) kindOf(param string) kind {
	if !slices.Contains(t.params, param) {
		return kindAny
	}
	switch t.how {
	case inID:
		return kindID
	case inPlus:
		return kindPlus
	case inJob:
		return kindJob
	}
	return kindName
}

// wholePath tells whether the parameter alone holds a full path over several segments.
func (t *target) wholePath(param string) bool {
	return t.many && len(t.params) == 1 && t.params[0] == param
}

// finder says where in what the pattern matches the target is. Written is the pattern as parsed, before its shapes.
func (t *target) finder(written *pattern) (finder, error) {
	f := finder{how: t.how, fixed: t.fixed}
	if len(t.params) == 0 {
		return f, nil
	}
	for i, name := range t.params {
		at, ok := written.names[name]
		if !ok {
			return f, fmt.Errorf("the pattern has no parameter %s, which the target is in", name)
		}
		if i > 0 && at != written.names[t.params[i-1]]+1 {
			return f, fmt.Errorf("the parameters of the project must follow each other in the pattern")
		}
		if written.parts[at].many != (t.many && i == len(t.params)-1) {
			return f, fmt.Errorf("the parameter %s has another sign (: or *) in the pattern than in the target", name)
		}
		if suffix := written.parts[at].class.suffix; suffix != "" {
			if i < len(t.params)-1 {
				return f, fmt.Errorf("only the last parameter of a project may have something after it")
			}
			f.suffix = suffix
		}
	}
	f.first = written.names[t.params[0]]
	for i, pt := range written.parts {
		if !pt.many {
			continue
		}
		if i < f.first || t.many && i != written.names[t.params[len(t.params)-1]] {
			return f, fmt.Errorf("another parameter with * stands before the target, or beside a project over several segments: there would be several readings")
		}
	}
	// A shape has more parts than was written only inside the project.
	f.after = -len(t.params)
	if t.many {
		f.after = len(written.parts) - 1 - written.names[t.params[len(t.params)-1]]
	}
	return f, nil
}
