package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

type watchCmd struct {
	Invalidations bool `help:"Tell invalidations. Without this and --decisions both are told."`
	Decisions     bool `help:"Tell decisions that this PDP gives; those from the caches of sidecars are in the audit log."`
	Count         int  `placeholder:"N" help:"End after so many events; without it, when interrupted."`
}

// Run tells what happens until it is interrupted.
func (c *watchCmd) Run(s *session) error {
	if !c.Invalidations && !c.Decisions {
		c.Invalidations, c.Decisions = true, true
	}
	client, err := s.watches()
	if err != nil {
		return err
	}
	stream, err := client.Tail(s.ctx, &jobwardv1.TailRequest{Invalidations: c.Invalidations, Decisions: c.Decisions})
	if err != nil {
		return s.noPDP(err)
	}
	for n := 0; c.Count == 0 || n < c.Count; n++ {
		e, err := stream.Recv()
		switch {
		case s.ctx.Err() != nil:
			return nil // interrupted, which is how this ends
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return s.noPDP(err)
		}
		if err := s.printOne(e, eventLine(e)); err != nil {
			return err
		}
	}
	return nil
}

// printOne prints one message of many: a line of text or of JSON, or a document of YAML.
func (s *session) printOne(m proto.Message, line string) error {
	if s.globals.Output == "table" {
		_, err := fmt.Fprintln(s.out, line)
		return err
	}
	raw, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if s.globals.Output == "yaml" {
		text, err := yaml.JSONToYAML(raw)
		if err != nil {
			return err
		}
		out.WriteString("---\n")
		out.Write(text)
	} else if err := json.Compact(&out, raw); err != nil { // protojson varies its spaces
		return err
	} else {
		out.WriteByte('\n')
	}
	_, err = s.out.Write(out.Bytes())
	return err
}

// eventLine gives an event for people.
func eventLine(e *jobwardv1.TailResponse) string {
	at := e.GetTime().AsTime().Format("15:04:05.000")
	switch event := e.GetEvent().(type) {
	case *jobwardv1.TailResponse_Change:
		c := event.Change
		keys := strings.Join(c.GetKeys(), " ")
		if more := int(c.GetKeyCount()) - len(c.GetKeys()); more > 0 {
			keys += fmt.Sprintf(" and %d more", more)
		}
		return fmt.Sprintf("%s  change   revision %d  %s by %s  %s  -> %d sidecars", at, c.GetRevision(), c.GetVerb(), c.GetActor(), or(keys), c.GetSidecars())
	case *jobwardv1.TailResponse_Decision:
		d := event.Decision.GetDecision()
		word := "DENY "
		if d.GetAllow() {
			word = "ALLOW"
		}
		return fmt.Sprintf("%s  %s    %s  %s on project %s  job %s  asked by %s  revision %d", at, word, enum("REASON", d.GetReason()),
			event.Decision.GetPermission(), or(d.GetTargetProjectId()), or(d.GetJobId()), event.Decision.GetCaller(), d.GetRevision())
	case *jobwardv1.TailResponse_Missed:
		return fmt.Sprintf("%s  missed   %d events, because they came faster than they were read", at, event.Missed)
	}
	return at + "  something that this version does not know"
}
