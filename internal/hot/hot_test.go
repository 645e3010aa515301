package hot

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0 takes the clock")

// chance is a source of random choices whose seed is printed when the test fails.
func chance(t testing.TB) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("run again with -seed=%d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, seed))
}

// randomDecision fills every field now and then, with sizes on both sides of where
// the encoding of a length grows.
func randomDecision(r *rand.Rand) authz.Decision {
	d := authz.Decision{Reason: authz.Reason(1 + r.IntN(authz.NumReasons-1)), Revision: authz.Revision(r.Uint64() >> r.IntN(64))}
	d.Allow = d.Reason.Allows()
	scope := func() authz.Scope {
		return []authz.Scope{{}, authz.InProject(authz.ProjectID(1 + r.Int64N(authz.MaxID))), authz.InGroup(authz.GroupID(1 + r.IntN(9)))}[r.IntN(3)]
	}
	role := func() authz.Role { return []authz.Role{0, 5, 10, 15, 20, 25, 30, 40, 50}[r.IntN(9)] }
	maybe := func(f func()) {
		if r.IntN(2) == 0 {
			f()
		}
	}
	maybe(func() { d.ValidFor = time.Duration(r.Int64N(int64(1000 * time.Hour))) })
	maybe(func() { d.Job = authz.JobID(bytes.Repeat([]byte{'j'}, 1+r.IntN(authz.MaxJobID))) })
	maybe(func() { d.Source, d.User = authz.ProjectID(r.Int64N(authz.MaxID)), authz.UserID(r.IntN(300)) })
	maybe(func() { d.Target = authz.ProjectID(r.IntN(300)) })
	maybe(func() { d.Entry, d.RoleScope, d.Role, d.Need = scope(), scope(), role(), role() })
	maybe(func() { d.Feature = authz.Feature(r.IntN(authz.NumFeatures)) })
	maybe(func() { d.Missing = []string{"read_packages", "", "admin_jobs"}[:1+r.IntN(3)] })
	maybe(func() { d.Number = r.Uint64() >> r.IntN(64) })
	d.Cached = r.IntN(2) == 0
	for range r.IntN(80) {
		d.Keys = append(d.Keys, authz.Key(r.Uint64()))
	}
	return d
}

// TestAnswersAsGenerated: what is written by hand is what the generated code makes of
// the message that package wire makes of the same decision.
func TestAnswersAsGenerated(t *testing.T) {
	r := chance(t)
	for range 5000 {
		d, id := randomDecision(r), fmt.Sprint("id-", r.IntN(1000))
		got := &jobwardv1.CheckResponse{}
		if err := proto.Unmarshal(appendDecision(nil, checkDecision, &d, []byte(id)), got); err != nil {
			t.Fatalf("%+v: %v", d, err)
		}
		if want := wire.CheckResponse(&d, id); !proto.Equal(got, want) {
			t.Fatalf("%+v\nis written as %v\nwant          %v", d, got, want)
		}
	}
}

// TestManyAnswers writes a batch and a stream's message behind one another.
func TestManyAnswers(t *testing.T) {
	r := chance(t)
	var want []*jobwardv1.Decision
	var batch []byte
	stream := appendNumber(nil, streamID, 77)
	for i := range 50 {
		d, id := randomDecision(r), fmt.Sprint(i)
		want = append(want, wire.DecisionToProto(&d, id))
		batch, stream = appendDecision(batch, batchDecision, &d, []byte(id)), appendDecision(stream, streamDecision, &d, []byte(id))
	}
	b, s := &jobwardv1.BatchCheckResponse{}, &jobwardv1.CheckStreamResponse{}
	if err := proto.Unmarshal(batch, b); err != nil || !proto.Equal(b, &jobwardv1.BatchCheckResponse{Decisions: want}) {
		t.Errorf("the batch is %v, %v", b, err)
	}
	if err := proto.Unmarshal(stream, s); err != nil || !proto.Equal(s, &jobwardv1.CheckStreamResponse{Id: 77, Decisions: want}) {
		t.Errorf("the message is %v, %v", s, err)
	}
}

// TestNumbersAsDeclared: the field numbers in the code are those of the proto files.
func TestNumbersAsDeclared(t *testing.T) {
	for _, c := range []struct {
		message proto.Message
		field   string
		number  protowire.Number
	}{
		{&jobwardv1.CheckResponse{}, "decision", checkDecision},
		{&jobwardv1.BatchCheckResponse{}, "decisions", batchDecision},
		{&jobwardv1.CheckStreamResponse{}, "id", streamID},
		{&jobwardv1.CheckStreamResponse{}, "decisions", streamDecision},
	} {
		fields := c.message.ProtoReflect().Descriptor().Fields()
		if f := fields.ByNumber(c.number); f == nil || string(f.Name()) != c.field {
			t.Errorf("%T: %d is %v; want %s", c.message, c.number, f, c.field)
		}
	}
	// Fields that somebody adds are not read or written before somebody does it by hand.
	for m, n := range map[proto.Message]int{
		&jobwardv1.CheckRequest{}: 9, &jobwardv1.Question{}: 4, &jobwardv1.BatchCheckRequest{}: 6, &jobwardv1.CheckStreamRequest{}: 2,
		&jobwardv1.Decision{}: 18, &jobwardv1.CheckResponse{}: 1, &jobwardv1.BatchCheckResponse{}: 1, &jobwardv1.CheckStreamResponse{}: 3,
		&jobwardv1.Scope{}: 2,
	} {
		if got := m.ProtoReflect().Descriptor().Fields().Len(); got != n {
			t.Errorf("%T has %d fields, inbox.go and outbox.go know %d", m, got, n)
		}
	}
}

// asks are the getters of what a CheckRequest and a BatchCheckRequest have in common.
type asks interface {
	GetToken() string
	GetTokenDigest() []byte
	GetMinRevision() uint64
	GetEpoch() uint64
	GetGeneration() uint64
}

// sameAsked compares how a question is asked, read by hand and by the generated code.
func sameAsked(a *Asked, m asks) bool {
	return string(a.Token) == m.GetToken() && bytes.Equal(a.Digest, m.GetTokenDigest()) && a.MinRevision == m.GetMinRevision() &&
		a.Epoch == m.GetEpoch() && a.Generation == m.GetGeneration()
}

// same compares the rest.
func same(q *Question, m interface {
	GetTargetProjectId() int64
	GetTargetProjectPath() string
	GetPermission() string
	GetSurface() jobwardv1.Surface
}) bool {
	return q.Target == m.GetTargetProjectId() && string(q.Path) == m.GetTargetProjectPath() && string(q.Permission) == m.GetPermission() &&
		q.Surface == m.GetSurface()
}

// readBoth reads data as the given shape both ways and says how they differ, "" when
// they agree. The generated code refuses text that is not UTF-8 where the hand-written
// one reads on and judges later, so such data is passed over.
func readBoth(s Shape, data []byte) string {
	var in Inbox
	in.Reset(s)
	herr := in.Decode(data)
	var perr error
	var diff string
	switch s {
	case Check:
		var m jobwardv1.CheckRequest
		if perr = proto.Unmarshal(data, &m); perr == nil && herr == nil {
			if q := &in.Questions[0]; !same(q, &m) || !sameAsked(&q.Asked, &m) {
				diff = fmt.Sprintf("%+v is not %v", q, &m)
			}
		}
	case BatchCheck:
		var m jobwardv1.BatchCheckRequest
		if perr = proto.Unmarshal(data, &m); perr == nil && herr == nil {
			if !sameAsked(&in.Batch, &m) || len(in.Questions) != min(len(m.Questions), wire.MaxBatchQuestions) {
				diff = fmt.Sprintf("%+v is not %v", in, &m)
			}
			for i := range in.Questions {
				if q := m.Questions[i]; diff == "" && !(same(&in.Questions[i], q) && sameAsked(&in.Questions[i].Asked, &jobwardv1.CheckRequest{})) {
					diff = fmt.Sprintf("%+v is not %v", in.Questions[i], q)
				}
			}
		}
	case CheckStream:
		var m jobwardv1.CheckStreamRequest
		if perr = proto.Unmarshal(data, &m); perr == nil && herr == nil {
			if in.ID != m.Id || len(in.Questions) != min(len(m.Questions), wire.MaxStreamQuestions) {
				diff = fmt.Sprintf("%+v is not %v", in, &m)
			}
			for i := range in.Questions {
				q := m.Questions[i]
				if diff == "" && !(same(&in.Questions[i], q) && sameAsked(&in.Questions[i].Asked, q)) {
					diff = fmt.Sprintf("%+v is not %v", in.Questions[i], q)
				}
			}
		}
	}
	textual := perr != nil && strings.Contains(perr.Error(), "invalid UTF-8")
	if (herr == nil) != (perr == nil) && diff == "" && !textual && !in.More {
		diff = fmt.Sprintf("by hand: %v; generated: %v", herr, perr)
	}
	return diff
}

// seeds are well-formed messages of each shape.
func seeds(r *rand.Rand) [3][]byte {
	text := func(n int) string { return string(bytes.Repeat([]byte{'a' + byte(r.IntN(26))}, r.IntN(n))) }
	// As a rule either the token or the digest, now and then both or neither, or a digest of the wrong length.
	shown := func() (string, []byte) {
		d := bytes.Repeat([]byte{byte(r.IntN(3))}, []int{32, 32, 32, 31, 33, 1}[r.IntN(6)])
		switch r.IntN(5) {
		case 0:
			return text(200), d
		case 1, 2:
			return "", d
		}
		return text(200), nil
	}
	check := func() *jobwardv1.CheckRequest {
		m := &jobwardv1.CheckRequest{
			TargetProjectId: r.Int64() >> r.IntN(64), TargetProjectPath: text(40), Permission: text(20),
			Surface: jobwardv1.Surface(r.IntN(9) - 1), MinRevision: r.Uint64() >> r.IntN(64), Epoch: r.Uint64N(3), Generation: r.Uint64() >> r.IntN(64),
		}
		m.Token, m.TokenDigest = shown()
		return m
	}
	batch, stream := &jobwardv1.BatchCheckRequest{MinRevision: 3, Epoch: r.Uint64N(3), Generation: r.Uint64()}, &jobwardv1.CheckStreamRequest{Id: r.Uint64()}
	batch.Token, batch.TokenDigest = shown()
	for range r.IntN(5) {
		c := check()
		stream.Questions = append(stream.Questions, c)
		batch.Questions = append(batch.Questions, &jobwardv1.Question{
			TargetProjectId: c.TargetProjectId, TargetProjectPath: c.TargetProjectPath, Permission: c.Permission, Surface: c.Surface,
		})
	}
	var out [3][]byte
	for i, m := range []proto.Message{check(), batch, stream} {
		out[i], _ = proto.Marshal(m)
	}
	return out
}

// TestReadAsGenerated: what is read by hand is what the generated code reads, of good
// messages and of ones with a few bytes changed.
func TestReadAsGenerated(t *testing.T) {
	r := chance(t)
	for range 20_000 {
		for s, data := range seeds(r) {
			for range r.IntN(3) {
				if len(data) > 0 {
					data[r.IntN(len(data))] = byte(r.Uint32())
				}
			}
			if diff := readBoth(Shape(s), data); diff != "" {
				t.Fatalf("shape %d, %x: %s", s, data, diff)
			}
		}
	}
}

func FuzzInbox(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 5 {
		for s, data := range seeds(r) {
			f.Add(uint8(s), data)
		}
	}
	f.Fuzz(func(t *testing.T, s uint8, data []byte) {
		if diff := readBoth(Shape(s%3), data); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestInboxForgets: memory that is used again shows nothing of the message before, and
// does not grow with questions that are too many.
func TestInboxForgets(t *testing.T) {
	var in Inbox
	in.Reset(CheckStream)
	first, _ := proto.Marshal(&jobwardv1.CheckStreamRequest{Id: 7, Questions: []*jobwardv1.CheckRequest{{
		Token: "t", TokenDigest: []byte("d"), Permission: "p", Surface: 2, MinRevision: 3, Epoch: 4, Generation: 5}}})
	if err := in.Decode(first); err != nil {
		t.Fatal(err)
	}
	in.Fail(errors.New("gone"))
	in.Reset(CheckStream)
	if err := in.Decode([]byte{0x12, 0}); err != nil { // one empty question
		t.Fatal(err)
	}
	if q := in.Questions[0]; in.ID != 0 || in.Err != nil || len(in.Questions) != 1 || !same(&q, &jobwardv1.CheckRequest{}) || !sameAsked(&q.Asked, &jobwardv1.CheckRequest{}) {
		t.Errorf("%+v", in)
	}
	in.Reset(CheckStream)
	if err := in.Decode(bytes.Repeat([]byte{0x12, 0}, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if !in.More || len(in.Questions) != wire.MaxStreamQuestions {
		t.Errorf("a million questions: more is %t, %d are kept", in.More, len(in.Questions))
	}
}

// TestCodec: a message in one buffer or in several, the bound, and what is not ours.
func TestCodec(t *testing.T) {
	c := NewCodec(100)
	data, _ := proto.Marshal(&jobwardv1.KeepAliveRequest{RunnerId: "r1"})
	for _, slices := range []mem.BufferSlice{
		{mem.SliceBuffer(data)},
		{mem.SliceBuffer(data[:2]), mem.SliceBuffer(data[2:])},
		{},
	} {
		f := &Frame{Msg: &jobwardv1.KeepAliveRequest{}}
		want := "r1"
		if len(slices) == 0 {
			want = ""
		}
		if err := c.Unmarshal(slices, f); err != nil || f.Err != nil || f.Msg.(*jobwardv1.KeepAliveRequest).RunnerId != want {
			t.Errorf("%v, %v, %v", f.Msg, f.Err, err)
		}
	}
	for n, want := range map[int]authz.Kind{100: authz.KindInvalid, 101: authz.KindExhausted} {
		f := &Frame{Msg: &jobwardv1.KeepAliveRequest{}}
		if err := c.Unmarshal(mem.BufferSlice{mem.SliceBuffer(make([]byte, n))}, f); err != nil || authz.KindOf(f.Err) != want {
			t.Errorf("%d bytes of nonsense: %v, %v; want kind %d", n, f.Err, err, want)
		}
	}
	m := &jobwardv1.KeepAliveRequest{}
	if err := c.Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, m); err != nil || m.RunnerId != "r1" {
		t.Errorf("%v, %v", m, err)
	}
	if out, err := c.Marshal(m); err != nil || !bytes.Equal(out.Materialize(), data) {
		t.Errorf("%v, %v", out, err)
	}
}
