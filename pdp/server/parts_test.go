package server

import (
	"bytes"
	"runtime"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// mostParts is how many parts package hot lets a message have.
const mostParts = 100_000

// TestSmallBytesLargeMemory sends messages of 2 MiB that would be a million messages,
// and some below the bound on parts that break a rule in each: none of them takes
// memory out of proportion.
func TestSmallBytesLargeMemory(t *testing.T) {
	r := newRig(t)
	many := func(n int) []byte { return bytes.Repeat([]byte{0x0a, 0}, n) } // field 1, empty
	within := func(num protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), b)
	}
	for name, c := range map[string]struct {
		method string
		stream bool
		data   []byte
		want   codes.Code
	}{
		"a million changes":          {jobwardv1.DirectoryService_ApplyChanges_FullMethodName, false, many(1 << 20), codes.ResourceExhausted},
		"as many bad changes as fit": {jobwardv1.DirectoryService_ApplyChanges_FullMethodName, false, many(mostParts), codes.InvalidArgument},
		"a million job ids":          {jobwardv1.TokenService_Revoke_FullMethodName, false, many(1 << 20), codes.ResourceExhausted},
		"as many job ids as fit":     {jobwardv1.TokenService_Revoke_FullMethodName, false, many(mostParts), codes.InvalidArgument},
		"a million records":          {jobwardv1.DirectoryService_SyncWorld_FullMethodName, true, within(2, many(1<<20)), codes.ResourceExhausted},
		"a million running jobs":     {jobwardv1.TokenService_Reconcile_FullMethodName, true, within(2, many(1<<20)), codes.ResourceExhausted},
		"a million policies": {jobwardv1.AllowlistService_AddEntry_FullMethodName, false,
			within(4, bytes.Repeat([]byte{0x1a, 0}, 1<<20)), codes.ResourceExhausted},
		"a million questions":            {jobwardv1.DecisionService_BatchCheck_FullMethodName, false, bytes.Repeat([]byte{0x12, 0}, 1<<20), codes.InvalidArgument},
		"a million questions explained":  {jobwardv1.DecisionService_Explain_FullMethodName, false, bytes.Repeat([]byte{0x1a, 0}, 1<<20), codes.ResourceExhausted},
		"a million unknown fields":       {jobwardv1.TokenService_KeepAlive_FullMethodName, false, bytes.Repeat([]byte{0x7a, 0}, 1<<20), codes.InvalidArgument},
		"one field set a million times":  {jobwardv1.TokenService_KeepAlive_FullMethodName, false, many(1 << 20), codes.InvalidArgument},
		"a message in a million pieces":  {jobwardv1.TokenService_Issue_FullMethodName, false, bytes.Repeat([]byte{0x32, 0}, 1<<20), codes.ResourceExhausted},
		"the largest list of small jobs": {jobwardv1.TokenService_ListJobs_FullMethodName, false, bytes.Repeat([]byte{0x08, 1}, 1<<20), codes.OK},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := raw(ctx(t), r.conn, c.method, c.stream, c.data)
		runtime.ReadMemStats(&after)
		if err != nil {
			oneInfo(t, err)
		}
		if mib := (after.TotalAlloc - before.TotalAlloc) >> 20; mib > 120 {
			t.Errorf("%s: %d bytes took %d MiB", name, len(c.data), mib)
		}
		if code := status.Code(err); code != c.want {
			t.Errorf("%s: %v; want %v", name, err, c.want)
		}
	}
}
