package daemon

import (
	"context"
	_ "embed" // the sample world
	"fmt"

	"github.com/goccy/go-yaml"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/engine"
	"github.com/jobward/jobward/pdp/scenario"
	"github.com/jobward/jobward/pdp/state"
)

//go:embed world.yaml
var sampleWorld []byte

// loadSampleWorld fills an empty store: the directory in one commit, then the allowlists on behalf of alice, who owns everything.
// A kill in between leaves a world with fewer entries, which nothing depends on. Each step has a request id, so that of several PDPs that find the same store empty
// one does it, and the others take it for done.
func loadSampleWorld(ctx context.Context, e *engine.Engine) error {
	var w scenario.World
	if err := yaml.UnmarshalWithOptions(sampleWorld, &w, yaml.DisallowUnknownField()); err != nil {
		return fmt.Errorf("the sample world is broken: %w", err)
	}
	records, names, err := w.Records()
	if err != nil {
		return fmt.Errorf("the sample world is broken: %w", err)
	}
	var changes []engine.Change
	var lists []*state.Allowlist
	var instance *state.Instance
	for _, r := range records {
		switch r := r.(type) {
		case *state.Group:
			changes = append(changes, engine.Change{Group: r})
		case *state.Project:
			changes = append(changes, engine.Change{Project: r})
		case *state.User:
			changes = append(changes, engine.Change{User: r})
		case *state.Members:
			for _, m := range r.List {
				changes = append(changes, engine.Change{Membership: &engine.Membership{User: r.User, Membership: m}})
			}
		case *state.Allowlist:
			lists = append(lists, r)
		case *state.Instance:
			instance = r
		}
	}
	by := engine.Actor{Name: "sample-world", Admin: true}
	if _, err := e.Apply(ctx, by, engine.ApplyRequest{Changes: changes, RequestID: "directory"}); err != nil {
		return fmt.Errorf("the sample world was not taken: %w", err)
	}
	if _, _, err := e.UpdateInstance(ctx, by, engine.InstanceEdit{EnforceInbound: &instance.EnforceInbound, RequestID: "instance"}); err != nil {
		return fmt.Errorf("the settings of the sample world were not taken: %w", err)
	}
	by.User, by.Admin = names.Users["alice"], false
	for _, a := range lists {
		if err := loadAllowlist(ctx, e, by, a); err != nil {
			return fmt.Errorf("an allowlist of the sample world was not taken: %w", err)
		}
	}
	return nil
}

func loadAllowlist(ctx context.Context, e *engine.Engine, by engine.Actor, a *state.Allowlist) error {
	step := func(what string, other int64) engine.AllowlistEdit {
		return engine.AllowlistEdit{Project: a.Project, RequestID: fmt.Sprintf("%s-%d-%d", what, a.Project, other)}
	}
	if a.OutboundOn || a.PushSelf {
		settings := engine.AllowlistSettings{AllowlistEdit: step("settings", 0), OutboundOn: &a.OutboundOn, PushSelf: &a.PushSelf}
		if _, _, err := e.UpdateAllowlist(ctx, by, settings); err != nil {
			return err
		}
	}
	add := func(d engine.Direction, other authz.Scope, p *state.Entry) error {
		entry := engine.EntryEdit{AllowlistEdit: step(fmt.Sprintf("entry-%d-%d", d, other.Kind), other.ID), Direction: d, Other: other}
		if p != nil {
			entry.Default, entry.Policies = p.Default, p.Policies
		}
		_, _, err := e.AddEntry(ctx, by, entry)
		return err
	}
	for _, p := range a.Inbound {
		if err := add(engine.Inbound, p.Caller, &p); err != nil {
			return err
		}
	}
	for _, id := range a.Outbound {
		if err := add(engine.Outbound, authz.InProject(id), nil); err != nil {
			return err
		}
	}
	return nil
}
