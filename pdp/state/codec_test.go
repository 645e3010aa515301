package state_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; zero takes one from the clock")

func newRand(t testing.TB) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("run again with -seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// prototypes has one record of every kind; the test below fails when one is missing.
func prototypes() []state.Record {
	return []state.Record{
		new(state.Instance), new(state.Catalogue), new(state.Group), new(state.Project), new(state.User),
		new(state.Members), new(state.Allowlist), new(state.Job), new(state.Replaced), new(state.Runner),
		new(state.Death), new(state.Request), new(state.Leases), new(state.Directory),
	}
}

func TestEveryKindHasAPrototypeAndAName(t *testing.T) {
	seen := make(map[state.Kind]bool)
	for _, rec := range prototypes() {
		seen[rec.Key().Kind()] = true
	}
	for kind := state.Kind(1); int(kind) < state.NumKinds; kind++ {
		if !seen[kind] {
			t.Errorf("no record of kind %v among the prototypes", kind)
		}
		if strings.HasPrefix(kind.String(), "kind ") {
			t.Errorf("kind %d has no name", kind)
		}
	}
}

// fill sets every field below v to something other than zero, as far as one encoding can
// hold it. Reflection finds fields that were added and forgotten in the codec.
func fill(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(r, v.Field(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1+r.IntN(4), 8))
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.String:
		b := make([]byte, 1+r.IntN(40))
		for i := range b {
			b[i] = '!' + byte(r.IntN(94))
		}
		v.SetString(string(b))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8:
		v.SetUint(1 + uint64(r.IntN(255)))
	case reflect.Uint64:
		v.SetUint(1 + r.Uint64N(math.MaxUint64)>>r.IntN(64))
	case reflect.Int, reflect.Int64:
		n := 1 + r.Int64N(authz.MaxID)>>r.IntN(53)
		if _, isID := v.Interface().(int64); isID && r.IntN(2) == 0 {
			n = -n // Pipeline and Scope.ID are not ours to bound.
		}
		v.SetInt(n)
	default:
		panic("the codec test cannot fill " + v.Type().String())
	}
}

// filled gives a random record like the prototype. A death is of a project or of a user.
func filled(r *rand.Rand, proto state.Record) state.Record {
	v := reflect.New(reflect.TypeOf(proto).Elem())
	fill(r, v.Elem())
	rec := v.Interface().(state.Record)
	if d, ok := rec.(*state.Death); ok {
		if r.IntN(2) == 0 {
			d.User = 0
		} else {
			d.Project = 0
		}
	}
	return rec
}

func roundTrip(t *testing.T, rec state.Record) {
	t.Helper()
	body := state.AppendRecord(nil, rec)
	got, err := state.DecodeRecord(rec.Key(), body)
	if err != nil {
		t.Fatalf("decode %#v: %v", rec, err)
	}
	if !reflect.DeepEqual(got, rec) {
		t.Fatalf("%v changed\n from %#v\n to   %#v", rec.Key(), rec, got)
	}
	if again := state.AppendRecord(nil, got); !bytes.Equal(again, body) {
		t.Fatalf("%v has two encodings:\n%x\n%x", rec.Key(), body, again)
	}
}

func TestEveryFieldRoundTrips(t *testing.T) {
	r := newRand(t)
	for _, proto := range prototypes() {
		for range 500 {
			roundTrip(t, filled(r, proto))
		}
	}
}

// zeroes calls fn with each leaf field set to zero, one at a time.
func zeroes(v reflect.Value, path string, fn func(path string)) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			zeroes(v.Field(i), path+"."+v.Type().Field(i).Name, fn)
		}
		return
	case reflect.Slice, reflect.Array:
		if v.Kind() == reflect.Array && v.Type().Elem().Kind() == reflect.Uint8 && v.Len() == 32 {
			break // A digest is one thing.
		}
		for i := range v.Len() {
			zeroes(v.Index(i), path+"[]", fn)
		}
	}
	old := reflect.New(v.Type()).Elem()
	old.Set(v)
	v.SetZero()
	fn(path)
	v.Set(old)
}

func TestEveryFieldCounts(t *testing.T) {
	r := newRand(t)
	for _, proto := range prototypes() {
		rec := filled(r, proto)
		full := string(rec.Key()) + string(state.AppendRecord(nil, rec))
		zeroes(reflect.ValueOf(rec).Elem(), proto.Key().Kind().String(), func(path string) {
			if d, ok := rec.(*state.Death); ok && d.User == 0 && d.Project == 0 {
				return
			}
			changed := string(rec.Key()) + string(state.AppendRecord(nil, rec))
			if changed == full && !strings.HasPrefix(path, "death.") {
				t.Errorf("%s is not in the encoding", path)
			}
		})
	}
}

func TestZeroRecordsRoundTrip(t *testing.T) {
	for _, rec := range []state.Record{
		&state.Instance{}, &state.Catalogue{}, &state.Group{ID: 1}, &state.Project{ID: 1}, &state.User{ID: 1},
		&state.Members{User: 1}, &state.Allowlist{Project: 1}, &state.Job{ID: "j"}, &state.Replaced{},
		&state.Runner{ID: "r"}, &state.Death{Project: authz.MaxID}, &state.Death{User: authz.MaxID}, &state.Request{ID: "a/b"}, &state.Leases{}, &state.Directory{},
	} {
		roundTrip(t, rec)
	}
	all := &state.Job{ID: "j"}
	none := &state.Job{ID: "j"}
	none.Limits.Permissions = []authz.Permission{}
	none.Limits.Targets = []authz.Scope{}
	roundTrip(t, none)
	if bytes.Equal(state.AppendRecord(nil, all), state.AppendRecord(nil, none)) {
		t.Error("a limit to nothing is encoded like no limit")
	}
}

func TestResolve(t *testing.T) {
	const at = 42
	job := &state.Job{ID: "j", Issued: state.ThisRevision, Ended: state.ThisRevision}
	death := &state.Death{Project: 1, Before: state.ThisRevision}
	request := &state.Request{ID: "r", Done: state.ThisRevision}
	if r := state.Resolve(job, at).(*state.Job); r.Issued != at || r.Ended != at {
		t.Errorf("job resolved to %+v", r)
	}
	if r := state.Resolve(death, at).(*state.Death); r.Before != at {
		t.Errorf("death resolved to %+v", r)
	}
	if r := state.Resolve(request, at).(*state.Request); r.Done != at {
		t.Errorf("request resolved to %+v", r)
	}
	if job.Issued != state.ThisRevision || death.Before != state.ThisRevision || request.Done != state.ThisRevision {
		t.Error("Resolve changed the caller's record")
	}
	// Every field that is a revision must be resolved: reflection finds new ones.
	r := newRand(t)
	for _, proto := range prototypes() {
		rec := filled(r, proto)
		setRevisions(reflect.ValueOf(rec).Elem())
		got := reflect.ValueOf(state.Resolve(rec, at)).Elem()
		for i := range got.NumField() {
			if rev, ok := got.Field(i).Interface().(authz.Revision); ok && rev != at {
				t.Errorf("%s.%s is not resolved", got.Type(), got.Type().Field(i).Name)
			}
		}
	}
}

func setRevisions(v reflect.Value) {
	for i := range v.NumField() {
		if f := v.Field(i); f.Type() == reflect.TypeFor[authz.Revision]() {
			f.SetUint(uint64(state.ThisRevision))
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	group := state.AppendRecord(nil, &state.Group{ID: 7, Name: "g"})
	for _, c := range []struct {
		name string
		key  state.Key
		body []byte
		want string
	}{
		{"no key", "", group, "empty key"},
		{"kind zero", state.Key([]byte{0, 1}), group, "unknown kind"},
		{"kind to come", state.Key([]byte{byte(state.NumKinds), 1}), group, "unknown kind"},
		{"short number", state.GroupKey(7)[:5], group, "eight bytes"},
		{"number zero", state.GroupKey(0), group, "1 to"},
		{"number too large", state.GroupKey(authz.MaxID + 1), group, "1 to"},
		{"negative number", state.UserKey(-1), group, "1 to"},
		{"instance with id", state.InstanceKey() + "x", group, "bytes of id"},
		{"job with a space", state.JobKey("a b"), group, "printable"},
		{"short digest", state.Key([]byte{byte(state.KindReplaced), 1}), group, "digest has 1 bytes"},
		{"nameless runner", state.RunnerKey(""), group, "runner id has 0 bytes"},
		{"long request", state.RequestKey(strings.Repeat("x", state.MaxNameBytes+1)), group, "513 bytes"},
		{"no body", state.GroupKey(7), nil, "version is cut off"},
		{"newer version", state.GroupKey(7), []byte{99}, "newer"},
		{"trailing", state.GroupKey(7), append(bytes.Clone(group), 0), "1 bytes too many"},
		{"unknown flag", state.UserKey(7), []byte{1, 0, 0, 0x80}, "not known"},
		{"long number", state.GroupKey(7), []byte{1, 0x80, 0}, "longer form"},
		{"huge list", state.MembersKey(7), []byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, "more than there are bytes"},
		{"huge text", state.GroupKey(7), []byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0x7f}, "cut off"},
		{"zero digest", state.JobKey("j"), append([]byte{1, 0, 4}, make([]byte, 60)...), "digest is zero"},
	} {
		_, err := state.DecodeRecord(c.key, c.body)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
	}
	for n := range group {
		if _, err := state.DecodeRecord(state.GroupKey(7), group[:n]); err == nil {
			t.Errorf("a group cut to %d bytes was read", n)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, proto := range prototypes() {
		rec := filled(r, proto)
		f.Add([]byte(rec.Key()), state.AppendRecord(nil, rec))
	}
	f.Fuzz(func(t *testing.T, key, body []byte) {
		rec, err := state.DecodeRecord(state.Key(key), body)
		if err != nil {
			return
		}
		if got := rec.Key(); got != state.Key(key) {
			t.Errorf("key %x became %x", key, string(got))
		}
		if again := state.AppendRecord(nil, rec); !bytes.Equal(again, body) {
			t.Errorf("not the one encoding: %x became %x", body, again)
		}
	})
}

func FuzzDecodeChange(f *testing.F) {
	c := state.Change{Revision: 3, Stamp: 9, Actor: "a", Verb: "v", Keys: []state.Key{state.JobKey("j"), state.UserKey(1)}}
	f.Add(state.AppendChange(nil, &c, []uint32{5}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, sums, rest, err := state.DecodeChange(b)
		if err != nil {
			return
		}
		if again := state.AppendChange(nil, &c, sums); !bytes.Equal(again, b[:len(b)-len(rest)]) {
			t.Errorf("not the one encoding: %x became %x", b, again)
		}
	})
}

// TestSealKeyDoesNotShow prints a record that holds one in every way (P7).
func TestSealKeyDoesNotShow(t *testing.T) {
	r := &state.Leases{SealKey: state.SealKey{0xab, 0xcd, 171}}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "record", r, "key", r.SealKey)
	for _, s := range []string{fmt.Sprintf("%v", r), fmt.Sprintf("%+v", *r), fmt.Sprintf("%#v", r), fmt.Sprintf("%x", r.SealKey), string(text), log.String()} {
		if strings.Contains(s, "abcd") || strings.Contains(s, "171") || !strings.Contains(s, "REDACTED") {
			t.Errorf("it shows: %s", s)
		}
	}
}
