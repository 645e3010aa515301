package gate

import (
	"strings"
	"testing"
)

func TestQuery(t *testing.T) {
	for _, c := range []struct{ query, want string }{
		{"", ""},
		{"a=1", "a=1"},
		{"b=2&a=1&&c;d=%7e+x&=&a", "b=2&a=1&&c;d=%7e+x&=&a"},
		{"job_token=" + good, ""},
		{"a=1&job_token=" + good, "a=1"},
		{"job_token=" + good + "&a=1", "a=1"},
		{"a=1&job_token=" + good + "&b=%2F", "a=1&b=%2F"},
		{"a=1&token=" + good + "&&b", "a=1&&b"},
		{"&job_token=" + good + "&", "&"},
		{"job_token", ""},
		{"job%5ftoken=" + good + "&a", "a"},
		{"%6Aob_token=jobt%2Dgood&a", "a"},
		{"job_token[]=" + good + "&job_token%5Bx%5D=" + good, ""},
		{"job_token[]=x&a", "a"},
		{"a=1;job_token=" + good + ";b=2&c", "a=1;b=2&c"},
		{"a=1;x=" + good + "&c", "a=1&c"},
		{"x=" + good + "&private_token=" + good + "&y=jobt%2Dgood&z=+" + good, ""},
		{"x=%zz&job_token=%zz&y", "x=%zz&y"},
		{"x=" + good + "%zz", ""}, // what cannot be decoded is taken as it is
		{good, good},              // a name, and no value: the service never takes it for a token
	} {
		r := restReq.request()
		r.Query = c.query
		if v := gateOf(allows(false)).Judge(t.Context(), r); v.Query != c.want {
			t.Errorf("%q gives %q, want %q", c.query, v.Query, c.want)
		}
	}
	// Where token is the service's own parameter it stays, unless it is one of ours.
	r := gitReq.request()
	r.Query = "service=git-upload-pack&token=feed&token=" + good
	if v := gateOf(allows(false)).Judge(t.Context(), r); v.Query != "service=git-upload-pack&token=feed" {
		t.Errorf("%q", v.Query)
	}
	r = restReq.request()
	r.Query = strings.Repeat("a=1&", 1000) + "b"
	g := gateOf(allows(false))
	before := r.Query
	if v := g.Judge(t.Context(), r); v.Query != before {
		t.Error("an untouched query was changed")
	}
}

func TestStripped(t *testing.T) {
	for name, want := range map[string][2]bool{
		"Job-Token": {true, false}, "JOB_TOKEN": {true, true}, "job.token": {true, true}, "Jobward-Job": {true, false}, "Jobward_Job": {true, true},
		"jobward-user": {true, false}, "Jobward-Any_thing": {true, true}, "X_HTTP_Method_Override": {false, true}, "x-original_url": {false, true}, "X-Http-Method": {}, "X_Request_Id": {}, "Jobward": {}, "Job-Tokens": {}, "X-Job-Token": {}, "Jobwarden-X": {}, "": {}, "Job": {},
	} {
		if got := [2]bool{Stripped(name), Disguised(name)}; got != want {
			t.Errorf("%q: stripped, disguised %v, want %v", name, got, want)
		}
	}
}
