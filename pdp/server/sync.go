package server

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/grpc"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
)

// maxSyncRecords is how many records of one kind a message of SyncWorld can have.
const maxSyncRecords = 5000

// SyncWorld implements jobwardv1.DirectoryServiceServer. Records are staged as they
// come, and nothing is done before the caller has closed its side. The rules of the
// proto file are not run here, because on ten million records they take minutes and
// the engine checks the same.
func (d *directoryService) SyncWorld(stream grpc.ClientStreamingServer[jobwardv1.SyncWorldRequest, jobwardv1.SyncWorldResponse]) error {
	ctx := stream.Context()
	var sync *engine.Sync
	var header *jobwardv1.SyncHeader
	for {
		m, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		switch part := m.GetPart().(type) {
		case *jobwardv1.SyncWorldRequest_Header:
			if sync != nil {
				return authz.Invalid("header", "comes once, in the first message")
			}
			header = part.Header
			sync, err = d.s.engine.BeginSync(actorOf(ctx, 0), engine.SyncOptions{
				AsOf: authz.Revision(header.GetAsOfRevision()), ValidateOnly: header.GetValidateOnly(),
			})
			err = about("header.as_of_revision", err)
		case *jobwardv1.SyncWorldRequest_Records:
			if sync == nil {
				return errHeaderFirst()
			}
			err = stage(sync, part.Records)
		default:
			err = authz.Invalid("part", "must be header or records")
		}
		if err != nil {
			return err
		}
	}
	if sync == nil {
		return errHeaderFirst()
	}
	diff, err := sync.Finish(ctx)
	if err != nil {
		return inRecords(err)
	}
	return stream.SendAndClose(&jobwardv1.SyncWorldResponse{
		Groups: differenceToProto(diff.Groups), Projects: differenceToProto(diff.Projects), Users: differenceToProto(diff.Users),
		Memberships: differenceToProto(diff.Memberships), AllowlistEntriesRemoved: int64(diff.Entries), Samples: diff.Lines,
		Commits: int32(diff.Commits), Receipt: d.s.receipt(ctx, header, diff.Awaits()),
	})
}

// stage adds the records of one message.
func stage(sync *engine.Sync, in *jobwardv1.SyncRecords) error {
	if err := stageAll(sync, "records.groups", in.GetGroups(), func(r *reader, g *jobwardv1.Group) engine.Change {
		return engine.Change{Group: groupFromProto(r, g)}
	}); err != nil {
		return err
	}
	if err := stageAll(sync, "records.projects", in.GetProjects(), func(r *reader, p *jobwardv1.Project) engine.Change {
		return engine.Change{Project: projectFromProto(r, p)}
	}); err != nil {
		return err
	}
	if err := stageAll(sync, "records.users", in.GetUsers(), func(r *reader, u *jobwardv1.User) engine.Change {
		return engine.Change{User: userFromProto(r, u)}
	}); err != nil {
		return err
	}
	return stageAll(sync, "records.memberships", in.GetMemberships(), func(r *reader, m *jobwardv1.Membership) engine.Change {
		return engine.Change{Membership: membershipFromProto(r, m)}
	})
}

func stageAll[T any](sync *engine.Sync, list string, in []T, record func(*reader, T) engine.Change) error {
	if len(in) > maxSyncRecords {
		return authz.Invalid(list, "must be at most %d in one message", maxSyncRecords)
	}
	var r reader
	for i, m := range in {
		c := record(&r, m)
		err := r.err
		if err == nil {
			err = sync.Add(c)
		}
		if err != nil {
			return inRecord(fmt.Sprintf("%s[%d]", list, i), err)
		}
	}
	return nil
}

// inRecord names the place of a bad record in the message. The engine names it by its
// id ("project 7.name"), the conversions not at all ("state").
func inRecord(at string, err error) error {
	var e *authz.Error
	if !errors.As(err, &e) || len(e.Violations) == 0 {
		return err
	}
	moved := *e
	moved.Violations = nil
	for _, v := range e.Violations {
		if _, field, ok := strings.Cut(v.Field, "."); ok {
			v.Field = field
		}
		moved.Violations = append(moved.Violations, authz.Violation{Field: at + "." + v.Field, Message: v.Message})
	}
	moved.Message = at + ": " + e.Message
	return &moved
}

// inRecords is for what is found wrong when all records are there. Where in which
// message they were is not known any more, so the description names the record.
func inRecords(err error) error {
	var e *authz.Error
	if !errors.As(err, &e) || len(e.Violations) == 0 {
		return err
	}
	moved := *e
	moved.Violations = nil
	for _, v := range e.Violations {
		moved.Violations = append(moved.Violations, authz.Violation{Field: "records", Message: v.Field + ": " + v.Message})
	}
	return &moved
}
