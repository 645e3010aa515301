package registry

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/pep"
)

var digest = "sha256:" + strings.Repeat("ab", 32)

// TestNeeds is the table of the package comment, and everything that is not in it.
func TestNeeds(t *testing.T) {
	for _, row := range []struct{ methods, target, want string }{
		{"GET HEAD", "/v2/", ""},
		{"POST DELETE", "/v2/", "405"},
		{"GET HEAD", "/v2/acme/app/manifests/latest", "pull_image acme/app"},
		{"GET HEAD", "/v2/acme/app/manifests/" + digest, "pull_image acme/app"},
		{"GET HEAD", "/v2/acme/app/manifests/sha256%3A" + strings.Repeat("ab", 32), "pull_image acme/app"},
		{"PUT", "/v2/acme/app/manifests/latest", "push_image acme/app"},
		{"DELETE", "/v2/acme/app/manifests/" + digest, "delete_image acme/app"},
		{"POST PATCH OPTIONS", "/v2/acme/app/manifests/latest", "405"},
		{"GET HEAD", "/v2/acme/app/blobs/" + digest, "pull_image acme/app"},
		{"DELETE", "/v2/acme/app/blobs/" + digest, "delete_image acme/app"},
		{"PUT POST", "/v2/acme/app/blobs/" + digest, "405"},
		{"POST", "/v2/acme/app/blobs/uploads/", "push_image acme/app"},
		{"POST", "/v2/acme/app/blobs/uploads/?digest=" + digest, "push_image acme/app"},
		{"POST", "/v2/acme/app/blobs/uploads/?mount=" + digest + "&from=acme/lib", "push_image acme/app pull_image acme/lib"},
		{"POST", "/v2/acme/app/blobs/uploads/?mount=" + digest + "&from=", "push_image acme/app"},
		{"POST", "/v2/acme/app/blobs/uploads/?mount=" + digest + "&from=acme/lib&from=acme/x", "400"},
		{"POST", "/v2/acme/app/blobs/uploads/?mount=" + digest + "&from=acme%2Flib", "push_image acme/app pull_image acme/lib"},
		{"POST", "/v2/acme/app/blobs/uploads/?mount=" + digest + "&from=ACME/lib", "400"},
		{"POST", "/v2/acme/app/blobs/uploads/?mount=x;from=acme/lib", "400"},
		{"GET PUT", "/v2/acme/app/blobs/uploads/", "405"},
		{"POST", "/v2/acme/app/blobs/uploads", "400"},
		{"GET HEAD PATCH PUT", "/v2/acme/app/blobs/uploads/0a-b_c=", "push_image acme/app"},
		{"DELETE", "/v2/acme/app/blobs/uploads/0a-b_c=", "delete_image acme/app"},
		{"PATCH", "/v2/acme/app/blobs/uploads/0a?from=acme/lib", "push_image acme/app pull_image acme/lib"},
		{"GET", "/v2/acme/app/blobs/uploads/..", "400"},
		{"GET HEAD", "/v2/acme/app/tags/list?n=5&last=x", "pull_image acme/app"},
		{"DELETE PUT", "/v2/acme/app/tags/list", "405"},
		{"GET", "/v2/acme/app/referrers/" + digest + "?artifactType=a%2Fb", "pull_image acme/app"},
		{"GET POST", "/v2/_catalog", "403"},
		{"GET", "/v2/_catalog?n=100", "403"},
		{"GET", "/v2/acme/app/_oci/x", "404"},
		{"GET", "/v2/acme/app", "404"},
		{"GET", "/v2/acme/app/tags", "404"},
		{"GET", "/v2/manifests/latest", "404"},
		{"GET", "/v2//manifests/latest", "400"},
		{"GET", "/v2/acme//app/manifests/latest", "400"},
		{"GET", "/v2/acme/../closed/manifests/latest", "400"},
		{"GET", "/v2/./acme/app/manifests/latest", "400"},
		{"GET", "/v2/acme/app/manifests/../../closed/manifests/latest", "400"},
		{"GET", "/v2/acme%2Fapp/manifests/latest", "400"},
		{"GET", "/v2/acme/app/manifests%2flatest", "400"},
		{"GET", "/v2/acme/%61pp/manifests/latest", "400"},
		{"GET", "/v2/acme/app/manifests/la%00test", "400"},
		{"GET", "/v2/acme/app/manifests/-latest", "400"},
		{"GET", "/v2/acme/app/manifests/" + strings.Repeat("x", 129), "400"},
		{"GET", "/v2/acme/app/blobs/" + strings.Repeat("ab", 32), "400"},
		{"GET", "/v2/ACME/app/manifests/latest", "400"},
		{"GET", "/v2/acme/app/manifests/tags/list", "pull_image acme/app/manifests"},
		{"GET", "/v2/acme/app/blobs/uploads/manifests/latest", "pull_image acme/app/blobs/uploads"},
		{"POST", "/v2/acme/app/manifests/blobs/uploads/", "push_image acme/app/manifests"},
		{"GET", "/v2/" + strings.Repeat("a/", 30) + "manifests/latest", "400"},
	} {
		for method := range strings.FieldsSeq(row.methods) {
			path, query, _ := strings.Cut(row.target, "?")
			needs, no := needsOf(method, path, query)
			var texts []string
			for _, n := range needs {
				texts = append(texts, fmt.Sprint(n.permission, " ", n.name))
			}
			got := strings.Join(texts, " ")
			if no != nil {
				got = fmt.Sprint(no.status)
			}
			if got != row.want {
				t.Errorf("%s %s: %q, want %q", method, row.target, got, row.want)
			}
		}
	}
}

// FuzzNeeds takes any path: what is allowed has a valid name that the path holds as it is.
func FuzzNeeds(f *testing.F) {
	f.Add("GET", "/v2/acme/app/manifests/latest", "")
	f.Add("POST", "/v2/a/b/blobs/uploads/", "mount=x&from=c/d")
	f.Add("GET", "/v2/a/%2e%2e/b/tags/list", "from=..")
	f.Fuzz(func(t *testing.T, method, path, query string) {
		needs, no := needsOf(method, "/v2/"+path, query)
		if no != nil {
			return
		}
		for i, n := range needs {
			if !naiveName.MatchString(n.name) || i == 0 && !strings.HasPrefix("/v2/"+path, "/v2/"+n.name+"/") {
				t.Errorf("%s %q: %q", method, path, n.name)
			}
		}
		if strings.Contains(strings.ReplaceAll(strings.ReplaceAll(path, "%3A", ""), "%3a", ""), "%") || strings.Contains("/"+path+"/", "/../") {
			t.Errorf("%q is taken", path)
		}
	})
}

// TestFront sends requests with the tokens of a login.
func TestFront(t *testing.T) {
	r := newRig(t)
	all := "repository:acme/app:pull,push,delete"
	job := "Bearer " + r.token(alive, all, "repository:acme/lib:pull", "repository:acme/open:pull")
	pullOnly := "Bearer " + r.token(alive, "repository:acme/app:pull")
	visitor := "Bearer " + r.token("", "repository:acme/open:pull")
	realm := `Bearer realm="https://registry.example/jwt/auth",service="container_registry"`
	for _, row := range []struct {
		what, method, target, auth string
		status                     int
		challenge                  string
	}{
		{"nobody", "GET", "/v2/", "", 401, realm},
		{"nobody, an image", "GET", "/v2/acme/open/manifests/x", "", 401, realm + `,scope="repository:acme/open:pull"`},
		{"nobody, a push", "PUT", "/v2/acme/app/manifests/x", "", 401, realm + `,scope="repository:acme/app:pull,push"`},
		{"nobody, a mount", "POST", "/v2/acme/app/blobs/uploads/?mount=" + digest + "&from=acme/lib", "", 401, realm + `,scope="repository:acme/app:pull,push repository:acme/lib:pull"`},
		{"a job token here", "GET", "/v2/", basicOf(pep.CIUser, alive), 401, realm},
		{"a job token as bearer", "GET", "/v2/", "Bearer " + alive, 401, realm + `,error="invalid_token"`},
		{"ping", "GET", "/v2/", job, 200, ""},
		{"a visitor's ping", "GET", "/v2/", visitor, 200, ""},
		{"a pull", "GET", "/v2/acme/app/manifests/x", job, 200, ""},
		{"a lower-case scheme", "GET", "/v2/acme/app/manifests/x", "b" + job[1:], 200, ""},
		{"a pull from a list", "GET", "/v2/acme/lib/blobs/" + digest, job, 200, ""},
		{"a push", "PUT", "/v2/acme/app/manifests/x", job, 200, ""},
		{"a delete", "DELETE", "/v2/acme/app/manifests/" + digest, job, 200, ""},
		{"a mount", "POST", "/v2/acme/app/blobs/uploads/?mount=" + digest + "&from=acme/lib", job, 200, ""},
		{"a push elsewhere", "PUT", "/v2/acme/lib/manifests/x", job, 401, realm + `,scope="repository:acme/lib:pull,push",error="insufficient_scope"`},
		{"a mount from elsewhere", "POST", "/v2/acme/app/blobs/uploads/?mount=" + digest + "&from=acme/closed", job, 401, realm + `,scope="repository:acme/app:pull,push repository:acme/closed:pull",error="insufficient_scope"`},
		{"a push with a token for pulls", "PUT", "/v2/acme/app/manifests/x", pullOnly, 401, realm + `,scope="repository:acme/app:pull,push",error="insufficient_scope"`},
		{"another name in the project", "GET", "/v2/acme/app/x/manifests/x", pullOnly, 401, realm + `,scope="repository:acme/app/x:pull",error="insufficient_scope"`},
		{"a visitor's pull", "GET", "/v2/acme/open/manifests/x", visitor, 200, ""},
		{"a visitor's push", "PUT", "/v2/acme/open/manifests/x", visitor, 401, realm + `,scope="repository:acme/open:pull,push",error="insufficient_scope"`},
		{"the catalogue", "GET", "/v2/_catalog", job, 403, ""},
		{"no call", "GET", "/v2/acme/app/x", job, 404, ""},
		{"without its slash", "GET", "/v2", job, 404, ""},
		{"elsewhere", "GET", "/", job, 404, ""},
		{"debug", "GET", "/debug/vars", job, 404, ""},
		{"slashes", "GET", "//v2/", job, 400, ""},
		{"an absolute URL", "GET", "http://x/v2/", job, 400, ""},
	} {
		r.got = nil
		var headers []string
		if row.auth != "" {
			headers = []string{"Authorization", row.auth}
		}
		w := r.do(row.method, row.target, "", headers...)
		if w.Code != row.status || w.Header().Get("Www-Authenticate") != row.challenge {
			t.Errorf("%s: %d %s\n%q, want\n%q", row.what, w.Code, w.Body, w.Header().Get("Www-Authenticate"), row.challenge)
		}
		if (len(r.got) > 0) != (row.status == 200) {
			t.Errorf("%s: the registry got %d requests", row.what, len(r.got))
		}
		if row.status == 200 && (r.got[0].Header.Get("Authorization") != row.auth || r.got[0].Host != "example.com") {
			t.Errorf("%s: passed on with %q for %q", row.what, r.got[0].Header.Get("Authorization"), r.got[0].Host)
		}
		if row.status != 200 && !strings.HasPrefix(w.Body.String(), `{"errors":[{"code":"`) {
			t.Errorf("%s: said %s", row.what, w.Body)
		}
	}
	if w := r.do("GET", "/v2/", "", "Authorization", job, "Authorization", job); w.Code != 401 {
		t.Errorf("two Authorizations: %d", w.Code)
	}
}

// TestFrontAsks has registry tokens whose job, or whose rights, have changed since.
func TestFrontAsks(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*fake)
		status int
		text   string
	}{
		"ended":         {func(f *fake) { f.reason = authz.JobNotRunning }, 401, "has ended"},
		"blocked":       {func(f *fake) { f.reason = authz.UserBlocked }, 401, "the user who caused the job"},
		"not listed":    {func(f *fake) { f.may["acme/app"] = nil }, 403, "DENIED"},
		"project gone":  {func(f *fake) { delete(f.projects, "acme/app") }, 403, "DENIED"},
		"lapsed":        {func(f *fake) { f.reason = authz.LeaseLapsed }, 503, "UNAVAILABLE"},
		"error":         {func(f *fake) { f.err = errors.New("none") }, 503, "UNAVAILABLE"},
		"nothing to it": {func(*fake) {}, 200, ""},
	} {
		r := newRig(t)
		token := "Bearer " + r.token(alive, "repository:acme/app:pull")
		r.do("GET", "/v2/acme/app/manifests/x", "", "Authorization", token) // remembered
		r.fake.set(row.change)
		for _, target := range []string{"/v2/acme/app/manifests/x", "/v2/"} {
			if target == "/v2/" && row.status == 403 {
				continue
			}
			w := r.do("GET", target, "", "Authorization", token)
			if w.Code != row.status || !strings.Contains(w.Body.String(), row.text) {
				t.Errorf("%s: %s: %d %s", name, target, w.Code, w.Body)
			}
		}
	}
	// What was public is not any more.
	r := newRig(t)
	token := "Bearer " + r.token("", "repository:acme/open:pull")
	r.fake.set(func(f *fake) { f.public = nil })
	w := r.do("GET", "/v2/acme/open/manifests/x", "", "Authorization", token)
	if w.Code != 401 || !strings.Contains(w.Header().Get("Www-Authenticate"), `scope="repository:acme/open:pull"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestFormIsNoQuestion sends mount and from where a registry looks for them and this door does not.
func TestFormIsNoQuestion(t *testing.T) {
	r := newRig(t)
	auth := "Bearer " + r.token(alive, "repository:acme/app:pull,push")
	body := "mount=" + digest + "&from=acme/closed"
	for _, kind := range []string{"application/x-www-form-urlencoded", "Application/X-WWW-Form-URLencoded; charset=utf-8", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded; =", ""} {
		for method, target := range map[string]string{"POST": "/v2/acme/app/blobs/uploads/", "PUT": "/v2/acme/app/blobs/uploads/1?digest=" + digest, "PATCH": "/v2/acme/app/blobs/uploads/1"} {
			r.forms = nil
			sent := body
			if strings.HasPrefix(kind, "multipart") {
				sent = "--x\r\nContent-Disposition: form-data; name=\"from\"\r\n\r\nacme/closed\r\n--x--\r\n"
			}
			w := r.do(method, target, sent, "Authorization", auth, "Content-Type", kind)
			if w.Code != 200 || len(r.forms) != 1 || r.forms[0].Get("from") != "" {
				t.Errorf("%s as %q: %d, the registry sees %v", method, kind, w.Code, r.forms)
			}
		}
	}
	// A manifest is no form either.
	r.forms = nil
	r.do("PUT", "/v2/acme/app/manifests/x", body, "Authorization", auth, "Content-Type", "application/x-www-form-urlencoded")
	if len(r.forms) != 1 || r.forms[0].Get("from") != "" {
		t.Errorf("a manifest as a form: %v", r.forms)
	}
}

// TestAnswers keeps clients at the door.
func TestAnswers(t *testing.T) {
	for _, row := range []struct {
		what, location string
		status, want   int
		leads          string
	}{
		{"an upload begun", "http://registry.internal:5000/v2/acme/app/blobs/uploads/1?_state=x%2Fy", 202, 202, "/v2/acme/app/blobs/uploads/1?_state=x%2Fy"},
		{"a path", "/v2/acme/app/blobs/uploads/1", 202, 202, "/v2/acme/app/blobs/uploads/1"},
		{"an upload elsewhere", "https://storage.example/bucket/1", 202, 502, ""},
		{"no URL", "http://[", 201, 502, ""},
		{"a redirect", "https://storage.example/bucket/1", 307, 502, ""},
		{"a redirect to itself", "/v2/acme/app/blobs/" + digest, 301, 502, ""},
		{"a redirect without a place", "", 302, 502, ""},
		{"not modified", "", 304, 304, ""},
		{"not found", "", 404, 404, ""},
		{"a refusal of the registry", "", 401, 401, ""},
	} {
		r := newRig(t)
		r.served = func(w http.ResponseWriter, _ *http.Request) {
			if row.location != "" {
				w.Header().Set("Location", row.location)
			}
			w.Header().Set("Docker-Upload-Uuid", "1")
			w.WriteHeader(row.status)
			if row.status != 304 {
				w.Write([]byte("secret storage"))
			}
		}
		w := r.do("GET", "/v2/acme/app/blobs/"+digest, "", "Authorization", "Bearer "+r.token(alive, "repository:acme/app:pull"))
		if w.Code != row.want || w.Header().Get("Location") != row.leads {
			t.Errorf("%s: %d to %q", row.what, w.Code, w.Header().Get("Location"))
		}
		if w.Code == 502 && (strings.Contains(w.Body.String(), "storage") || w.Header().Get("Docker-Upload-Uuid") != "") {
			t.Errorf("%s: passed on %s", row.what, w.Body)
		}
	}
}
