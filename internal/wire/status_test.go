package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/pdp/authz"
)

// lastKind is the last kind that authz declares; TestKinds fails when there are more.
const lastKind = authz.KindCanceled

// TestKinds is the table again, written by hand: code and HTTP status of every kind.
func TestKinds(t *testing.T) {
	want := map[authz.Kind]struct {
		code codes.Code
		http int
	}{
		authz.KindInternal: {codes.Internal, 500}, authz.KindInvalid: {codes.InvalidArgument, 400},
		authz.KindUnauthenticated: {codes.Unauthenticated, 401}, authz.KindForbidden: {codes.PermissionDenied, 403},
		authz.KindNotFound: {codes.NotFound, 404}, authz.KindExists: {codes.AlreadyExists, 409},
		authz.KindPrecondition: {codes.FailedPrecondition, 400}, authz.KindConflict: {codes.Aborted, 409},
		authz.KindExhausted: {codes.ResourceExhausted, 429}, authz.KindUnavailable: {codes.Unavailable, 503},
		authz.KindCanceled: {codes.Canceled, 499},
	}
	if len(kinds) != len(want) || len(kinds) != int(lastKind)+1 {
		t.Fatalf("the table has %d rows, the test %d, authz %d kinds", len(kinds), len(want), lastKind+1)
	}
	seen := map[codes.Code]authz.Kind{}
	for k, w := range want {
		err := authz.Errorf(k, "SOME_CODE", "words")
		if got := status.Code(ToStatus(err)); got != w.code {
			t.Errorf("kind %d becomes %v; want %v", k, got, w.code)
		}
		if got := HTTPStatus(err); got != w.http {
			t.Errorf("kind %d becomes HTTP %d; want %d", k, got, w.http)
		}
		if other, twice := seen[w.code]; twice {
			t.Errorf("kinds %d and %d share %v and cannot be told apart", k, other, w.code)
		}
		seen[w.code] = k
	}
}

// TestStatusRoundTrip takes every kind with everything in it to the other side, as the
// status of a call and as a problem in a stream.
func TestStatusRoundTrip(t *testing.T) {
	for k := range lastKind + 1 {
		for _, full := range []bool{false, true} {
			e := &authz.Error{Kind: k, Code: "SOME_CODE", Message: "what was wrong"}
			if full {
				e.RetryAfter = 1500 * time.Millisecond
				e.Violations = []authz.Violation{{Field: "entries[2].project_id", Message: "must be 1 or more"}, {Field: "ref", Message: "too long"}}
			}
			wrapped := fmt.Errorf("in the middle: %w", e)
			for via, got := range map[string]error{"status": AsError(received(t, ToStatus(wrapped))), "problem": ProblemFromProto(ProblemToProto(wrapped))} {
				back := *AsError(got)
				if k == authz.KindCanceled && !errors.Is(got, context.Canceled) {
					t.Errorf("%s: the end of the context is lost", via)
				}
				back.Cause = nil
				if !reflect.DeepEqual(&back, e) {
					t.Errorf("%s: kind %d comes back as\n%+v; want\n%+v", via, k, back, *e)
				}
			}
		}
	}
}

// TestOneErrorInfo: whatever happened, there is exactly one, it is ours, and its reason
// has the form of AIP-193. Translating twice changes nothing.
func TestOneErrorInfo(t *testing.T) {
	withOther, err := status.New(codes.NotFound, "x").WithDetails(
		&errdetails.ErrorInfo{Reason: "OURS", Domain: Domain}, &errdetails.ErrorInfo{Reason: "THEIRS", Domain: "elsewhere.example"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		err    error
		code   codes.Code
		reason string
	}{
		"ours":                 {authz.Errorf(authz.KindConflict, "GUARD_FAILED", "x"), codes.Aborted, "GUARD_FAILED"},
		"ours without a code":  {&authz.Error{Kind: authz.KindNotFound}, codes.NotFound, "NOT_FOUND"},
		"code too long":        {&authz.Error{Kind: authz.KindExists, Code: strings.Repeat("A", 64)}, codes.AlreadyExists, "ALREADY_EXISTS"},
		"a kind to come":       {&authz.Error{Kind: 200}, codes.Internal, "INTERNAL"},
		"plain":                {io.ErrUnexpectedEOF, codes.Internal, "INTERNAL"},
		"canceled":             {fmt.Errorf("x: %w", context.Canceled), codes.Canceled, "CANCELED"},
		"deadline":             {context.DeadlineExceeded, codes.DeadlineExceeded, "DEADLINE_EXCEEDED"},
		"ours after deadline":  {&authz.Error{Kind: authz.KindCanceled, Code: "C", Cause: context.DeadlineExceeded}, codes.DeadlineExceeded, "C"},
		"gRPC's own":           {status.Error(codes.Unimplemented, "unknown method"), codes.Unimplemented, "UNIMPLEMENTED"},
		"unknown":              {status.Error(codes.Unknown, "x"), codes.Unknown, "UNKNOWN"},
		"message too large":    {status.Error(codes.ResourceExhausted, "x"), codes.ResourceExhausted, "RESOURCE_EXHAUSTED"},
		"two infos":            {withOther.Err(), codes.NotFound, "OURS"},
		"rules":                {rulesError{violation("a.b", "must")}, codes.InvalidArgument, "INVALID_FIELD"},
		"ours around a status": {&authz.Error{Kind: authz.KindUnavailable, Code: "C", Cause: status.Error(codes.NotFound, "x")}, codes.Unavailable, "C"},
		"a status around ours": {errors.Join(status.Error(codes.NotFound, "x"), authz.Errorf(authz.KindExists, "E", "x")), codes.AlreadyExists, "E"},
	} {
		t.Run(name, func(t *testing.T) {
			once := received(t, ToStatus(c.err))
			twice := received(t, ToStatus(once))
			if !proto.Equal(status.Convert(once).Proto(), status.Convert(twice).Proto()) {
				t.Errorf("translated twice: %v; once: %v", status.Convert(twice).Proto(), status.Convert(once).Proto())
			}
			var infos []*errdetails.ErrorInfo
			for _, d := range status.Convert(once).Details() {
				if i, ok := d.(*errdetails.ErrorInfo); ok {
					infos = append(infos, i)
				}
			}
			if len(infos) != 1 || infos[0].Domain != Domain || infos[0].Reason != c.reason {
				t.Errorf("the infos are %v; want one with %s", infos, c.reason)
			}
			if got := status.Code(once); got != c.code {
				t.Errorf("the code is %v; want %v", got, c.code)
			}
		})
	}
	if ToStatus(nil) != nil || AsError(nil) != nil || ProblemToProto(nil) != nil || ProblemFromProto(nil) != nil || HTTPStatus(nil) != 200 {
		t.Error("no error becomes one")
	}
}

// TestCauseStays: what only the log may know does not leave.
func TestCauseStays(t *testing.T) {
	secret := errors.New("/var/lib/secret path")
	for _, err := range []error{secret, &authz.Error{Kind: authz.KindInternal, Code: "X", Message: "broken", Cause: secret}} {
		if text := ToStatus(err).Error() + ProblemToProto(err).String(); strings.Contains(text, "secret") {
			t.Errorf("the status says %s", text)
		}
		if !errors.Is(AsError(err), secret) {
			t.Errorf("the log does not get the cause of %v", err)
		}
	}
}

// TestStatusFits: hostile sizes and bytes still make a status that fits into 8 KiB of
// headers and can be encoded.
func TestStatusFits(t *testing.T) {
	huge := "x\xff" + strings.Repeat("ü", 5000) // a cut falls into the middle of a letter
	e := &authz.Error{Kind: authz.KindInvalid, Code: "X", Message: huge}
	for range 1000 {
		e.Violations = append(e.Violations, authz.Violation{Field: huge, Message: huge})
	}
	st := status.Convert(received(t, ToStatus(e)))
	if size := proto.Size(st.Proto()); size > 8<<10 || !utf8.ValidString(st.Message()) || st.Code() != codes.InvalidArgument {
		t.Errorf("%d bytes, code %v", size, st.Code())
	}
	if _, err := proto.Marshal(ProblemToProto(e)); err != nil {
		t.Error(err)
	}
}

// TestForeignStatus reads what is not ours: negative advice, codes out of range.
func TestForeignStatus(t *testing.T) {
	for code, kind := range map[codes.Code]authz.Kind{
		codes.Unknown: authz.KindInternal, codes.DataLoss: authz.KindInternal, codes.Unimplemented: authz.KindInternal,
		codes.OutOfRange: authz.KindInvalid, codes.DeadlineExceeded: authz.KindCanceled, 99: authz.KindInternal,
	} {
		if e := AsError(status.Error(code, "x")); e.Kind != kind || e.Message != "x" || e.Code == "" {
			t.Errorf("%v becomes %+v", code, e)
		}
	}
	if got := HTTPStatus(context.DeadlineExceeded); got != 504 {
		t.Errorf("a deadline becomes HTTP %d", got)
	}
	if e := AsError(ProblemFromProto(&jobwardv1.Problem{Code: int32(codes.Unavailable), Reason: "BEHIND"})); e.Kind != authz.KindUnavailable || e.Code != "BEHIND" {
		t.Errorf("a problem becomes %+v", e)
	}
	if e := AsError(ProblemFromProto(&jobwardv1.Problem{})); e == nil || e.Kind != authz.KindInternal {
		t.Errorf("a problem without a code becomes %+v", e)
	}
}

// TestRulesFromInterceptor: the validation interceptor attaches the violations to a
// status; they are found there as well.
func TestRulesFromInterceptor(t *testing.T) {
	st, err := status.New(codes.InvalidArgument, "validation error").WithDetails(rulesError{violation("changes", "must")}.ToProto())
	if err != nil {
		t.Fatal(err)
	}
	e := AsError(received(t, ToStatus(st.Err())))
	if e.Kind != authz.KindInvalid || len(e.Violations) != 1 || e.Violations[0].Field != "changes" {
		t.Errorf("got %+v", e)
	}
	if e := AsError(rulesError{}); e.Kind != authz.KindInvalid || len(e.Violations) != 1 {
		t.Errorf("no violations at all become %+v", e)
	}
}

// received is the error as the other side of a connection sees it.
func received(t *testing.T, err error) error {
	t.Helper()
	raw, merr := proto.Marshal(status.Convert(err).Proto())
	if merr != nil {
		t.Fatal(merr)
	}
	p := status.Convert(nil).Proto()
	if p == nil {
		p = status.New(codes.Internal, "").Proto()
	}
	if uerr := proto.Unmarshal(raw, p); uerr != nil {
		t.Fatal(uerr)
	}
	return status.FromProto(p).Err()
}

type rulesError []*validate.Violation

func (e rulesError) Error() string { return "validation error" }

func (e rulesError) ToProto() *validate.Violations { return &validate.Violations{Violations: e} }

func violation(field, message string) *validate.Violation {
	path := &validate.FieldPath{}
	for name := range strings.SplitSeq(field, ".") {
		path.Elements = append(path.Elements, &validate.FieldPathElement{FieldName: proto.String(name)})
	}
	return &validate.Violation{Field: path, Message: proto.String(message), RuleId: proto.String("x")}
}
