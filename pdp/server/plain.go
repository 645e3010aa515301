package server

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/pdp/authz"
)

// plain reports whether m surely keeps the rules in the proto files: the messages of Issue and
// Revoke as nearly everybody sends them, for which running the rules costs a fifth of an
// empty call. False says nothing: then the rules judge, and find the words. A test holds
// that the rules take whatever is plain.
func plain(m proto.Message) bool {
	switch m := m.(type) {
	case *jobwardv1.IssueRequest:
		return plainIssue(m)
	case *jobwardv1.RevokeRequest:
		return plainRevoke(m)
	}
	return false
}

func plainIssue(m *jobwardv1.IssueRequest) bool {
	return m.JobId != "" && plainName(m.JobId) && authz.ProjectID(m.ProjectId).Valid() && authz.UserID(m.UserId).Valid() &&
		m.PipelineId >= 0 && len(m.Ref) <= 1024 && m.Limits == nil && plainName(m.RunnerId) && plainName(m.RequestId) &&
		plainDuration(m.Timeout, 31*24*time.Hour) && plainDuration(m.HeartbeatTerm, 24*time.Hour) &&
		(m.HeartbeatTerm == nil || m.RunnerId != "") &&
		plainWait(m.ReceiptWait) && m.Status >= jobwardv1.JobStatus_JOB_STATUS_UNSPECIFIED && m.Status <= jobwardv1.JobStatus_JOB_STATUS_SCHEDULED
}

func plainRevoke(m *jobwardv1.RevokeRequest) bool {
	if n := len(m.JobIds) + len(m.Tokens); n == 0 || n > 1000 {
		return false
	}
	for _, id := range m.JobIds {
		if id == "" || !plainName(id) {
			return false
		}
	}
	return plainName(m.RequestId) && plainWait(m.ReceiptWait) && m.Outcome >= jobwardv1.Outcome_OUTCOME_UNSPECIFIED && m.Outcome <= jobwardv1.Outcome_OUTCOME_SKIPPED
}

// plainName takes up to 128 bytes of printable ASCII without spaces.
func plainName(s string) bool {
	if len(s) > 128 {
		return false
	}
	for i := range len(s) {
		if s[i] < '!' || s[i] > '~' {
			return false
		}
	}
	return true
}

func plainWait(w jobwardv1.ReceiptWait) bool {
	return w >= jobwardv1.ReceiptWait_RECEIPT_WAIT_UNSPECIFIED && w <= jobwardv1.ReceiptWait_RECEIPT_WAIT_DURABLE
}

// plainDuration takes none, or one of at least a second and less than limit.
func plainDuration(d *durationpb.Duration, limit time.Duration) bool {
	return d == nil || d.Seconds >= 1 && d.Seconds < int64(limit/time.Second) && d.Nanos >= 0 && d.Nanos < 1e9
}
