package wire

import (
	"fmt"
	"strings"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/internal/token"
	"github.com/jobward/jobward/pdp/authz"
)

// Bounds of questions.
const (
	// MaxBatchQuestions is how many questions one BatchCheck can ask.
	MaxBatchQuestions = 1000
	// MaxStreamQuestions is how many questions one message of CheckStream can ask.
	MaxStreamQuestions = 100
	// MaxPath is the longest target path in bytes, MaxPathSegments how many segments it
	// can have: an answer rests on one key for each.
	MaxPath         = 1024
	MaxPathSegments = 64
	// MaxPermission is the longest name of a permission in bytes.
	MaxPermission = 64
)

// Digest gives the digest of the text that was shown as a token, the zero digest when
// it is no job token of this installation. It keeps nothing of the text. Only a text
// that is missing is an error: whoever asks without a token asks by mistake.
func Digest(f *token.Format, text string) (authz.Digest, error) {
	if text == "" {
		return authz.Digest{}, authz.Invalid("token", "is required: the text that was shown as a job token")
	}
	d, ok := f.DigestOfString(text)
	if !ok {
		return authz.Digest{}, nil
	}
	return d, nil
}

// ShownDigest gives the digest of a token that is shown either as its text or as its
// digest; 32 zero bytes stand for a text that is no job token, and [authz.Nobody] for none.
func ShownDigest(f *token.Format, text string, digest []byte) (authz.Digest, error) {
	switch {
	case len(digest) == 0:
		return Digest(f, text)
	case text != "":
		return authz.Digest{}, authz.Invalid("token_digest", "is set beside token: give one of the two")
	case len(digest) != len(authz.Digest{}):
		return authz.Digest{}, authz.Invalid("token_digest", "must have %d bytes, the SHA-256 of the whole token", len(authz.Digest{}))
	}
	return authz.Digest(digest), nil
}

// CheckRequest reads one question. Errors are KindInvalid and name the field.
func CheckRequest(f *token.Format, m *jobwardv1.CheckRequest) (authz.Request, error) {
	d, err := ShownDigest(f, m.GetToken(), m.GetTokenDigest())
	if err != nil {
		return authz.Request{}, err
	}
	req := authz.Request{
		Token:      d,
		Target:     authz.Target{ID: authz.ProjectID(m.GetTargetProjectId()), Path: m.GetTargetProjectPath()},
		Permission: authz.Permission(m.GetPermission()),
		Surface:    authz.Surface(m.GetSurface()),
	}
	if !wellFormed(&req, m.GetSurface()) {
		return authz.Request{}, reject(&req, m.GetSurface())
	}
	return req, nil
}

// QuestionRequest reads a question about the token with the digest d.
func QuestionRequest(d authz.Digest, q *jobwardv1.Question) (authz.Request, error) {
	req := authz.Request{
		Token:      d,
		Target:     authz.Target{ID: authz.ProjectID(q.GetTargetProjectId()), Path: q.GetTargetProjectPath()},
		Permission: authz.Permission(q.GetPermission()),
		Surface:    authz.Surface(q.GetSurface()),
	}
	if !wellFormed(&req, q.GetSurface()) {
		return authz.Request{}, reject(&req, q.GetSurface())
	}
	return req, nil
}

// BatchRequests reads the questions of a BatchCheck and appends them to buf. The token
// is hashed once. The error names the first bad question.
func BatchRequests(f *token.Format, m *jobwardv1.BatchCheckRequest, buf []authz.Request) ([]authz.Request, error) {
	qs := m.GetQuestions()
	if len(qs) == 0 || len(qs) > MaxBatchQuestions {
		return buf, authz.Invalid("questions", "are 1 to %d, not %d", MaxBatchQuestions, len(qs))
	}
	d, err := ShownDigest(f, m.GetToken(), m.GetTokenDigest())
	if err != nil {
		return buf, err
	}
	for i, q := range qs {
		req, err := QuestionRequest(d, q)
		if err != nil {
			return buf, within(fmt.Sprintf("questions[%d]", i), err)
		}
		buf = append(buf, req)
	}
	return buf, nil
}

// StreamRequests reads the questions of one message of CheckStream and appends them to
// buf. The error names the first bad question.
func StreamRequests(f *token.Format, m *jobwardv1.CheckStreamRequest, buf []authz.Request) ([]authz.Request, error) {
	qs := m.GetQuestions()
	if len(qs) == 0 || len(qs) > MaxStreamQuestions {
		return buf, authz.Invalid("questions", "are 1 to %d, not %d", MaxStreamQuestions, len(qs))
	}
	for i, q := range qs {
		req, err := CheckRequest(f, q)
		if err != nil {
			return buf, within(fmt.Sprintf("questions[%d]", i), err)
		}
		buf = append(buf, req)
	}
	return buf, nil
}

// wellFormed is the whole check on the hot path; reject says what was wrong.
func wellFormed(r *authz.Request, s jobwardv1.Surface) bool {
	_, ok := SurfaceFromProto(s)
	return ok && len(r.Permission) >= 1 && len(r.Permission) <= MaxPermission &&
		r.Target.ID >= 0 && r.Target.ID <= authz.MaxID && pathFits(r.Target.Path)
}

func pathFits(path string) bool {
	return len(path) <= MaxPath && (len(path) < MaxPathSegments || strings.Count(path, "/") < MaxPathSegments)
}

// reject names every field that is wrong, and repeats nothing of what was sent.
func reject(r *authz.Request, s jobwardv1.Surface) error {
	var bad []authz.Violation
	add := func(field, format string, args ...any) {
		bad = append(bad, authz.Violation{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if r.Target.ID < 0 || r.Target.ID > authz.MaxID {
		add("target_project_id", "must be 1 to %d, or 0 to name the target by its path", int64(authz.MaxID))
	}
	if !pathFits(r.Target.Path) {
		add("target_project_path", "must have at most %d bytes and %d segments", MaxPath, MaxPathSegments)
	}
	if len(r.Permission) == 0 || len(r.Permission) > MaxPermission {
		add("permission", "must have 1 to %d bytes, the name of a permission of the catalogue", MaxPermission)
	}
	if _, ok := SurfaceFromProto(s); !ok {
		add("surface", "%d is no surface", int32(s))
	}
	return invalid(bad)
}

// within puts the violations of err below field.
func within(field string, err error) error {
	e := AsError(err)
	moved := make([]authz.Violation, len(e.Violations))
	for i, v := range e.Violations {
		moved[i] = authz.Violation{Field: field + "." + v.Field, Message: v.Message}
	}
	return invalid(moved)
}

// invalid makes the error of one or more bad fields.
func invalid(bad []authz.Violation) error {
	e := authz.Invalid(bad[0].Field, "%s", bad[0].Message)
	e.Violations = bad
	if more := len(bad) - 1; more > 0 {
		e.Message += fmt.Sprintf(" (and %d more)", more)
	}
	return e
}
