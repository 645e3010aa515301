package wire

import (
	"encoding/base64"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/pdp/authz"
)

func TestPageSize(t *testing.T) {
	for asked, want := range map[int32]int{0: 100, 1: 1, 1000: 1000, 1001: 1000, 1<<31 - 1: 1000} {
		if p, err := ReadPage(&jobwardv1.ListUsersRequest{PageSize: asked}); err != nil || p.Size != want || p.Cursor != "" {
			t.Errorf("page_size %d gives %+v, %v", asked, p, err)
		}
	}
	_, err := ReadPage(&jobwardv1.ListUsersRequest{PageSize: -1})
	wantFields(t, err, "page_size")
}

func TestPageToken(t *testing.T) {
	ask := func(change func(*jobwardv1.ListJobsRequest)) *jobwardv1.ListJobsRequest {
		m := &jobwardv1.ListJobsRequest{ProjectId: 7, LiveOnly: true, PageSize: 10}
		if change != nil {
			change(m)
		}
		return m
	}
	first, err := ReadPage(ask(nil))
	if err != nil {
		t.Fatal(err)
	}
	if first.Next("") != "" {
		t.Error("the last page has a next one")
	}
	cursor := "job-\x00\xff\n1"
	token := first.Next(cursor)
	if !utf8.ValidString(token) || strings.ContainsAny(token, "+/= \n") {
		t.Errorf("%q is not safe in a URL", token)
	}
	second := ask(func(m *jobwardv1.ListJobsRequest) { m.PageToken = token })
	before := proto.Clone(second)
	if p, err := ReadPage(second); err != nil || p.Cursor != cursor || p.Next(cursor) != token {
		t.Errorf("got %+v, %v", p, err)
	}
	if !proto.Equal(second, before) {
		t.Error("reading changed the request")
	}
	if _, err := ReadPage(ask(func(m *jobwardv1.ListJobsRequest) { m.PageToken, m.PageSize = token, 500 })); err != nil {
		t.Errorf("another page size: %v", err)
	}

	users, err := ReadPage(&jobwardv1.ListUsersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]Paged{
		"another empty question": &jobwardv1.ListGroupsRequest{PageToken: users.Next("1")},
		"another filter":         ask(func(m *jobwardv1.ListJobsRequest) { m.PageToken, m.ProjectId = token, 8 }),
		"a filter less":          ask(func(m *jobwardv1.ListJobsRequest) { m.PageToken, m.LiveOnly = token, false }),
		"a filter more":          ask(func(m *jobwardv1.ListJobsRequest) { m.PageToken, m.UserId = token, 1 }),
		"another list":           &jobwardv1.ListUsersRequest{PageToken: token},
		"cut":                    ask(func(m *jobwardv1.ListJobsRequest) { m.PageToken = token[:len(token)-1] }),
		"cut to nothing":         ask(func(m *jobwardv1.ListJobsRequest) { m.PageToken = token[:12] }),
		"without cursor": ask(func(m *jobwardv1.ListJobsRequest) {
			m.PageToken = base64.RawURLEncoding.EncodeToString(append([]byte{pageVersion}, first.query[:]...))
		}),
		"with a line break": ask(func(m *jobwardv1.ListJobsRequest) { m.PageToken = token[:4] + "\n" + token[4:] }),
		"padded":            ask(func(m *jobwardv1.ListJobsRequest) { m.PageToken = token + "=" }),
		"another version":   ask(func(m *jobwardv1.ListJobsRequest) { m.PageToken = "Ag" + token[2:] }),
		"not base64":        ask(func(m *jobwardv1.ListJobsRequest) { m.PageToken = "%%%" }),
		"a megabyte":        ask(func(m *jobwardv1.ListJobsRequest) { m.PageToken = strings.Repeat("A", 1<<20) }),
	} {
		p, err := ReadPage(m)
		wantFields(t, err, "page_token")
		if err == nil || p.Cursor != "" {
			t.Errorf("%s: got %+v, %v", name, p, err)
		}
	}
}

// TestListsArePaged: every list RPC has what ReadPage reads, and answers with the token.
func TestListsArePaged(t *testing.T) {
	lists := 0
	eachRPC(func(r rpc) {
		// Sidecars are as many as hold a lease, and one that lets go of it leaves the list.
		if !strings.HasPrefix(r.method, "List") || r.method == "ListSidecars" {
			return
		}
		lists++
		if _, ok := newMessage(t, r.input).(Paged); !ok {
			t.Errorf("%s has no page fields", r.input.Name())
		}
		if r.output.Fields().ByName("next_page_token") == nil {
			t.Errorf("%s has no next_page_token", r.output.Name())
		}
	})
	if lists < 8 {
		t.Errorf("found %d lists", lists)
	}
}

// FuzzPageToken: no text makes a panic, and what is accepted is what Next gives for the
// cursor in it, so that each place in a list has one name.
func FuzzPageToken(f *testing.F) {
	p, err := ReadPage(&jobwardv1.ListUsersRequest{})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"", "A", "AQ", p.Next("1"), p.Next("9007199254740991"), p.Next(strings.Repeat("x", 1500)), "====", "AQ\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ReadPage(&jobwardv1.ListUsersRequest{PageToken: text})
		switch {
		case err != nil:
			if e := AsError(err); e.Kind != authz.KindInvalid || len(e.Violations) != 1 || e.Violations[0].Field != "page_token" || got.Cursor != "" {
				t.Fatalf("%q: %+v, %v", text, got, err)
			}
		case got.Next(got.Cursor) != text:
			t.Fatalf("%q is accepted and has the name %q", text, got.Next(got.Cursor))
		}
	})
}
