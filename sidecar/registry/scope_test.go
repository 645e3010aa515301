package registry

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
)

// TestScopes logs in for each scope and looks at what the token opens: "400" stands for words, nothing for what is left out.
func TestScopes(t *testing.T) {
	r := newRig(t)
	long := strings.Repeat("a", 120)
	for scope, want := range map[string]string{
		"":                                                   "",
		" ":                                                  "",
		"repository:acme/app:pull":                           "repository:acme/app:pull",
		"repository:acme/app:push,pull":                      "repository:acme/app:pull,push",
		"repository:acme/app:pull,pull":                      "repository:acme/app:pull",
		"repository:acme/app:delete":                         "repository:acme/app:delete",
		"repository:acme/app:*":                              "repository:acme/app:pull,push,delete,*",
		"repository:acme/app/x/y:pull":                       "repository:acme/app/x/y:pull",
		"repository:acme/sub/deep/x:pull,push":               "repository:acme/sub/deep/x:pull,push",
		"repository:acme/sub/deep:*":                         "repository:acme/sub/deep:pull,push",
		"repository:acme/lib:pull,push,delete":               "repository:acme/lib:pull",
		"repository:acme/lib:*":                              "repository:acme/lib:pull",
		"repository:acme/open:pull,push":                     "repository:acme/open:pull",
		"repository:acme/closed:pull":                        "",
		"repository:acme/none:pull":                          "",
		"repository:acme:pull":                               "",
		"repository:app:pull":                                "",
		"repository:acme/app:":                               "",
		"repository:acme/app:frob":                           "",
		"repository:acme/app:frob,pull":                      "repository:acme/app:pull",
		"repository:acme/app:PULL":                           "",
		"repository:Acme/app:pull":                           "",
		"repository:acme/app/:pull":                          "",
		"repository:/acme/app:pull":                          "",
		"repository:acme//app:pull":                          "",
		"repository:acme/./app:pull":                         "",
		"repository:acme/../acme/app:pull":                   "",
		"repository:acme/app%2Fx:pull":                       "",
		"repository:acme%2Fapp:pull":                         "",
		"repository:host.example/acme/app:pull":              "",
		"repository:localhost:5000/acme/app:pull":            "",
		"repository(plugin):acme/app:pull":                   "",
		"repository():acme/app:pull":                         "400",
		"repository(plugin:acme/app:pull":                    "400",
		"repository)plugin(:acme/app:pull":                   "400",
		"registry:catalog:*":                                 "",
		"registry:catalog:* repository:acme/lib:pull":        "repository:acme/lib:pull",
		"Repository:acme/app:pull":                           "",
		"repository:acme/app":                                "400",
		"repository::pull":                                   "400",
		"repository":                                         "400",
		":acme/app:pull":                                     "400",
		"::":                                                 "400",
		":":                                                  "400",
		"repository:acme/app:pull,,push":                     "400",
		"repository:acme/app:pull,":                          "400",
		"repository:acme/app:pu\x00ll":                       "400",
		"repository:acme/app\x00:pull":                       "400",
		"repository:acme/app\n:pull":                         "400",
		"repository:acme/äpp:pull":                           "400",
		"repository:acme/app:pull\trepository:a/b:pull":      "400",
		"repository:acme/app:" + strings.Repeat("x", 600):    "400",
		"repository:acme/app/" + long + "/" + long + ":pull": "repository:acme/app/" + long[:0] + long + "/" + long + ":pull",
		"repository:acme/app/" + long + "/" + long + "/aaaaaaaaaaa:pull": "", // 256 bytes and more
		"repository:acme/app" + strings.Repeat("/a", 23) + ":pull":       "",
		"repository:acme/app:pull repository:acme/app:push":              "repository:acme/app:pull,push",
		strings.Repeat("repository:acme/app:pull ", 16):                  "repository:acme/app:pull",
		strings.Repeat("repository:acme/app:pull ", 17):                  "400",
		strings.Repeat("registry:catalog:* ", 17):                        "400",
	} {
		list, err := parseScopes([]string{scope})
		got := "400"
		if err == nil {
			granted, _, no := r.h.permitted(t.Context(), r.fake.Digest(alive), list)
			if no != nil {
				t.Fatal(no.text)
			}
			var texts []string
			for _, s := range granted {
				texts = append(texts, "repository:"+s.name+":"+strings.Join(s.actions.names(), ","))
			}
			got = strings.Join(texts, " ")
		}
		if got != want {
			t.Errorf("%q: %q, want %q (%v)", scope, got, want, err)
		}
		if err != nil && len(scope) > 20 && strings.Contains(err.Error(), "acme") {
			t.Errorf("%q: the error repeats it: %v", scope, err)
		}
	}
}

// naiveName is the grammar of the distribution specification as it stands there.
var naiveName = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

func FuzzName(f *testing.F) {
	for _, s := range []string{"a", "a/b", "a--b", "a_b", "a__b", "a___b", "a._b", "a.b", "-a", "a-", "a/", "/a", "a//b", "", "A", "a_-b", "a-_b", "a..b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want := naiveName.MatchString(s) && len(s) <= 255 && strings.Count(s, "/") < maxComponents
		if got := validName(s); got != want {
			t.Errorf("%q: %v, and by the grammar %v", s, got, want)
		}
	})
}

// TestNames compares all short strings over what joins components.
func TestNames(t *testing.T) {
	letters := "a0._-/A"
	var walk func(string)
	walk = func(s string) {
		if got, want := validName(s), naiveName.MatchString(s); got != want {
			t.Errorf("%q: %v, and by the grammar %v", s, got, want)
		}
		if len(s) < 6 {
			for _, c := range letters {
				walk(s + string(c))
			}
		}
	}
	walk("")
}

// TestLongestProject has a project below another, which no PDP has: the longer name counts, even where it is refused.
func TestLongestProject(t *testing.T) {
	r := newRig(t)
	r.fake.projects["acme/app/inner"] = true
	if got := accessOf(t, r.token(alive, "repository:acme/app/inner/image:pull", "repository:acme/app/image:pull")); got != "repository:acme/app/image:pull" {
		t.Error(got)
	}
}

func TestPrefixes(t *testing.T) {
	for name, want := range map[string]string{"a": "[]", "a/b": "[a/b]", "a/b/c/d": "[a/b/c/d a/b/c a/b]"} {
		if got := fmt.Sprint(prefixes(name)); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// FuzzScopes logs in with any text at all: no panic, and never more than the job may do.
func FuzzScopes(f *testing.F) {
	for _, s := range []string{
		"repository:acme/app:pull,push", "repository:acme/closed:*", "registry:catalog:*", "repository(plugin):a/b:pull", "::::", "repository:acme/lib:push repository:acme/app:*",
		"repository:acme/app/../closed:pull", "repository:acme/closed:pull\x00", "repository:localhost:5000/acme/closed:pull,*",
	} {
		f.Add(s, s)
	}
	r := newRig(f)
	job := r.fake.Digest(alive)
	f.Fuzz(func(t *testing.T, one, two string) {
		for _, who := range []authz.Digest{job, authz.Nobody} {
			list, err := parseScopes([]string{one, two})
			if err != nil {
				return
			}
			granted, _, no := r.h.permitted(t.Context(), who, list)
			if no != nil {
				t.Fatal(no.text)
			}
			for _, s := range granted {
				project, _, _ := strings.Cut(strings.TrimPrefix(s.name, "acme/"), "/")
				project = "acme/" + project
				if strings.HasPrefix(s.name, "acme/sub/") {
					project = "acme/sub/deep"
				}
				for _, n := range actionNames[:3] {
					may := r.fake.public[project] && n.action == pull || who == job && r.fake.may[project][n.permission]
					if s.actions&n.action != 0 && !may {
						t.Errorf("%q %q: %s on %s", one, two, n.name, s.name)
					}
				}
				if s.actions&every != 0 && s.actions&each != each {
					t.Errorf("%q %q: * without the rest", one, two)
				}
			}
		}
	})
}
