package audit

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
)

func whole() Event {
	return Event{
		Time: 1, Revision: 2, Actor: "forge", OnBehalf: 3, Verb: VerbCheck, Reason: authz.NotMember.String(), Job: "job-4", Source: 5, Target: 6,
		User: 7, Permission: "read_jobs", Count: 8, Detail: "words \"<>&\n", Decision: "id-9",
	}
}

// TestEventRoundTrip: every field survives, and the one test that knows of a field that
// is added is this one.
func TestEventRoundTrip(t *testing.T) {
	e := whole()
	v := reflect.ValueOf(e)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("the test does not fill %s", v.Type().Field(i).Name)
		}
	}
	for _, want := range []Event{e, {}, {Verb: "issue"}} {
		got, err := Decode(want.Encode())
		if err != nil || got != want {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for _, bad := range []string{"", "{", "[]", `{"t": "x"}`, "\x02", "\x01\x02", "\x01\x07\x05abcd", "\x01\x07\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		if _, err := Decode([]byte(bad)); err == nil {
			t.Errorf("%q is no event", bad)
		}
	}
	if zero := (Event{Verb: "v"}).Encode(); string(zero) != "\x01\x0b\x01v" {
		t.Errorf("fields that do not apply are stored: %q", zero)
	}
}

// TestEventsOfOtherVersions: what is in stores from before is JSON, and a later program may
// add fields.
func TestEventsOfOtherVersions(t *testing.T) {
	e := whole()
	old, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	later := appendText(appendNumber(e.Encode(), 100, 7), 101, "words")
	for _, data := range [][]byte{old, later} {
		if got, err := Decode(data); err != nil || got != e {
			t.Errorf("%q: %+v, %v", data, got, err)
		}
	}
}

// FuzzDecode: any bytes are an event or an error, and what is an event comes back whole.
func FuzzDecode(f *testing.F) {
	e := whole()
	f.Add(e.Encode())
	f.Add([]byte(`{"t":1,"actor":"a","verb":"v"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Decode(data)
		if err != nil {
			return
		}
		if again, err := Decode(e.Encode()); err != nil || again != e {
			t.Errorf("%q: %+v, then %+v, %v", data, e, again, err)
		}
	})
}

func TestFilter(t *testing.T) {
	e := whole()
	change := Event{Verb: "issue", Actor: "runner", Reason: "", User: 7, OnBehalf: 70, Source: 5}
	allow := Event{Verb: VerbCheck, Reason: authz.AllowedSelf.String()}
	for _, c := range []struct {
		name    string
		f       Filter
		denial  bool
		changed bool
		allowed bool
	}{
		{"nothing", Filter{}, true, true, true},
		{"job", Filter{Job: "job-4"}, true, false, false},
		{"other job", Filter{Job: "job-5"}, false, false, false},
		{"source", Filter{Project: 5}, true, true, false},
		{"target", Filter{Project: 6}, true, false, false},
		{"other project", Filter{Project: 7}, false, false, false},
		{"user", Filter{User: 7}, true, true, false},
		{"acted for", Filter{User: 3}, true, false, false},
		{"acted for in a change", Filter{User: 70}, false, true, false},
		{"actor", Filter{Actor: "runner"}, false, true, false},
		{"verb", Filter{Verb: "issue"}, false, true, false},
		{"reason", Filter{Reason: "not_member"}, true, false, false},
		{"denials", Filter{Denials: true}, true, false, false},
		{"changes", Filter{Changes: true}, false, true, false},
		{"both", Filter{Denials: true, Changes: true}, false, false, false},
		{"all must hold", Filter{Job: "job-4", Project: 5, User: 7, Actor: "forge", Verb: VerbCheck, Reason: "not_member", Denials: true}, true, false, false},
		{"one does not", Filter{Job: "job-4", Project: 5, User: 7, Actor: "other"}, false, false, false},
	} {
		for what, v := range map[string][2]bool{
			"denial": {c.f.Match(e), c.denial}, "change": {c.f.Match(change), c.changed}, "allow": {c.f.Match(allow), c.allowed},
		} {
			if v[0] != v[1] {
				t.Errorf("%s chooses the %s: %t", c.name, what, v[0])
			}
		}
	}
}

// TestDenial: an event tells of a refusal exactly when its reason is one.
func TestDenial(t *testing.T) {
	for r := authz.Reason(1); int(r) < authz.NumReasons; r++ {
		e := Event{Verb: VerbCheck, Reason: r.String()}
		if e.Denial() == r.Allows() {
			t.Errorf("%s: denial %t", r, e.Denial())
		}
	}
	if (Event{Verb: "revoke", Reason: authz.NotMember.String()}).Denial() || (Event{Verb: VerbCheck, Reason: "of tomorrow"}).Denial() {
		t.Error("that is no denial")
	}
}
