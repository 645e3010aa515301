package gitlab

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
	"github.com/jobward/jobward/pdp/state/memstore"
	"github.com/jobward/jobward/test/capture"
	"github.com/jobward/jobward/test/files"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The world. Mia maintains app and the rest of acme; each of the others has on app the role that is their name, but
// Ada, an instance administrator, who has none anywhere, and Bob, an owner who is blocked.
const (
	acme, deep, team, crowd = 1, 2, 3, 4 // groups: the last is public, the others private, and deep in acme

	app     = 10 // acme/deep/app, private
	lib     = 11 // acme/lib, private
	open    = 12 // zoe/open, public
	inside  = 13 // crowd/inside, internal
	secret  = 14 // team/secret, private
	guested = 15 // zoe/guested, private, where Mia is guest
	dying   = 16 // zoe/dying, public and pending delete
	absent  = 99

	mia, ada, bob, out                 = 1, 2, 3, 4
	guest, reporter, developer, keeper = 5, 6, 7, 8
	owner                              = 9
)

func world() []state.Record {
	users := map[authz.UserID]string{mia: "mia", ada: "ada", bob: "bob", out: "out", guest: "guest", reporter: "reporter", developer: "developer", keeper: "keeper", owner: "owner"}
	records := []state.Record{
		&state.Instance{Instance: policy.Instance{AnyoneCanPull: true}, MaxProjectEntries: 200, MaxGroupEntries: 200},
		&state.Group{ID: acme, Name: "acme"}, &state.Group{ID: deep, Parent: acme, Name: "deep"}, &state.Group{ID: team, Name: "team"},
		&state.Group{ID: crowd, Name: "crowd", Visibility: authz.Public},
		&state.Project{ID: app, Group: deep, Name: "app.go", PublicBuilds: true},
		&state.Project{ID: lib, Group: acme, Name: "lib"},
		&state.Project{ID: open, Namespace: "zoe", Name: "open", Visibility: authz.Public},
		&state.Project{ID: inside, Group: crowd, Name: "inside", Visibility: authz.Internal},
		&state.Project{ID: secret, Group: team, Name: "secret"},
		&state.Project{ID: guested, Namespace: "zoe", Name: "guested"},
		&state.Project{ID: dying, Namespace: "zoe", Name: "dying", Visibility: authz.Public, State: authz.StatePendingDelete},
	}
	on := func(u authz.UserID, ms ...state.Membership) {
		records = append(records, &state.Members{User: u, List: ms})
	}
	for id := authz.UserID(mia); id <= owner; id++ {
		u := &state.User{ID: id, Name: users[id], Admin: id == ada}
		if id == bob {
			u.State = authz.UserStateBlocked
		}
		records = append(records, u)
	}
	on(mia, state.Membership{Scope: authz.InProject(guested), Role: authz.RoleGuest}, state.Membership{Scope: authz.InGroup(acme), Role: authz.RoleMaintainer})
	for id, role := range map[authz.UserID]authz.Role{
		bob: authz.RoleOwner, guest: authz.RoleGuest, reporter: authz.RoleReporter, developer: authz.RoleDeveloper, keeper: authz.RoleMaintainer, owner: authz.RoleOwner,
	} {
		on(id, state.Membership{Scope: authz.InProject(app), Role: role})
	}
	return records
}

// rig is the handler on a real socket, with a key for every user.
type rig struct {
	t      testing.TB
	store  state.Store
	engine *engine.Engine
	tokens *token.Format
	server *httptest.Server
	log    capture.Output
	keys   map[authz.UserID]string
	// named are the keys of callers that act for no user of their own.
	named map[string]string
}

func newRig(t testing.TB, change ...func(*Options)) *rig {
	t.Helper()
	return newRigOn(t, memstore.New(), change...)
}

func newRigOn(t testing.TB, store state.Store, change ...func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, store: store, keys: map[authz.UserID]string{}, named: map[string]string{}}
	var err error
	if r.tokens, err = token.NewFormat(token.DefaultPrefix); err != nil {
		t.Fatal(err)
	}
	if r.engine, err = engine.New(t.Context(), engine.Options{Store: r.store, Tokens: r.tokens}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.engine.Close()
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	})
	r.commit(world()...)
	opt := Options{
		Engine: r.engine, Tokens: r.tokens, Callers: r.callers(), ExternalURL: "https://forge.example",
		Logger: slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&opt)
	}
	h, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	r.server = httptest.NewServer(h)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		r.server.Close()
		r.noSecrets()
	})
	return r
}

func (r *rig) commit(records ...state.Record) {
	r.t.Helper()
	if _, err := r.store.Commit(r.t.Context(), state.Batch{Puts: records, Stamp: r.engine.Now(), Actor: "test", Verb: "world"}); err != nil {
		r.t.Fatal(err)
	}
}

// callers writes a callers file and reads it.
func (r *rig) callers() *identity.Callers {
	r.t.Helper()
	var rows strings.Builder
	rows.WriteString("keys:\n")
	for id := authz.UserID(mia); id <= owner; id++ {
		key, hash := identity.NewKey()
		fmt.Fprintf(&rows, "- {name: user-%d, sha256: %s, roles: [maintainer], user: %d}\n", id, hash, id)
		r.keys[id] = key
	}
	for name, roles := range map[string]string{"front": "maintainer", "root": "admin", "runner": "runner", "sync": "directory, service"} {
		key, hash := identity.NewKey()
		fmt.Fprintf(&rows, "- {name: %s, sha256: %s, roles: [%s]}\n", name, hash, roles)
		r.named[name] = key
	}
	key, hash := identity.NewKey()
	fmt.Fprintf(&rows, "- {name: ghost, sha256: %s, roles: [maintainer], user: 4711}\n", hash)
	r.named["ghost"] = key
	c, err := identity.LoadCallers(files.Write(r.t, filepath.Join(r.t.TempDir(), "callers.yaml"), rows.String(), 0o600))
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// noSecrets wants no key in the log.
func (r *rig) noSecrets() {
	r.t.Helper()
	said := r.log.String()
	for _, key := range r.keys {
		if strings.Contains(said, key[6:20]) {
			r.t.Error("a key is in the log")
		}
	}
	if strings.Contains(said, token.DefaultPrefix+"1") {
		r.t.Error("a job token is in the log")
	}
}

// reply is an answer.
type reply struct {
	status int
	header http.Header
	body   string
}

// says gives the text of an error and the key that it stands under.
func (a reply) says() (key, text string) {
	var m map[string]any
	if json.Unmarshal([]byte(a.body), &m) != nil || len(m) != 1 {
		return "", a.body
	}
	for k, v := range m {
		key, text = k, fmt.Sprint(v)
	}
	return key, text
}

// do sends a request as it stands: the path is not cleaned. A body that does not begin like JSON is a form.
func (r *rig) do(method, path, body string, header ...string) reply {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.server.URL+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	switch {
	case body == "":
		req.Body = nil
	case strings.ContainsAny(body[:1], "{[ "):
		req.Header.Set("Content-Type", "application/json")
	default:
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Del(header[i])
		if header[i+1] != "" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, resp.Body); err != nil {
		r.t.Fatal(err)
	}
	a := reply{resp.StatusCode, resp.Header, b.String()}
	r.wellFormed(method, path, a)
	return a
}

// as is do with the key of a user.
func (r *rig) as(user authz.UserID, method, path, body string, header ...string) reply {
	r.t.Helper()
	return r.do(method, "/api/v4/"+path, body, append([]string{"Private-Token", r.keys[user]}, header...)...)
}

// wellFormed is what every answer is.
func (r *rig) wellFormed(method, path string, a reply) {
	r.t.Helper()
	switch {
	case a.status >= 500:
		r.t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
	case a.status == http.StatusNoContent:
		if a.body != "" || a.header.Get("Content-Type") != "" {
			r.t.Errorf("%s %s: 204 with %q", method, path, a.body)
		}
		return
	case method == http.MethodHead:
	case a.header.Get("Content-Type") != "application/json" || !json.Valid([]byte(a.body)):
		r.t.Errorf("%s %s: %d %q is no JSON", method, path, a.status, a.body)
	}
	if key, text := a.says(); a.status >= 400 && method != http.MethodHead && (key != keyError && key != keyMessage || text == "") {
		r.t.Errorf("%s %s: %d with the body %s", method, path, a.status, a.body)
	}
}

// want compares a status, and what an error says: "error: …" or "message: …", of which a part is enough.
func (r *rig) want(what string, a reply, status int, text string) {
	r.t.Helper()
	key, said := a.says()
	if a.status != status || text != "" && !strings.Contains(key+": "+said, text) {
		r.t.Errorf("%s: %d %s\nwant %d %s", what, a.status, strings.TrimSpace(a.body), status, text)
	}
}

// on lists the ids of a list as Mia sees it.
func (r *rig) on(project int, list string) (ids []int64) {
	r.t.Helper()
	a := r.as(mia, "GET", fmt.Sprintf("projects/%d/job_token_scope/%s?per_page=100", project, list), "")
	var items []struct{ ID int64 }
	if err := json.Unmarshal([]byte(a.body), &items); err != nil || a.status != 200 {
		r.t.Fatalf("the list: %d %s", a.status, a.body)
	}
	for _, item := range items {
		ids = append(ids, item.ID)
	}
	return ids
}
