package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/wire"
)

// rawCodec sends and receives bytes as they are.
type rawCodec struct{}

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

func (rawCodec) Name() string { return "proto" }

// raw calls a method with messages of bytes and gives the first answer.
func raw(ctx context.Context, cc *grpc.ClientConn, method string, stream bool, messages ...[]byte) (out []byte, err error) {
	if !stream {
		err = cc.Invoke(ctx, method, messages[0], &out, grpc.ForceCodecV2(rawCodec{}))
		return out, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := cc.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method, grpc.ForceCodecV2(rawCodec{}))
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		if err := s.SendMsg(m); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
	s.CloseSend()
	for err = s.RecvMsg(&out); err == nil; {
		// What is wrong with a later message comes after the first answer.
		var next []byte
		err = s.RecvMsg(&next)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return out, err
}

// call is raw for a method as it is declared. A Tail goes on until its reader ends it.
func call(ctx context.Context, r *rig, m protoreflect.MethodDescriptor, method string, messages ...[]byte) ([]byte, error) {
	if m.Name() != "Tail" {
		return raw(ctx, r.conn, method, m.IsStreamingClient() || m.IsStreamingServer(), messages...)
	}
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	out, err := raw(ctx, r.conn, method, true, messages...)
	if ctx.Err() != nil {
		err = nil
	}
	return out, err
}

// good gives, for every method, the messages of a call that is well-formed: the last
// one is the one that the tests spoil. A method that is not here fails them.
func good(token string) map[string][]proto.Message {
	one := func(m proto.Message) []proto.Message { return []proto.Message{m} }
	scope := &jobwardv1.Scope{ProjectId: open}
	question := &jobwardv1.Question{TargetProjectId: lib, Permission: "read_repository"}
	check := &jobwardv1.CheckRequest{Token: token, TargetProjectId: lib, Permission: "read_repository"}
	entry := &jobwardv1.AllowlistEntry{Scope: scope, Policies: []string{"read_repositories"}}
	group := &jobwardv1.Group{GroupId: 3, ParentId: acme, Name: "new"}
	project := &jobwardv1.Project{ProjectId: 14, GroupId: acme, Name: "newer", Features: []*jobwardv1.FeatureSetting{{Feature: 1, Level: 2}}}
	user := &jobwardv1.User{UserId: 4, Name: "new"}
	member := &jobwardv1.Membership{UserId: dev, Scope: scope, Role: jobwardv1.Role_ROLE_GUEST}
	return map[string][]proto.Message{
		"Check":       one(check),
		"BatchCheck":  one(&jobwardv1.BatchCheckRequest{Token: token, Questions: []*jobwardv1.Question{question}}),
		"CheckStream": one(&jobwardv1.CheckStreamRequest{Id: 1, Questions: []*jobwardv1.CheckRequest{check}}),
		"Explain":     one(&jobwardv1.ExplainRequest{Subject: &jobwardv1.ExplainRequest_Token{Token: token}, Question: question}),

		"Issue": one(&jobwardv1.IssueRequest{
			JobId: "j2", ProjectId: app, UserId: dev, Timeout: durationpb.New(60e9), HeartbeatTerm: durationpb.New(60e9), RunnerId: "r", RequestId: "q",
			Limits: &jobwardv1.Limits{Permissions: []string{"read_repository"}, Targets: []*jobwardv1.Scope{scope}}, ValidateOnly: true,
		}),
		"Revoke":     one(&jobwardv1.RevokeRequest{JobIds: []string{"j3"}, Tokens: []string{"x"}, ValidateOnly: true}),
		"KeepAlive":  one(&jobwardv1.KeepAliveRequest{RunnerId: "r"}),
		"Introspect": one(&jobwardv1.IntrospectRequest{Token: token}),
		"Reconcile": {
			&jobwardv1.ReconcileRequest{Part: &jobwardv1.ReconcileRequest_Header{Header: &jobwardv1.ReconcileHeader{AsOfRevision: 1, RunnerId: "none"}}},
			&jobwardv1.ReconcileRequest{Part: &jobwardv1.ReconcileRequest_Running{Running: &jobwardv1.JobIds{JobIds: []string{"j1"}}}},
		},
		"GetJob":   one(&jobwardv1.GetJobRequest{JobId: "j1"}),
		"ListJobs": one(&jobwardv1.ListJobsRequest{}),

		"GetAllowlist":   one(&jobwardv1.GetAllowlistRequest{ProjectId: lib, ActingUserId: maintainer}),
		"UpdateSettings": one(&jobwardv1.UpdateSettingsRequest{ProjectId: lib, ActingUserId: maintainer, PushSelf: proto.Bool(true), ValidateOnly: true}),
		"AddEntry":       one(&jobwardv1.AddEntryRequest{ProjectId: lib, ActingUserId: maintainer, Direction: 1, Entry: entry, ValidateOnly: true}),
		"UpdateEntry": one(&jobwardv1.UpdateEntryRequest{
			ProjectId: lib, ActingUserId: maintainer, Entry: &jobwardv1.AllowlistEntry{Scope: &jobwardv1.Scope{ProjectId: app}}, ValidateOnly: true,
		}),
		"RemoveEntry":  one(&jobwardv1.RemoveEntryRequest{ProjectId: lib, ActingUserId: maintainer, Direction: 1, Scope: &jobwardv1.Scope{ProjectId: app}, ValidateOnly: true}),
		"ListEntries":  one(&jobwardv1.ListEntriesRequest{ProjectId: lib, ActingUserId: maintainer, Direction: 1}),
		"ListListings": one(&jobwardv1.ListListingsRequest{ProjectId: app, ActingUserId: maintainer, Direction: 1}),

		"ApplyChanges": one(&jobwardv1.ApplyChangesRequest{ValidateOnly: true, Changes: []*jobwardv1.Change{
			{Change: &jobwardv1.Change_SetGroup{SetGroup: group}}, {Change: &jobwardv1.Change_SetProject{SetProject: project}},
			{Change: &jobwardv1.Change_SetUser{SetUser: user}}, {Change: &jobwardv1.Change_SetMembership{SetMembership: member}},
			{Change: &jobwardv1.Change_RemoveMembership{RemoveMembership: &jobwardv1.MembershipKey{UserId: admin, Scope: scope}}},
			{Change: &jobwardv1.Change_RemoveGroupId{RemoveGroupId: 99}}, {Change: &jobwardv1.Change_RemoveProjectId{RemoveProjectId: 99}},
			{Change: &jobwardv1.Change_RemoveUserId{RemoveUserId: 99}},
		}}),
		"SyncWorld": {
			&jobwardv1.SyncWorldRequest{Part: &jobwardv1.SyncWorldRequest_Header{Header: &jobwardv1.SyncHeader{ValidateOnly: true}}},
			&jobwardv1.SyncWorldRequest{Part: &jobwardv1.SyncWorldRequest_Records{Records: &jobwardv1.SyncRecords{
				Groups: []*jobwardv1.Group{{GroupId: acme, Name: "acme"}, group}, Projects: []*jobwardv1.Project{project},
				Users: []*jobwardv1.User{{UserId: dev, Name: "dev"}, user}, Memberships: []*jobwardv1.Membership{{UserId: dev, Scope: &jobwardv1.Scope{GroupId: acme}, Role: 10}},
			}}},
		},
		"BeginProjectDeletion":   one(&jobwardv1.BeginProjectDeletionRequest{ProjectId: closed, ValidateOnly: true}),
		"FinishProjectDeletion":  one(&jobwardv1.FinishProjectDeletionRequest{ProjectId: closed, ValidateOnly: true}),
		"BlockUser":              one(&jobwardv1.BlockUserRequest{UserId: dev, ValidateOnly: true}),
		"UnblockUser":            one(&jobwardv1.UnblockUserRequest{UserId: dev, ValidateOnly: true}),
		"GetGroup":               one(&jobwardv1.GetGroupRequest{GroupId: acme}),
		"ListGroups":             one(&jobwardv1.ListGroupsRequest{}),
		"GetProject":             one(&jobwardv1.GetProjectRequest{FullPath: "acme/lib"}),
		"ListProjects":           one(&jobwardv1.ListProjectsRequest{}),
		"GetUser":                one(&jobwardv1.GetUserRequest{UserId: dev}),
		"ListUsers":              one(&jobwardv1.ListUsersRequest{}),
		"ListMembers":            one(&jobwardv1.ListMembersRequest{Scope: scope}),
		"GetInstanceSettings":    one(&jobwardv1.GetInstanceSettingsRequest{}),
		"UpdateInstanceSettings": one(&jobwardv1.UpdateInstanceSettingsRequest{MaxGroupEntries: proto.Int32(5), ValidateOnly: true}),
		"GetCatalogue":           one(&jobwardv1.GetCatalogueRequest{}),
		"UpdateCatalogue":        one(&jobwardv1.UpdateCatalogueRequest{Document: []byte(`{"policies":[],"permissions":[]}`), ValidateOnly: true}),
		"GetStatus":              one(&jobwardv1.GetStatusRequest{}),
		"Watch": {
			&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Hello{Hello: &jobwardv1.WatchHello{
				Name: "side", Version: "v1", Seen: &jobwardv1.Mark{}, Vouch: true, AppliedRevision: 1, Keys: []uint64{1, 2},
			}}},
			&jobwardv1.WatchRequest{Part: &jobwardv1.WatchRequest_Forget{Forget: &jobwardv1.DroppedKeys{Keys: []uint64{1}, AnswerNumber: 1}}},
		},
		"Report": {
			&jobwardv1.ReportRequest{Part: &jobwardv1.ReportRequest_Hello{Hello: &jobwardv1.ReportHello{Name: "side", Canary: true}}},
			&jobwardv1.ReportRequest{Part: &jobwardv1.ReportRequest_Accesses{Accesses: &jobwardv1.AccessBatch{Accesses: []*jobwardv1.Access{{
				SourceProjectId: app, TargetProjectId: lib, Permission: "read_repository", Reason: 35, Count: 2, LastAge: durationpb.New(1e9),
			}}}}},
		},
		"AwaitReceipt": one(&jobwardv1.AwaitReceiptRequest{Revision: 1}),
		"ListSidecars": one(&jobwardv1.ListSidecarsRequest{}),
		"Tail":         one(&jobwardv1.TailRequest{Invalidations: true, Decisions: true}),
		"ListEvents":   one(&jobwardv1.ListEventsRequest{StartTime: &timestamppb.Timestamp{Seconds: 1}, EndTime: &timestamppb.Timestamp{Seconds: 2}}),
	}
}

// marker is text that a spoiled message has where bytes are to stand that are no text.
const marker = "TEXT-THAT-IS-NONE"

// spoil calls fn with m as it is after each change of one field, everywhere in it, and
// takes the change back.
func spoil(path string, m protoreflect.Message, depth int, fn func(what string)) {
	if depth > 4 {
		return
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		was, had := m.Get(f), m.Has(f)
		if f.IsList() { // a list got from a message is the message's own, so its elements are kept in another
			kept := m.NewField(f).List()
			for i := range was.List().Len() {
				kept.Append(was.List().Get(i))
			}
			was = protoreflect.ValueOfList(kept)
		}
		at := path + string(f.Name())
		// A mutable value is the message's own, so it is copied before others come in its place.
		copied := proto.Clone(m.Interface()).ProtoReflect()
		restore := func() {
			m.Clear(f)
			if o := f.ContainingOneof(); o != nil && !had {
				if other := copied.WhichOneof(o); other != nil {
					m.Set(other, proto.Clone(copied.Interface()).ProtoReflect().Get(other))
				}
			}
			if had {
				m.Set(f, was)
			}
		}
		try := func(what string, v protoreflect.Value) {
			m.Set(f, v)
			fn(fmt.Sprintf("%s %s", at, what))
			restore()
		}
		if had {
			m.Clear(f)
			fn(at + " left out")
			restore()
		}
		switch {
		case f.IsList():
			spoilList(at, m, f, depth, fn, try)
		case f.Message() != nil:
			try("empty", m.NewField(f))
			for what, v := range extremes(f.Message()) {
				try(what, v)
			}
			if had && !wellKnown(f.Message()) {
				spoil(at+".", m.Mutable(f).Message(), depth+1, fn)
			}
		default:
			for what, v := range scalars(f) {
				try(what, v)
			}
		}
	}
}

func spoilList(at string, m protoreflect.Message, f protoreflect.FieldDescriptor, depth int, fn func(string), try func(string, protoreflect.Value)) {
	fill := func(n int, v func(l protoreflect.List) protoreflect.Value) protoreflect.Value {
		l := m.NewField(f).List()
		for range n {
			l.Append(v(l))
		}
		return protoreflect.ValueOfList(l)
	}
	zero := func(l protoreflect.List) protoreflect.Value { return l.NewElement() }
	try("with one empty element", fill(1, zero))
	try("with 20001 empty elements", fill(20_001, zero))
	if l := m.Get(f).List(); l.Len() > 0 {
		first := l.Get(0)
		try("with the same element twice", fill(2, func(protoreflect.List) protoreflect.Value { return first }))
		try("with the same element 20001 times", fill(20_001, func(protoreflect.List) protoreflect.Value { return first }))
		if f.Message() != nil {
			for i := range l.Len() {
				spoil(fmt.Sprintf("%s[%d].", at, i), l.Get(i).Message(), depth+1, fn)
			}
		}
	}
	if f.Message() == nil {
		for what, v := range scalars(f) {
			try("with an element "+what, fill(1, func(protoreflect.List) protoreflect.Value { return v }))
		}
	}
}

func wellKnown(d protoreflect.MessageDescriptor) bool {
	return strings.HasPrefix(string(d.FullName()), "google.protobuf.")
}

func extremes(d protoreflect.MessageDescriptor) map[string]protoreflect.Value {
	of := func(m proto.Message) protoreflect.Value { return protoreflect.ValueOfMessage(m.ProtoReflect()) }
	switch d.FullName() {
	case "google.protobuf.Duration":
		return map[string]protoreflect.Value{
			"negative": of(durationpb.New(-1)), "endless": of(&durationpb.Duration{Seconds: math.MaxInt64, Nanos: math.MaxInt32}),
			"long": of(&durationpb.Duration{Seconds: 315576000000}), "crooked": of(&durationpb.Duration{Seconds: 1, Nanos: -5}),
		}
	case "google.protobuf.Timestamp":
		return map[string]protoreflect.Value{
			"before all": of(&timestamppb.Timestamp{Seconds: math.MinInt64}), "after all": of(&timestamppb.Timestamp{Seconds: math.MaxInt64}),
			"crooked": of(&timestamppb.Timestamp{Nanos: -1}),
		}
	}
	return nil
}

func scalars(f protoreflect.FieldDescriptor) map[string]protoreflect.Value {
	v := map[string]protoreflect.Value{}
	switch f.Kind() {
	case protoreflect.BoolKind:
		v["true"] = protoreflect.ValueOfBool(true)
		v["false"] = protoreflect.ValueOfBool(false)
	case protoreflect.EnumKind:
		for _, n := range []protoreflect.EnumNumber{-1, 0, 1, 99, 255, 256, 257, math.MaxInt32, math.MinInt32} {
			v[fmt.Sprint(n)] = protoreflect.ValueOfEnum(n)
		}
	case protoreflect.Int32Kind:
		for _, n := range []int32{-1, 0, 1, 1001, math.MaxInt32, math.MinInt32} {
			v[fmt.Sprint(n)] = protoreflect.ValueOfInt32(n)
		}
	case protoreflect.Int64Kind:
		for _, n := range []int64{-1, 0, 1, 1 << 53, 1<<53 - 1, math.MaxInt64, math.MinInt64} {
			v[fmt.Sprint(n)] = protoreflect.ValueOfInt64(n)
		}
	case protoreflect.Uint64Kind:
		for _, n := range []uint64{0, 1, 1 << 40, math.MaxUint64} {
			v[fmt.Sprint(n)] = protoreflect.ValueOfUint64(n)
		}
	case protoreflect.BytesKind:
		v["garbage"] = protoreflect.ValueOfBytes([]byte{0xff, 0, 0xfe})
		v["long"] = protoreflect.ValueOfBytes(bytes.Repeat([]byte("["), 2<<20))
		v["deep"] = protoreflect.ValueOfBytes(bytes.Repeat([]byte("["), 1000))
	case protoreflect.StringKind:
		for what, s := range map[string]string{
			"empty": "", "blank": " ", "nul": "a\x00b", "newline": "a\nb", "path": "../../etc/passwd", "slash": "/", "many segments": strings.Repeat("a/", 500),
			"quote": `'"; DROP TABLE jobs; --`, "wide": "ｊｏｂ", "mark": "\u202e\ufeff", "128": strings.Repeat("x", 128), "129": strings.Repeat("x", 129),
			"long": strings.Repeat("y", 100_000), "no text": marker, "percent": "%s%d%n",
		} {
			v[what] = protoreflect.ValueOfString(s)
		}
	}
	return v
}

// TestHostile calls every method with every field of a good call spoilt in every way:
// it is refused with the right class of code, one ErrorInfo, violations that name
// fields, and without an effect; or it is answered.
func TestHostile(t *testing.T) {
	eachMethod(t, func(t *testing.T, r *rig, m protoreflect.MethodDescriptor, method string, messages []proto.Message) {
		last := messages[len(messages)-1]
		calls := 0
		try := func(what string) {
			calls++
			var data [][]byte
			for _, m := range messages {
				b, err := proto.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				data = append(data, bytes.ReplaceAll(b, []byte(marker), bytes.Repeat([]byte{0xff}, len(marker))))
			}
			refused(t, r, m, method, what, data)
		}
		try("nothing spoilt")
		spoil("", last.ProtoReflect(), 0, try)
		if len(messages) > 1 {
			first := messages[0]
			spoil("", first.ProtoReflect(), 0, try)
			messages = messages[1:]
			try("the header left out")
			messages = []proto.Message{first, first}
			try("the header twice")
			messages = []proto.Message{first, last, first}
			try("the header again")
		}
		t.Logf("%d calls", calls)
	})
}

// eachMethod runs fn for every method of ours with a rig of its own, and the messages
// of a good call.
func eachMethod(t *testing.T, fn func(*testing.T, *rig, protoreflect.MethodDescriptor, string, []proto.Message)) {
	for _, file := range []protoreflect.FileDescriptor{
		jobwardv1.File_jobward_v1_decision_proto, jobwardv1.File_jobward_v1_token_proto, jobwardv1.File_jobward_v1_allowlist_proto,
		jobwardv1.File_jobward_v1_directory_proto, jobwardv1.File_jobward_v1_audit_proto, jobwardv1.File_jobward_v1_watch_proto,
	} {
		for i := range file.Services().Len() {
			s := file.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				t.Run(string(m.Name()), func(t *testing.T) {
					t.Parallel()
					r := newRig(t)
					messages, ok := good(r.issue(t, "j1", maintainer))[string(m.Name())]
					if !ok {
						t.Fatal("the test knows no good call of it")
					}
					fn(t, r, m, fmt.Sprintf("/%s/%s", s.FullName(), m.Name()), messages)
				})
			}
		}
	}
}

// refused makes a call and looks at how it was refused, if it was.
func refused(t *testing.T, r *rig, m protoreflect.MethodDescriptor, method, what string, messages [][]byte) {
	t.Helper()
	before := r.head()
	out, err := call(ctx(t), r, m, method, messages...)
	if m.Name() == "CheckStream" {
		err = problemOf(t, out, err)
	}
	if err == nil {
		return
	}
	if after := r.head(); after != before {
		t.Errorf("%s: %v, but the head went from %d to %d", what, err, before, after)
	}
	info := oneInfo(t, err)
	switch code := status.Code(err); code {
	case codes.InvalidArgument:
		wantViolations(t, m.Input(), what, err)
	case codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition, codes.PermissionDenied, codes.Aborted, codes.ResourceExhausted:
	case codes.Unavailable:
		if info.Reason != "BEHIND" {
			t.Errorf("%s: %v (%s)", what, err, info.Reason)
		}
	default:
		t.Errorf("%s: %v (%s)", what, err, info.Reason)
	}
	if msg := status.Convert(err).Message(); len(msg) > 1024 || strings.Contains(msg, "yyyyyyyyyy") {
		t.Errorf("%s: the message repeats what was sent: %.200s", what, msg)
	}
}

// problemOf makes the error of a stream's answer that tells of a problem.
func problemOf(t *testing.T, out []byte, err error) error {
	if err != nil {
		return err
	}
	var m jobwardv1.CheckStreamResponse
	if err := proto.Unmarshal(out, &m); err != nil {
		t.Error(err)
	}
	p := m.Problem
	if p == nil {
		return nil
	}
	st, bad := status.New(codes.Code(p.Code), p.Message), &errdetails.BadRequest{}
	for _, v := range p.Violations {
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: v.Field, Description: v.Description})
	}
	st, err = st.WithDetails(&errdetails.ErrorInfo{Reason: p.Reason, Domain: "jobward.dev"}, bad)
	if err != nil {
		t.Error(err)
	}
	return st.Err()
}

// wantViolations fails unless there are some and each names a field that there is.
func wantViolations(t *testing.T, d protoreflect.MessageDescriptor, what string, err error) {
	t.Helper()
	n := 0
	for _, detail := range status.Convert(err).Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			for _, v := range bad.FieldViolations {
				n++
				if v.Description == "" || v.Field != "(message)" && !fieldExists(d, v.Field) {
					t.Errorf("%s: the violation names %q, which is no field: %v", what, v.Field, err)
				}
			}
		}
	}
	if n == 0 {
		t.Errorf("%s: no field is named: %v", what, err)
	}
}

func fieldExists(d protoreflect.MessageDescriptor, path string) bool {
	for _, name := range strings.Split(path, ".") {
		name, _, _ = strings.Cut(name, "[")
		if d == nil {
			return false
		}
		f := d.Fields().ByName(protoreflect.Name(name))
		if f == nil {
			return d.Oneofs().ByName(protoreflect.Name(name)) != nil
		}
		d = f.Message()
	}
	return true
}

// TestGarbage sends bytes that are no message: unknown fields are passed over, and
// everything else is the caller's fault and nobody else's.
func TestGarbage(t *testing.T) {
	eachMethod(t, func(t *testing.T, r *rig, m protoreflect.MethodDescriptor, method string, messages []proto.Message) {
		valid, err := proto.Marshal(messages[0])
		if err != nil {
			t.Fatal(err)
		}
		unknown := protowire.AppendString(protowire.AppendTag(bytes.Clone(valid), 999, protowire.BytesType), "from the future")
		if len(messages) == 1 {
			if _, err := call(ctx(t), r, m, method, unknown); err != nil && status.Code(err) != codes.FailedPrecondition {
				t.Errorf("an unknown field: %v", err)
			}
		}
		bombs := map[string][]byte{
			"garbage":           {0xff, 0xff, 0xff, 0xff},
			"field zero":        {0, 0},
			"an open group":     bytes.Repeat([]byte{0x0b}, 50_000),
			"an endless varint": bytes.Repeat([]byte{0xff}, 50),
			"a long length":     {0x0a, 0xff, 0xff, 0xff, 0xff, 0x07},
			"cut":               append(bytes.Clone(valid), 0x0a),
		}
		for what, b := range bombs {
			before := r.head()
			out, err := call(ctx(t), r, m, method, b)
			if m.Name() == "CheckStream" {
				err = problemOf(t, out, err)
			}
			if status.Code(err) != codes.InvalidArgument || oneInfo(t, err).Reason != wire.CodeMalformedMessage {
				t.Errorf("%s: %v", what, err)
			}
			if r.head() != before {
				t.Errorf("%s: had an effect", what)
			}
		}
	})
}

// TestTooLarge: over the limit is said properly, over twice the limit gRPC says it.
func TestTooLarge(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxMessage = 1 << 20 })
	send := func(n int) error {
		_, err := r.decisions.Check(ctx(t), &jobwardv1.CheckRequest{Token: strings.Repeat("x", n), TargetProjectId: lib, Permission: "read_repository"})
		return err
	}
	if err := send(1<<20 - 100); err != nil {
		t.Errorf("just below the limit: %v", err)
	}
	err := send(1 << 20)
	if status.Code(err) != codes.ResourceExhausted || oneInfo(t, err).Reason != wire.CodeMessageTooLarge || !strings.Contains(err.Error(), "1048576") {
		t.Errorf("above the limit: %v", err)
	}
	if err := send(3 << 20); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("far above the limit: %v", err)
	}
}
