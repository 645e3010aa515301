package wire

import (
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

func aMark() lease.Mark {
	return lease.Mark{Epoch: 3, ID: [16]byte{1, 15: 2}, Revision: 42, Chain: [16]byte{3, 15: 4}, Seal: []byte("seal")}
}

// again gives what arrives on the other side of a connection.
func again[M proto.Message](t *testing.T, m M) M {
	t.Helper()
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	out := m.ProtoReflect().New().Interface().(M)
	if err := proto.Unmarshal(raw, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestGrantorMessages: what a grantor sends arrives as it was, every kind of it.
func TestGrantorMessages(t *testing.T) {
	const g = lease.Generation(0xfedcba9876543210)
	keys := []authz.Key{authz.TheInstance, authz.JobKey("j"), math.MaxUint64}
	parts := map[string]bool{}
	for _, want := range []lease.Message{
		{Kind: lease.Welcome, Generation: g, Head: aMark(), Rules: 5, Vouched: true, Term: 5 * time.Second, Revision: 42},
		{Kind: lease.Welcome, Generation: 1, Head: aMark(), Revision: 42},
		{Kind: lease.Grant, Generation: g, Number: 7, Term: time.Minute, Revision: 43},
		{Kind: lease.Grant, Generation: g},
		{Kind: lease.Invalidation, Generation: g, Revision: 44, Keys: keys},
		{Kind: lease.Heartbeat, Generation: g, Revision: 45},
		{Kind: lease.Heartbeat, Generation: g, Revision: 45, Head: aMark()},
		{Kind: lease.Moving, Generation: g},
	} {
		m := again(t, WatchResponse(want, []string{"jobt-", "old-"}))
		got, err := GrantorMessage(m, want.Generation)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v comes back as\n%+v, %v; want\n%+v", want.Kind, got, err, want)
		}
		if w := m.GetWelcome(); w != nil && !slices.Equal(w.TokenPrefixes, []string{"jobt-", "old-"}) {
			t.Errorf("the prefixes are %v", w.TokenPrefixes)
		}
		parts[string(m.ProtoReflect().WhichOneof(m.ProtoReflect().Descriptor().Oneofs().Get(0)).Name())] = true
	}
	if n := (&jobwardv1.WatchResponse{}).ProtoReflect().Descriptor().Fields().Len(); len(parts) != n {
		t.Errorf("%d of %d parts were tried", len(parts), n)
	}
}

// TestHolderMessages: what a holder sends after its hello says all that the machine
// said. Reading it is the PDP's, part by part.
func TestHolderMessages(t *testing.T) {
	keys := []authz.Key{authz.ProjectKey(7), authz.JobKey("j")}
	if m := again(t, WatchRequest(lease.Message{Kind: lease.Renew, Generation: 9, Number: 7})); m.GetRenew().GetNumber() != 7 {
		t.Errorf("a renewal is %v", m)
	}
	if m := again(t, WatchRequest(lease.Message{Kind: lease.Ack, Generation: 9, Revision: 8})); m.GetAck().GetRevision() != 8 {
		t.Errorf("an ack is %v", m)
	}
	m := again(t, WatchRequest(lease.Message{Kind: lease.Forget, Generation: 9, Keys: keys, Number: 3}))
	if f := m.GetForget(); f.GetAnswerNumber() != 3 || !slices.Equal(KeysFromProto(f.GetKeys()), keys) {
		t.Errorf("a notice of dropped keys is %v", m)
	}
	if m := again(t, WatchRequest(lease.Message{Kind: lease.Release, Generation: math.MaxUint64})); m.GetRelease().GetGeneration() != math.MaxUint64 {
		t.Errorf("a release is %v", m)
	}
}

// readHello puts a hello together as the PDP does.
func readHello(t *testing.T, ms []*jobwardv1.WatchRequest) lease.Hello {
	t.Helper()
	first := again(t, ms[0]).GetHello()
	h, err := HelloFromProto(first)
	if err != nil {
		t.Fatal(err)
	}
	more := first.GetMoreKeys()
	for _, m := range ms[1:] {
		k := again(t, m).GetKeys()
		if !more || k == nil {
			t.Fatalf("the hello goes on with %v although it said that nothing follows, or with something else", m)
		}
		h.Keys, more = append(h.Keys, KeysFromProto(k.GetKeys())...), k.GetMoreKeys()
	}
	if more {
		t.Error("the hello ends although it said that more follows")
	}
	return h
}

func TestHello(t *testing.T) {
	for _, n := range []int{0, 1, MaxKeysMessage - 1, MaxKeysMessage, MaxKeysMessage + 1, 2 * MaxKeysMessage, 2*MaxKeysMessage + 7} {
		want := lease.Hello{Seen: aMark(), Vouch: true, Applied: 41, Rules: 5}
		for i := range n {
			want.Keys = append(want.Keys, authz.ProjectKey(authz.ProjectID(i+1)))
		}
		ms := HelloToProto(want, "side-1", "v1")
		if first := ms[0].GetHello(); first.GetName() != "side-1" || first.GetVersion() != "v1" {
			t.Errorf("the first message is %v", first)
		}
		for i, m := range ms {
			if err := validator(t).Validate(m); err != nil {
				t.Errorf("message %d of a hello with %d keys: %v", i, n, err)
			}
		}
		if got := readHello(t, ms); !reflect.DeepEqual(got, want) {
			t.Errorf("with %d keys it comes back with %d, %+v", n, len(got.Keys), got.Seen)
		}
	}
	if got := readHello(t, HelloToProto(lease.Hello{}, "", "")); !reflect.DeepEqual(got, lease.Hello{}) {
		t.Errorf("an empty one comes back as %+v", got)
	}
}

// TestMarks: a mark that has not the right form is no mark, wherever it comes in.
func TestMarks(t *testing.T) {
	if m := MarkToProto(lease.Mark{Revision: 7}); m != nil {
		t.Errorf("no mark becomes %v", m)
	}
	for name, m := range map[string]*jobwardv1.Mark{"missing": nil, "of no epoch": {Revision: 7, EpochId: []byte{1}}} {
		if got, err := MarkFromProto(m); err != nil || !reflect.DeepEqual(got, lease.Mark{}) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for name, change := range map[string]func(*jobwardv1.Mark){
		"no id":          func(m *jobwardv1.Mark) { m.EpochId = nil },
		"short id":       func(m *jobwardv1.Mark) { m.EpochId = m.EpochId[:15] },
		"long id":        func(m *jobwardv1.Mark) { m.EpochId = make([]byte, 17) },
		"no checksum":    func(m *jobwardv1.Mark) { m.Chain = nil },
		"short checksum": func(m *jobwardv1.Mark) { m.Chain = m.Chain[:8] },
		"long checksum":  func(m *jobwardv1.Mark) { m.Chain = make([]byte, 32) },
		"long seal":      func(m *jobwardv1.Mark) { m.Seal = make([]byte, MaxSeal+1) },
	} {
		m := MarkToProto(aMark())
		change(m)
		bad := func(where string, err error) {
			if authz.KindOf(err) != authz.KindInvalid || err == nil {
				t.Errorf("%s in %s: %v", name, where, err)
			}
		}
		_, err := MarkFromProto(m)
		bad("a mark", err)
		_, err = HelloFromProto(&jobwardv1.WatchHello{Seen: m})
		bad("a hello", err)
		_, err = GrantorMessage(&jobwardv1.WatchResponse{Part: &jobwardv1.WatchResponse_Welcome{Welcome: &jobwardv1.WatchWelcome{Head: m}}}, 0)
		bad("a welcome", err)
		_, err = GrantorMessage(&jobwardv1.WatchResponse{Part: &jobwardv1.WatchResponse_Heartbeat{Heartbeat: &jobwardv1.WatchHeartbeat{Mark: m}}}, 1)
		bad("a heartbeat", err)
	}
}

// TestUnknownParts: a message of a later version is an error and not silence, because
// what it says may be that something has changed.
func TestUnknownParts(t *testing.T) {
	later := &jobwardv1.WatchResponse{}
	later.ProtoReflect().SetUnknown(protoreflect.RawFields{0x9a, 0x06, 0x00}) // field 99, empty
	for name, m := range map[string]*jobwardv1.WatchResponse{"nothing": nil, "empty": {}, "later": again(t, later)} {
		if got, err := GrantorMessage(m, 1); err == nil {
			t.Errorf("%s is read as %v", name, got)
		}
	}
}

// TestOthersPanic: each side's machine sends its own kinds, and anything else is a bug.
func TestOthersPanic(t *testing.T) {
	panics := func(fn func()) (did bool) {
		defer func() { did = recover() != nil }()
		fn()
		return false
	}
	for k := lease.Kind(0); k <= lease.Release+1; k++ {
		grantors := k >= lease.Welcome && k <= lease.Moving
		holders := k >= lease.Renew && k <= lease.Release
		if panics(func() { WatchResponse(lease.Message{Kind: k}, nil) }) == grantors {
			t.Errorf("a grantor sends %v: %t", k, grantors)
		}
		if panics(func() { WatchRequest(lease.Message{Kind: k}) }) == holders {
			t.Errorf("a holder sends %v: %t", k, holders)
		}
	}
}

// FuzzGrantorMessage feeds bytes from a socket.
func FuzzGrantorMessage(f *testing.F) {
	for _, m := range []lease.Message{
		{Kind: lease.Welcome, Generation: 1, Head: aMark(), Term: time.Second}, {Kind: lease.Grant, Term: time.Second},
		{Kind: lease.Invalidation, Keys: []authz.Key{1}}, {Kind: lease.Heartbeat, Head: aMark()}, {Kind: lease.Moving},
	} {
		raw, err := proto.Marshal(WatchResponse(m, []string{"x-"}))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m := &jobwardv1.WatchResponse{}
		if proto.Unmarshal(raw, m) != nil {
			return
		}
		got, err := GrantorMessage(m, 7)
		if err != nil {
			return
		}
		// What is understood says the same when it is sent on.
		next, err := GrantorMessage(again(t, WatchResponse(got, nil)), 7)
		if err != nil || !reflect.DeepEqual(next, got) && len(got.Keys)+len(next.Keys) > 0 && !slices.Equal(next.Keys, got.Keys) {
			t.Fatalf("%+v becomes %+v, %v", got, next, err)
		}
	})
}
