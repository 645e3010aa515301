package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/proto"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// step is one command line, what it is fed, how it ends, and what it says: all words of want on standard output after code 0, and on
// the error output otherwise.
type step struct {
	args  []string
	input string
	code  int
	want  []string
}

// walk runs steps one after the other against one PDP.
func walk(t *testing.T, addr string, steps []step) {
	t.Helper()
	for _, s := range steps {
		code, out, errout := ctlWith(t, addr, s.input, s.args...)
		line := strings.Join(s.args, " ")
		if code != s.code {
			t.Fatalf("%s: code %d, want %d\n%s%s", line, code, s.code, out, errout)
		}
		said, quiet := strings.Join(strings.Fields(out), " "), errout
		if code != ExitOK {
			said, quiet = errout, out
		}
		if quiet != "" {
			t.Errorf("%s: the other stream says %q", line, quiet)
		}
		if code != ExitOK && strings.Count(errout, "\n") != 1 {
			t.Errorf("%s: the error is not one line: %q", line, errout)
		}
		for _, w := range s.want {
			if !strings.Contains(said, w) {
				t.Errorf("%s: %q is not in\n%s%s", line, w, out, errout)
			}
		}
	}
}

// words splits a command line at spaces.
func words(line string) []string { return strings.Fields(line) }

func TestDirectory(t *testing.T) {
	const add = "changes:\n  - set_group: {group_id: 9, parent_id: 1, name: lab}\n  - setProject: {project_id: 90, group_id: 9, name: probe, visibility: VISIBILITY_INTERNAL}\n"
	walk(t, newPDP(t), []step{
		{words("directory group get acme/web"), "", ExitOK, []string{"2 acme/web internal active"}},
		{words("directory group get 2"), "", ExitOK, []string{"2 acme/web internal active"}},
		{words("directory group get acme/none"), "", ExitFailed, []string{"acme/none", "NOT_FOUND"}},
		{words("directory group list"), "", ExitOK, []string{"1 acme public", "4 acme/platform/data private"}},
		{words("directory group list --parent acme/platform"), "", ExitOK, []string{"STATE REVISION 4 acme/platform/data"}},
		{words("directory project get dana/notes"), "", ExitOK, []string{"18 dana/notes private active"}},
		{words("directory project get 99"), "", ExitFailed, []string{"NOT_FOUND"}},
		{words("directory project list --group acme/web"), "", ExitOK, []string{"11 acme/web/shop", "12 acme/web/design", "13 acme/web/site"}},
		{words("directory project list --group 4"), "", ExitOK, []string{"STATE REVISION 16 acme/platform/data/warehouse"}},
		{words("directory project list --limit 0"), "", ExitFailed, []string{"--limit"}},
		{words("directory project list --page-token nonsense"), "", ExitFailed, []string{"INVALID"}},
		{words("directory user get victor"), "", ExitOK, []string{"104 victor active true false"}},
		{words("directory user get nobody"), "", ExitFailed, []string{"no user is named nobody"}},
		{words("directory user list --name dana"), "", ExitOK, []string{"REVISION 102 dana active"}},
		{words("directory member list --user dana"), "", ExitOK, []string{"102 project 18 owner", "102 group 2 developer", "102 group 3 reporter"}},
		{words("directory member list --project acme/web/shop --inherited"), "", ExitOK, []string{"101 group 1 owner", "104 project 11 reporter"}},
		{words("directory member list --group 3"), "", ExitOK, []string{"103 group 3 maintainer"}},
		{words("directory member list --inherited"), "", ExitFailed, []string{"--inherited needs"}},

		{words("directory apply - --validate-only"), add, ExitOK, []string{"2 of 2", "nothing was changed"}},
		{words("directory group get acme/lab"), "", ExitFailed, []string{"NOT_FOUND"}},
		{words("directory apply - --request-id r1"), add, ExitOK, []string{"2 of 2 changes make a difference", "in force everywhere"}},
		{words("directory apply - --request-id r1"), add, ExitOK, []string{"0 of 2"}},
		{words("directory project get acme/lab/probe"), "", ExitOK, []string{"90 acme/lab/probe internal"}},
		{words("directory apply - --expected-revision 1"), `{"changes":[{"remove_project_id":"90"}]}`, ExitFailed, []string{"REVISION_MISMATCH"}},
		{words("directory apply -"), `{"changes":[{"remove_group_id":"9"}]}`, ExitFailed, []string{"9"}},
		{words("directory apply -"), "changes: [{paint_group: 9}]", ExitFailed, []string{"ApplyChangesRequest", "paint_group"}},
		{words("directory apply /nonexistent/file"), "", ExitFailed, []string{"/nonexistent/file"}},

		{words("directory block dana --validate-only"), "", ExitOK, []string{"nothing was changed"}},
		{words("directory block dana --state banned"), "", ExitOK, []string{"done at revision"}},
		{words("directory user get dana"), "", ExitOK, []string{"102 dana banned"}},
		{words("directory block dana --state tired"), "", ExitFailed, []string{"--state"}},
		{words("directory unblock dana"), "", ExitOK, []string{"done at revision"}},
		{words("directory user get 102"), "", ExitOK, []string{"102 dana active"}},
		{words("directory unblock 999"), "", ExitFailed, []string{"NOT_FOUND"}},

		{words("directory project delete finish acme/lab/probe"), "", ExitFailed, []string{"delet"}},
		{words("directory project delete begin acme/lab/probe"), "", ExitOK, []string{"done at revision"}},
		{words("directory project get 90"), "", ExitOK, []string{"pending_delete"}},
		{words("directory project delete finish 90"), "", ExitOK, []string{"done at revision"}},
		{words("directory project get 90"), "", ExitFailed, []string{"NOT_FOUND"}},
	})
}

func TestInstance(t *testing.T) {
	const extension = `{"policies":["read_moods"],"permissions":[{"name":"read_moods","surface":"rest","action":"read","role":"guest","policies":["read_moods"]}]}`
	addr := newPDP(t)
	walk(t, addr, []step{
		{words("settings get"), "", ExitOK, []string{"public scope exempt", "enforce inbound lists on", "most projects on a list 200"}},
		{words("settings set"), "", ExitFailed, []string{"nothing to set"}},
		{words("settings set --public-scope never"), "", ExitFailed, []string{"--public-scope"}},
		{words("settings set --max-group-entries 1001"), "", ExitFailed, []string{"INVALID"}},
		{words("settings set --no-enforce-inbound --validate-only"), "", ExitOK, []string{"enforce inbound lists off", "nothing was changed"}},
		{words("settings set --public-scope strict --no-enforce-inbound --max-group-entries 0"), "", ExitOK, []string{"public scope strict", "enforce inbound lists off", "most projects on a list 200 most groups on a list 0"}},
		{words("settings set --anyone-can-pull --expected-revision 1"), "", ExitFailed, []string{"REVISION_MISMATCH"}},
		{words("settings set --anyone-can-pull --as dana"), "", ExitFailed, []string{"administrator"}},
		{words("settings get"), "", ExitOK, []string{"public scope strict enforce inbound lists off"}},

		{words("catalogue get"), "", ExitOK, []string{"PERMISSION SURFACE ACTION", "read_packages", "may grant: admin_badges,"}},
		{words("catalogue get --document"), "", ExitOK, nil},
		{words("catalogue set"), "", ExitFailed, []string{"--remove"}},
		{words("catalogue set - --remove"), extension, ExitFailed, []string{"--remove"}},
		{words("catalogue set -"), " \n", ExitFailed, []string{"empty"}},
		{words("catalogue set -"), "{", ExitFailed, []string{"INVALID"}},
		{words("catalogue set - --validate-only"), extension, ExitOK, []string{"nothing was changed"}},
		{words("catalogue set - --expected-revision 0"), extension, ExitOK, []string{"done at revision"}},
		{words("catalogue get"), "", ExitOK, []string{"read_moods rest read guest read_moods"}},
		{words("catalogue set --remove --expected-revision 0"), "", ExitFailed, []string{"REVISION_MISMATCH"}},
	})
	if _, out, errout := ctl(t, addr, "catalogue", "get", "--document"); out != extension {
		t.Errorf("the extension came back as %q %s", out, errout)
	}
	walk(t, addr, []step{
		{words("catalogue set --remove"), "", ExitOK, []string{"done at revision"}},
		{words("catalogue get --document"), "", ExitOK, nil},
	})
}

// The forms for machines have the API's field names, also for what is empty.
func TestForms(t *testing.T) {
	addr := newPDP(t)
	_, out, errout := ctl(t, addr, "directory", "user", "get", "dana", "-o", "json")
	var fromJSON struct {
		User map[string]any `json:"user"`
	}
	if err := json.Unmarshal([]byte(out), &fromJSON); err != nil || fromJSON.User["user_id"] != "102" || fromJSON.User["external"] != false {
		t.Errorf("JSON: %v %s%s", err, out, errout)
	}
	_, out, errout = ctl(t, addr, "directory", "user", "get", "dana", "-o", "yaml")
	var fromYAML struct {
		User struct {
			Name  string `yaml:"name"`
			State string `yaml:"state"`
		} `yaml:"user"`
	}
	if err := yaml.Unmarshal([]byte(out), &fromYAML); err != nil || fromYAML.User.Name != "dana" || fromYAML.User.State != "USER_STATE_ACTIVE" {
		t.Errorf("YAML: %v %s%s", err, out, errout)
	}
}

// What one listing leaves out the next one goes on with.
func TestPages(t *testing.T) {
	addr := newPDP(t)
	var got []string
	token := ""
	for range 10 {
		_, out, errout := ctl(t, addr, "directory", "project", "list", "--limit", "3", "--page-token", token, "-o", "json")
		var page struct {
			Projects []struct {
				ID string `json:"project_id"`
			} `json:"projects"`
			Next string `json:"next_page_token"`
		}
		if err := json.Unmarshal([]byte(out), &page); err != nil || len(page.Projects) > 3 {
			t.Fatalf("%v %s%s", err, out, errout)
		}
		for _, p := range page.Projects {
			got = append(got, p.ID)
		}
		if token = page.Next; token == "" {
			break
		}
	}
	if want := "11 12 13 14 15 16 17 18"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
}

// TestJoin joins pages that are short, empty, and last.
func TestJoin(t *testing.T) {
	sizes := []int{2, 0, 3, 1} // the last has no token
	serve := func(asked *[]int32) func(size int32, token string) (*jobwardv1.ListUsersResponse, int, error) {
		return func(size int32, token string) (*jobwardv1.ListUsersResponse, int, error) {
			i := len(token)
			*asked = append(*asked, size)
			n := min(sizes[i], int(size))
			r := &jobwardv1.ListUsersResponse{Users: make([]*jobwardv1.User, n)}
			for j := range r.Users {
				r.Users[j] = &jobwardv1.User{UserId: int64(i*10 + j)}
			}
			if i+1 < len(sizes) {
				r.NextPageToken = strings.Repeat("x", i+1)
			}
			return r, n, nil
		}
	}
	for _, c := range []struct {
		limit, users int
		more         bool
	}{{1, 1, true}, {2, 2, true}, {4, 4, true}, {6, 6, false}, {5000, 6, false}} {
		var asked []int32
		all, err := pages(pageFlags{Limit: c.limit}, serve(&asked))
		if err != nil || len(all.GetUsers()) != c.users || (all.GetNextPageToken() != "") != c.more {
			t.Errorf("limit %d: %d users, token %q, %v", c.limit, len(all.GetUsers()), all.GetNextPageToken(), err)
		}
		if asked[0] > 1000 {
			t.Errorf("limit %d asks for %d at once", c.limit, asked[0])
		}
	}
}

// A file may be JSON or YAML, with either spelling of the names, and must not hold what the API does not know.
func TestApplyForms(t *testing.T) {
	want := &jobwardv1.ApplyChangesRequest{
		Changes:   []*jobwardv1.Change{{Change: &jobwardv1.Change_RemoveUserId{RemoveUserId: 1<<53 - 1}}},
		RequestId: "r",
	}
	for _, text := range []string{
		`{"changes":[{"remove_user_id":9007199254740991}],"request_id":"r"}`,
		"\n" + `{"changes":[{"removeUserId":"9007199254740991"}],"requestId":"r"}`,
		"# who left\nchanges:\n- remove_user_id: 9007199254740991\nrequest_id: r\n",
	} {
		got := &jobwardv1.ApplyChangesRequest{}
		if err := unmarshal([]byte(text), got); err != nil || !proto.Equal(got, want) {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
	for _, text := range []string{"", "{", "a: [", "- 1", "changes: 5", "chances: []"} {
		if err := unmarshal([]byte(text), &jobwardv1.ApplyChangesRequest{}); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	file := filepath.Join(t.TempDir(), "changes.yaml")
	if err := os.WriteFile(file, []byte("changes: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if raw, err := (&session{}).readFile(file); err != nil || string(raw) != "changes: []\n" {
		t.Errorf("%q %v", raw, err)
	}
}
