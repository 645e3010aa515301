package cli

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

type auditCmd struct {
	List auditListCmd `cmd:"" help:"List events, newest first."`
}

type auditListCmd struct {
	Since   time.Duration `placeholder:"DURATION" help:"Only events of this long ago or less."`
	Job     string        `help:"Events about this job."`
	Project string        `help:"Events with this project as source or target."`
	User    string        `help:"Events of, for or about this user."`
	Actor   string        `help:"Events caused by this caller."`
	Verb    string        `help:"Events of this verb: check, issue, revoke, …"`
	Denials bool          `xor:"kind" help:"Only denials."`
	Changes bool          `xor:"kind" help:"Only changes, no decisions."`
	Limit   int           `default:"100" help:"How many at most."`
}

// Run lists events.
func (c *auditListCmd) Run(s *session) error {
	req := &jobwardv1.ListEventsRequest{JobId: c.Job, Actor: c.Actor, Verb: c.Verb, DenialsOnly: c.Denials, ChangesOnly: c.Changes, PageSize: int32(min(c.Limit, 1000))}
	var err error
	if req.ProjectId, err = s.projectID(c.Project); err != nil {
		return err
	}
	if req.UserId, err = s.userID(c.User); err != nil {
		return err
	}
	if c.Since > 0 {
		req.StartTime = timestamppb.New(time.Now().Add(-c.Since))
	}
	service, err := s.audits()
	if err != nil {
		return err
	}
	all := &jobwardv1.ListEventsResponse{}
	for len(all.Events) < c.Limit {
		resp, err := call(s, service.ListEvents, req)
		if err != nil {
			return err
		}
		all.Events = append(all.Events, resp.GetEvents()...)
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	all.Events = all.Events[:min(len(all.Events), c.Limit)]
	return s.print(all, func(t *table) {
		t.row("TIME", "REVISION", "ACTOR", "FOR", "VERB", "REASON", "JOB", "SOURCE", "TARGET", "USER", "PERMISSION", "COUNT", "DETAIL")
		for _, e := range all.Events {
			reason := "-"
			if e.GetReason() != jobwardv1.Reason_REASON_UNSPECIFIED {
				reason = enum("REASON", e.GetReason())
			}
			t.row(clock(e.GetEventTime()), or(e.GetRevision()), e.GetActor(), or(e.GetActingUserId()), e.GetVerb(), reason, or(e.GetJobId()),
				or(e.GetSourceProjectId()), or(e.GetTargetProjectId()), or(e.GetUserId()), or(e.GetPermission()), or(e.GetCount()), e.GetDetail())
		}
	})
}
