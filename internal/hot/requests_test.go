package hot

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/internal/wire"
	"github.com/jobward/jobward/pdp/authz"
)

func format(t testing.TB) *token.Format {
	f, err := token.NewFormat("jobt-")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// generated asks package wire, by way of the generated code. It is not ok when the
// generated code does not read the message.
func generated(f *token.Format, s Shape, data []byte) (reqs []authz.Request, least Least, err error, ok bool) {
	switch s {
	case BatchCheck:
		m := &jobwardv1.BatchCheckRequest{}
		if proto.Unmarshal(data, m) != nil {
			return nil, least, nil, false
		}
		reqs, err = wire.BatchRequests(f, m, nil)
		return reqs, leastOf(m), err, true
	case CheckStream:
		m := &jobwardv1.CheckStreamRequest{}
		var all []asks
		if proto.Unmarshal(data, m) != nil {
			return nil, least, nil, false
		}
		for _, q := range m.Questions {
			all = append(all, q)
		}
		reqs, err = wire.StreamRequests(f, m, nil)
		return reqs, leastOf(all...), err, true
	}
	m := &jobwardv1.CheckRequest{}
	if proto.Unmarshal(data, m) != nil {
		return nil, least, nil, false
	}
	req, err := wire.CheckRequest(f, m)
	return []authz.Request{req}, leastOf(m), err, true
}

// leastOf says the same as Least.add in another way: which histories are far enough.
func leastOf(all ...asks) (l Least) {
	for _, m := range all {
		l.Epoch = max(l.Epoch, m.GetEpoch())
	}
	for _, m := range all {
		switch rev := authz.Revision(m.GetMinRevision()); m.GetEpoch() {
		case 0:
			l.Revision = max(l.Revision, rev)
		case l.Epoch:
			l.EpochRevision = max(l.EpochRevision, rev)
		}
	}
	return l
}

// TestRequestsAsWire: the questions, and what is wrong with them, are what package wire
// makes of the same message.
func TestRequestsAsWire(t *testing.T) {
	r, f := chance(t), format(t)
	var in Inbox
	good, bad := 0, 0
	for range 20_000 {
		for i, data := range seeds(r) {
			s := Shape(i)
			if r.IntN(2) == 0 && len(data) > 0 {
				data[r.IntN(len(data))] = byte(r.Uint32())
			}
			want, wantLeast, wantErr, ok := generated(f, s, data)
			in.Reset(s)
			if err := in.Decode(data); err != nil || !ok {
				continue // compared by TestReadAsGenerated
			}
			got, least, err := in.Requests(f, nil)
			if (err == nil) != (wantErr == nil) || err != nil && !reflect.DeepEqual(wire.AsError(err), wire.AsError(wantErr)) {
				t.Fatalf("shape %d, %x: %v, want %v", s, data, err, wantErr)
			}
			if err != nil {
				bad++
				continue
			}
			good++
			if !slices.Equal(got, want) || least != wantLeast {
				t.Fatalf("shape %d, %x:\n%v from %+v\n%v from %+v", s, data, got, least, want, wantLeast)
			}
		}
	}
	if good < 1000 || bad < 1000 {
		t.Errorf("only %d good messages and %d bad ones", good, bad)
	}
}

// TestRequestsRefuse: what the generated code would not read, and what is too much.
func TestRequestsRefuse(t *testing.T) {
	f := format(t)
	for name, c := range map[string]struct {
		shape Shape
		data  []byte
		field string
	}{
		"path":             {Check, []byte("\x0a\x01t\x1a\x01\xff"), "target_project_path"},
		"permission":       {Check, []byte("\x0a\x01t\x22\x01\xff"), "permission"},
		"no token":         {Check, nil, "token"},
		"both":             {Check, append([]byte("\x0a\x01t\x4a\x20"), make([]byte, 32)...), "token_digest"},
		"short digest":     {Check, append([]byte("\x4a\x1f"), make([]byte, 31)...), "token_digest"},
		"batch of both":    {BatchCheck, append([]byte("\x0a\x01t\x12\x03\x1a\x01p\x32\x20"), make([]byte, 32)...), "token_digest"},
		"in a batch":       {BatchCheck, []byte("\x0a\x01t\x12\x03\x12\x01\xff"), "questions[0].target_project_path"},
		"in a stream":      {CheckStream, []byte("\x12\x06\x0a\x01t\x22\x01\xff"), "questions[0].permission"},
		"empty batch":      {BatchCheck, nil, "questions"},
		"empty message":    {CheckStream, nil, "questions"},
		"too large batch":  {BatchCheck, bytes.Repeat([]byte{0x12, 0}, wire.MaxBatchQuestions+1), "questions"},
		"too large stream": {CheckStream, bytes.Repeat([]byte{0x12, 0}, wire.MaxStreamQuestions+1), "questions"},
	} {
		var in Inbox
		in.Reset(c.shape)
		if err := in.Decode(c.data); err != nil {
			t.Fatal(name, err)
		}
		_, _, err := in.Requests(f, nil)
		if e := wire.AsError(err); e == nil || e.Kind != authz.KindInvalid || len(e.Violations) == 0 || !strings.HasPrefix(e.Violations[0].Field, c.field) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// whole reads a Check, answers it and sends the answer, all as a server does.
func whole(c Codec, f *token.Format, in *Inbox, boxes *Outboxes, data mem.BufferSlice, buf []authz.Request, d *authz.Decision) []authz.Request {
	in.Reset(Check)
	if c.Unmarshal(data, in) != nil || in.Err != nil {
		panic(in.Err)
	}
	buf, _, err := in.Requests(f, buf[:0])
	if err != nil {
		panic(err)
	}
	out := boxes.Get()
	out.Begin(in.Shape, in.ID)
	out.Append(d, []byte("id-1"))
	sent, err := c.Marshal(out)
	if err != nil {
		panic(err)
	}
	sent.Free()
	return buf
}

func question(t testing.TB, f *token.Format) mem.BufferSlice {
	data, err := proto.Marshal(&jobwardv1.CheckRequest{Token: f.Mint().Reveal(), TargetProjectId: 7, Permission: "read_packages"})
	if err != nil {
		t.Fatal(err)
	}
	return mem.BufferSlice{mem.SliceBuffer(data)}
}

// BenchmarkWhole is what this package costs a Check.
func BenchmarkWhole(b *testing.B) {
	var in Inbox
	var boxes Outboxes
	var buf []authz.Request
	c, f := NewCodec(1<<20), format(b)
	data := question(b, f)
	d := &authz.Decision{Allow: true, Reason: authz.AllowedSelf, Revision: 12345, Job: "job-1", Keys: make([]authz.Key, 12)}
	b.ReportAllocs()
	for b.Loop() {
		buf = whole(c, f, &in, &boxes, data, buf, d)
	}
}

// TestAllocates: reading takes the name of the permission, and writing nothing. What
// the codec and the pools take is left out: the race detector makes pools forget.
func TestAllocates(t *testing.T) {
	var in Inbox
	var out Outbox
	var buf []authz.Request
	f := format(t)
	data := question(t, f).Materialize()
	d := &authz.Decision{Allow: true, Reason: authz.AllowedSelf, Revision: 12345, Job: "job-1", Keys: make([]authz.Key, 12)}
	if n := testing.AllocsPerRun(100, func() {
		in.Reset(Check)
		if err := in.Decode(data); err != nil {
			t.Fatal(err)
		}
		var err error
		if buf, _, err = in.Requests(f, buf[:0]); err != nil {
			t.Fatal(err)
		}
		out.Begin(in.Shape, in.ID)
		out.Append(d, []byte("id-1"))
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// TestLast: what a stream remembers of its last token changes no answer, also with another format, and next to digests and text that is no token.
func TestLast(t *testing.T) {
	r := chance(t)
	formats := []*token.Format{format(t), format(t)}
	var texts [][]byte
	for range 3 {
		texts = append(texts, []byte(formats[0].Mint().Reveal()))
	}
	texts = append(texts, []byte("no token"), bytes.Repeat([]byte("long"), 100), texts[0][:len(texts[0])-1])
	digest := bytes.Repeat([]byte{7}, 32)
	var with, without Inbox
	var last Last
	for range 5000 {
		m := &jobwardv1.CheckStreamRequest{}
		for range 1 + r.IntN(3) {
			q := &jobwardv1.CheckRequest{Permission: []string{"a", "b"}[r.IntN(2)], TargetProjectPath: []string{"", "x/y", "x/z"}[r.IntN(3)]}
			if n := r.IntN(len(texts) + 1); n < len(texts) {
				q.Token = string(texts[n])
			} else {
				q.TokenDigest = digest
			}
			m.Questions = append(m.Questions, q)
		}
		data, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		f := formats[r.IntN(2)]
		read := func(in *Inbox, l *Last) []authz.Request {
			in.Reset(CheckStream)
			in.Remember(l)
			if err := in.Decode(data); err != nil {
				t.Fatal(err)
			}
			reqs, _, err := in.Requests(f, nil)
			if err != nil {
				t.Fatal(err)
			}
			return reqs
		}
		if got, want := read(&with, &last), read(&without, nil); !slices.Equal(got, want) {
			t.Fatalf("%v is read as %v, want %v", m, got, want)
		}
	}
}
