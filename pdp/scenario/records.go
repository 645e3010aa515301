package scenario

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// What the records of every scenario have in common.
const (
	// JobID is the id of the job.
	JobID authz.JobID = "scenario-job"
	// Runner is the runner of a job with a heartbeat.
	Runner = "scenario-runner"

	builtAt  authz.Revision = 1 // when the world was there and the token was issued
	killedAt authz.Revision = 2 // when what is marked as killed was
	term                    = time.Minute
)

// Index tells the ids that the names of a world got.
type Index struct {
	Groups   map[string]authz.GroupID
	Projects map[string]authz.ProjectID
	Users    map[string]authz.UserID
}

// Scope finds a project or group by its path.
func (ix *Index) Scope(path string) (authz.Scope, bool) {
	if id, ok := ix.Projects[path]; ok {
		return authz.InProject(id), true
	}
	if id, ok := ix.Groups[path]; ok {
		return authz.InGroup(id), true
	}
	return authz.Scope{}, false
}

// Records gives everything a store needs to answer the scenario's question: the
// world, the job, and the question, to be asked as of now. Errors name the place in
// the file and the field.
func (s *Scenario) Records() (records []state.Record, req authz.Request, now authz.Stamp, err error) {
	now = authz.StampOf(time.Date(2026, time.January, 5, 12, 0, 0, 0, time.UTC))
	fail := func(err error) ([]state.Record, authz.Request, authz.Stamp, error) {
		return nil, authz.Request{}, 0, s.wrap(err)
	}
	world, ix, err := s.World.records(cmp.Or(s.Job.User, "dev"))
	if err != nil {
		return fail(fmt.Errorf("world.%w", err))
	}
	job, err := s.Job.Records(ix, now)
	if err != nil {
		return fail(fmt.Errorf("job.%w", err))
	}
	surface, err := parse("surface", s.Request.Surface, authz.SurfaceDefault, authz.ParseSurface)
	if err != nil {
		return fail(fmt.Errorf("request.%w", err))
	}
	req = authz.Request{
		Token: s.Job.Shows(), Target: authz.Target{Path: s.Request.TargetProject},
		Permission: s.Request.Permission, Surface: surface,
	}
	return append(world, job...), req, now, nil
}

// wrap puts the place of the scenario before an error.
func (s *Scenario) wrap(err error) error {
	if s.File == "" {
		return fmt.Errorf("scenario %s: %w", s.ID, err)
	}
	return fmt.Errorf("%s:%d: %s: %w", s.File, s.Line, s.ID, err)
}

// Digests of the tokens that scenarios speak of. There is no text behind them that
// has the form of a token.
func valid() authz.Digest    { return sha256.Sum256([]byte("scenario: the newest token of the job")) }
func replaced() authz.Digest { return sha256.Sum256([]byte("scenario: an earlier token of the job")) }
func unknown() authz.Digest  { return sha256.Sum256([]byte("scenario: a token that no job has")) }

// Shows gives the digest of the token that the job shows; zero when it is no token, and
// [authz.Nobody] when nothing is shown.
func (j *Job) Shows() authz.Digest {
	switch j.Token {
	case "unknown":
		return unknown()
	case "malformed":
		return authz.Digest{}
	case "replaced":
		return replaced()
	case "none":
		return authz.Nobody
	}
	return valid()
}

// Records gives the records of the job in a world with this index, as of now: the job
// itself, and where it has them its runner's heartbeat and its replaced token. A
// project or user that the index does not have gets an id that nothing has.
func (j *Job) Records(ix *Index, now authz.Stamp) ([]state.Record, error) {
	status, err := parse("state", j.State, authz.JobRunning, authz.ParseJobStatus)
	if err != nil {
		return nil, err
	}
	switch {
	case j.Project == "" && j.Token == "none":
		return nil, nil // nobody's question: there need be no job
	case j.Project == "":
		return nil, fmt.Errorf("project is missing")
	}
	r := &state.Job{
		ID: JobID, Digest: valid(), Project: authz.MaxID, User: authz.MaxID, Pipeline: 1, Ref: "main",
		Issued: builtAt, IssuedAt: now.Add(-10 * time.Minute), Expires: now.Add(time.Hour), Status: status, Erased: j.Erased,
	}
	if id, ok := ix.Projects[j.Project]; ok {
		r.Project = id
	}
	if id, ok := ix.Users[cmp.Or(j.User, "dev")]; ok {
		r.User = id
	}
	out := []state.Record{r}
	switch j.Token {
	case "", "valid", "unknown", "malformed", "none":
	case "expired":
		r.Expires = now.Add(-time.Minute)
	case "replaced":
		out = append(out, &state.Replaced{Digest: replaced(), Job: JobID, At: r.IssuedAt})
	default:
		return nil, fmt.Errorf("token: unknown kind %q: use valid, expired, replaced, unknown, malformed or none", j.Token)
	}
	beat, err := j.heartbeat(r, now)
	if err != nil {
		return nil, err
	}
	if beat != nil {
		out = append(out, beat)
	}
	r.Limits, err = j.Limits.resolve(ix)
	return out, err
}

func (j *Job) heartbeat(r *state.Job, now authz.Stamp) (state.Record, error) {
	if j.Heartbeat == "" || j.Heartbeat == "none" {
		return nil, nil
	}
	r.Runner, r.Term = Runner, term
	beat := &state.Runner{ID: Runner, Beat: now.Add(-term / 2)}
	switch j.Heartbeat {
	case "beating":
	case "overdue":
		beat.Beat = now.Add(-2 * term)
	case "lapsed":
		r.Lapsed = true
	default:
		return nil, fmt.Errorf("heartbeat: unknown kind %q: use none, beating, overdue or lapsed", j.Heartbeat)
	}
	return beat, nil
}

func (l *Limits) resolve(ix *Index) (policy.Limits, error) {
	if l == nil {
		return policy.Limits{}, nil
	}
	out := policy.Limits{Permissions: l.Permissions}
	if l.Targets != nil {
		out.Targets = []authz.Scope{}
	}
	for i, path := range l.Targets {
		s, ok := ix.Scope(path)
		if !ok {
			return policy.Limits{}, fmt.Errorf("limits.targets[%d]: there is no project or group %q", i, path)
		}
		out.Targets = append(out.Targets, s)
	}
	return out, nil
}

// parse reads a name that may be left out; its error begins with the field.
func parse[T any](field, s string, absent T, from func(string) (T, error)) (T, error) {
	if s == "" {
		return absent, nil
	}
	v, err := from(s)
	if err != nil {
		return v, fmt.Errorf("%s: %w", field, err)
	}
	return v, nil
}

// split gives the segments above a path's last, and the last.
func split(path string) (dirs []string, name string) {
	segments := strings.Split(path, "/")
	return segments[:len(segments)-1], segments[len(segments)-1]
}

// above gives a path without its last segment, "" for one that has only one.
func above(path string) string { return path[:max(0, strings.LastIndexByte(path, '/'))] }

// number gives out ids: those asked for, and for the others the smallest free ones, in
// the order of the file.
func number[T ~int64](what string, n int, asked func(int) (id T, name string)) (map[string]T, error) {
	ids, taken := make(map[string]T, n), make(map[T]bool, n)
	for i := range n {
		id, name := asked(i)
		if _, twice := ids[name]; twice {
			return nil, fmt.Errorf("%s[%d]: %q is there twice", what, i, name)
		}
		if ids[name] = id; id == 0 {
			continue
		}
		if id < 0 || id >= authz.MaxID {
			return nil, fmt.Errorf("%s[%d].id: %d is out of range", what, i, id)
		}
		if taken[id] {
			return nil, fmt.Errorf("%s[%d].id: %d is there twice", what, i, id)
		}
		taken[id] = true
	}
	next := T(1)
	for i := range n {
		if _, name := asked(i); ids[name] == 0 {
			for taken[next] {
				next++
			}
			ids[name], taken[next] = next, true
		}
	}
	return ids, nil
}

// catalogue gives the document and what it makes of the built-in catalogue.
func (w *World) catalogue() (document []byte, c *policy.Catalogue, err error) {
	if w.Catalogue == nil {
		return nil, policy.Builtin(), nil
	}
	if document, err = json.Marshal(w.Catalogue); err == nil {
		c, err = policy.Extend(document)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("catalogue: %w", err)
	}
	return document, c, nil
}

// sorted gives a copy in order of scope, as [state.Members] and [state.Allowlist] keep
// their lists.
func sorted[T any](list []T, scope func(T) authz.Scope) []T {
	out := slices.Clone(list)
	slices.SortFunc(out, func(a, b T) int {
		s, t := scope(a), scope(b)
		return cmp.Or(cmp.Compare(s.Kind, t.Kind), cmp.Compare(s.ID, t.ID))
	})
	return out
}
