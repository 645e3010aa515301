package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

const envPrefix = "JOBWARD_"

// setting is where one value came from.
type setting struct {
	value string
	from  string // for people: "environment variable JOBWARD_X", "line 3 of pdp.yaml"
}

// sources resolves settings that no flag gave: first the environment, then the file. It is a kong resolver, so every source is parsed by
// the same code, and remembers where each value came from.
type sources struct {
	env, file map[string]setting // by name
	used      map[string]string  // name to where its value came from
	last      string             // the setting resolved last, which is the one a parse error is about
}

// newSources reads the environment, given as KEY=VALUE, and the file, which may be "".
func (p *Program) newSources(app *kong.Application, environ []string, path string) (*sources, error) {
	names := settingNames(app)
	s := &sources{used: map[string]string{}}
	var err error
	if s.env, err = p.readEnvironment(environ, names); err != nil {
		return nil, err
	}
	if path == "" {
		path = s.env["config"].value
	}
	if path != "" {
		s.file, err = p.readFile(path, names)
	}
	return s, err
}

// settingNames lists the flags that are settings: those of the program itself, not of one of its verbs, and not --help.
func settingNames(app *kong.Application) []string {
	var names []string
	for _, f := range app.Flags {
		if f.Name != "help" {
			names = append(names, f.Name)
		}
	}
	return names
}

// Validate implements kong.Resolver. What it could refuse was refused when the sources were read.
func (s *sources) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver.
func (s *sources) Resolve(_ *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
	if parent.App == nil {
		return nil, nil // a flag of a verb
	}
	for _, from := range []map[string]setting{s.env, s.file} {
		if v, ok := from[flag.Name]; ok {
			s.used[flag.Name], s.last = v.from, flag.Name
			return v.value, nil
		}
	}
	return nil, nil
}

func envName(setting string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(setting, "-", "_"))
}

// readEnvironment takes our variables and refuses those that no setting is called, except what others put there.
func (p *Program) readEnvironment(environ, names []string) (map[string]setting, error) {
	byEnv := map[string]string{}
	var known []string
	for _, n := range names {
		byEnv[envName(n)] = n
		known = append(known, envName(n))
	}
	kubernetes := slices.ContainsFunc(environ, func(kv string) bool { return strings.HasPrefix(kv, "KUBERNETES_SERVICE_HOST=") })
	found := map[string]setting{}
	var errs []error
	for _, kv := range environ {
		key, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(key, envPrefix) || value == "" {
			continue
		}
		name, ok := byEnv[key]
		switch {
		case ok:
			found[name] = setting{value, "environment variable " + key}
		case !p.foreign(key, kubernetes):
			errs = append(errs, fmt.Errorf("environment variable %s is no setting%s", key, p.didYouMean(key, known)))
		}
	}
	return found, errors.Join(errs...)
}

// foreign knows the variables with our prefix that are not ours to judge: those of the other programs, and those that Kubernetes
// makes for every service of the namespace, JOBWARD_SERVICE_HOST and JOBWARD_PORT_7420_TCP_ADDR for one that is called jobward.
func (p *Program) foreign(key string, kubernetes bool) bool {
	rest := strings.TrimPrefix(key, envPrefix)
	if slices.Contains(p.Elsewhere, rest) {
		return true
	}
	rest = "_" + rest
	return kubernetes && (strings.HasSuffix(rest, "_SERVICE_HOST") || strings.HasSuffix(rest, "_SERVICE_PORT") || strings.Contains(rest, "_SERVICE_PORT_") ||
		strings.HasSuffix(rest, "_PORT") || strings.Contains(rest, "_PORT_"))
}

// didYouMean gives "; did you mean X?" when a known name is near, and nothing else otherwise.
func (p *Program) didYouMean(name string, known []string) string {
	best, distance := "", max(2, len(name)/4)+1
	for _, k := range known {
		if d := editDistance(name, k); d < distance {
			best, distance = k, d
		}
	}
	if best == "" {
		return "; see " + p.Name + " --help for those there are"
	}
	return "; did you mean " + best + "?"
}

// editDistance counts the bytes to insert, delete or replace to make b of a.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
