package wire

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/pdp/authz"
)

// Domain is the domain of every ErrorInfo that we make (AIP-193).
const Domain = "jobward.dev"

// Bounds of what an error says: it travels in headers, and some clients take no more
// than 8 KiB of them.
const (
	maxViolations = 16
	maxMessage    = 1024
	maxField      = 200
	maxViolation  = 200
)

// kinds is the table: what each kind is in gRPC and in HTTP (the canonical mapping of
// google.rpc.Code). A kind is told from its code alone, so codes do not repeat.
var kinds = [...]struct {
	code codes.Code
	http int
}{
	authz.KindInternal:        {codes.Internal, http.StatusInternalServerError},
	authz.KindInvalid:         {codes.InvalidArgument, http.StatusBadRequest},
	authz.KindUnauthenticated: {codes.Unauthenticated, http.StatusUnauthorized},
	authz.KindForbidden:       {codes.PermissionDenied, http.StatusForbidden},
	authz.KindNotFound:        {codes.NotFound, http.StatusNotFound},
	authz.KindExists:          {codes.AlreadyExists, http.StatusConflict},
	authz.KindPrecondition:    {codes.FailedPrecondition, http.StatusBadRequest},
	authz.KindConflict:        {codes.Aborted, http.StatusConflict},
	authz.KindExhausted:       {codes.ResourceExhausted, http.StatusTooManyRequests},
	authz.KindUnavailable:     {codes.Unavailable, http.StatusServiceUnavailable},
	authz.KindCanceled:        {codes.Canceled, 499}, // "client closed request"; net/http has no name for it
}

// kindOf is the table backwards. Codes that no kind has come from gRPC itself or from
// servers that are not ours.
func kindOf(c codes.Code) authz.Kind {
	switch c {
	case codes.DeadlineExceeded:
		return authz.KindCanceled
	case codes.OutOfRange:
		return authz.KindInvalid
	}
	for k, row := range kinds {
		if row.code == c {
			return authz.Kind(k)
		}
	}
	return authz.KindInternal
}

func codeOf(e *authz.Error) codes.Code {
	if e.Kind == authz.KindCanceled && errors.Is(e.Cause, context.DeadlineExceeded) {
		return codes.DeadlineExceeded
	}
	if int(e.Kind) < len(kinds) {
		return kinds[e.Kind].code
	}
	return codes.Internal
}

// HTTPStatus gives the HTTP status of an error.
func HTTPStatus(err error) int {
	e := AsError(err)
	switch {
	case e == nil:
		return http.StatusOK
	case codeOf(e) == codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	case int(e.Kind) < len(kinds):
		return kinds[e.Kind].http
	}
	return http.StatusInternalServerError
}

// AsError gives the one [authz.Error] that err is: itself, what a gRPC status or a
// failed validation says, or the end of a context. Anything else is a fault of ours:
// it becomes KindInternal with words that give nothing away, and err as the cause for
// the log. Nil gives nil.
func AsError(err error) *authz.Error {
	if err == nil {
		return nil
	}
	var e *authz.Error
	if errors.As(err, &e) {
		return e
	}
	var rules interface{ ToProto() *validate.Violations }
	if errors.As(err, &rules) {
		return ofRules(rules.ToProto())
	}
	if st, ok := status.FromError(err); ok {
		return ofStatus(st)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &authz.Error{Kind: authz.KindCanceled, Code: "DEADLINE_EXCEEDED", Message: "the deadline passed", Cause: context.DeadlineExceeded}
	case errors.Is(err, context.Canceled):
		return &authz.Error{Kind: authz.KindCanceled, Code: "CANCELED", Message: "the call was canceled", Cause: context.Canceled}
	}
	return &authz.Error{Kind: authz.KindInternal, Code: "INTERNAL", Message: "something went wrong in the server; its log has the details", Cause: err}
}

// ToStatus gives the gRPC status of an error: what an interceptor returns. It has
// exactly one ErrorInfo, BadRequest when fields are named, and RetryInfo when there is
// advice. A code that gRPC itself chose (UNIMPLEMENTED, say) is kept. The cause stays
// here. Nil gives nil.
func ToStatus(err error) error {
	e := AsError(err)
	if e == nil {
		return nil
	}
	c := codeOf(e)
	var ours *authz.Error
	if st, ok := status.FromError(err); ok && !errors.As(err, &ours) {
		c = st.Code()
	}
	info := &errdetails.ErrorInfo{Reason: reasonOf(e, c), Domain: Domain}
	details := []protoadapt.MessageV1{info}
	if len(e.Violations) > 0 {
		bad := &errdetails.BadRequest{}
		for _, v := range e.Violations[:min(len(e.Violations), maxViolations)] {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
				Field: clean(v.Field, maxField), Description: clean(v.Message, maxViolation),
			})
		}
		details = append(details, bad)
	}
	if e.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)})
	}
	st, derr := status.New(c, clean(e.Message, maxMessage)).WithDetails(details...)
	if derr != nil { // only for OK or text that is not UTF-8, neither of which gets here
		return status.Error(codes.Internal, "the error could not be told")
	}
	return st.Err()
}

// reasonOf makes sure that there is one, in the form that AIP-193 asks for.
func reasonOf(e *authz.Error, c codes.Code) string {
	if e.Code == "" || len(e.Code) > 63 {
		return code.Code(c).String()
	}
	return e.Code
}

// clean makes text fit into a status: valid UTF-8 of at most n bytes.
func clean(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}

// ofStatus reads a status, ours or another's.
func ofStatus(st *status.Status) *authz.Error {
	e := &authz.Error{Kind: kindOf(st.Code()), Code: code.Code(st.Code()).String(), Message: st.Message()}
	switch st.Code() {
	case codes.Canceled:
		e.Cause = context.Canceled
	case codes.DeadlineExceeded:
		e.Cause = context.DeadlineExceeded
	}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == Domain {
				e.Code = d.GetReason()
			}
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				e.Violations = append(e.Violations, authz.Violation{Field: v.GetField(), Message: v.GetDescription()})
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = max(d.GetRetryDelay().AsDuration(), 0)
		case *validate.Violations: // what the validation interceptor attaches
			return ofRules(d)
		}
	}
	return e
}

// ofRules translates violations of the rules in the proto files.
func ofRules(vs *validate.Violations) *authz.Error {
	var bad []authz.Violation
	for _, v := range vs.GetViolations() {
		msg := v.GetMessage()
		if msg == "" {
			msg = "breaks the rule " + v.GetRuleId()
		}
		bad = append(bad, authz.Violation{Field: fieldOf(v), Message: msg})
	}
	if len(bad) == 0 {
		bad = []authz.Violation{{Message: "the request is not valid"}}
	}
	return AsError(invalid(bad))
}

// fieldOf gives the path of the field that a rule is about, as the API spells it. A
// rule on a whole message has no field of its own; by our convention its id begins
// with the name of the field to look at first: "group_id.or_namespace".
func fieldOf(v *validate.Violation) string {
	var b strings.Builder
	for _, el := range v.GetField().GetElements() {
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(el.GetFieldName())
		switch sub := el.GetSubscript().(type) {
		case *validate.FieldPathElement_Index:
			fmt.Fprintf(&b, "[%d]", sub.Index)
		case *validate.FieldPathElement_BoolKey:
			fmt.Fprintf(&b, "[%t]", sub.BoolKey)
		case *validate.FieldPathElement_IntKey:
			fmt.Fprintf(&b, "[%d]", sub.IntKey)
		case *validate.FieldPathElement_UintKey:
			fmt.Fprintf(&b, "[%d]", sub.UintKey)
		case *validate.FieldPathElement_StringKey:
			fmt.Fprintf(&b, "[%q]", sub.StringKey)
		}
	}
	// Rules on a message have no path of their own; "message.oneof" is a standard one.
	if field, _, ok := strings.Cut(v.GetRuleId(), "."); ok && v.GetRule() == nil && field != "message" {
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(field)
	}
	return b.String()
}

// ProblemToProto is [ToStatus] for one message of a stream.
func ProblemToProto(err error) *jobwardv1.Problem {
	e := AsError(err)
	if e == nil {
		return nil
	}
	c := codeOf(e)
	p := &jobwardv1.Problem{Code: int32(c), Reason: reasonOf(e, c), Message: clean(e.Message, maxMessage)}
	for _, v := range e.Violations[:min(len(e.Violations), maxViolations)] {
		p.Violations = append(p.Violations, &jobwardv1.FieldViolation{
			Field: clean(v.Field, maxField), Description: clean(v.Message, maxViolation),
		})
	}
	if e.RetryAfter > 0 {
		p.RetryDelay = durationpb.New(e.RetryAfter)
	}
	return p
}

// ProblemFromProto is the inverse: an [authz.Error], or nil.
func ProblemFromProto(p *jobwardv1.Problem) error {
	if p == nil {
		return nil
	}
	e := ofStatus(status.New(codes.Code(p.GetCode()), p.GetMessage()))
	e.Code = p.GetReason()
	for _, v := range p.GetViolations() {
		e.Violations = append(e.Violations, authz.Violation{Field: v.GetField(), Message: v.GetDescription()})
	}
	e.RetryAfter = max(p.GetRetryDelay().AsDuration(), time.Duration(0))
	return e
}
