package daemon

import (
	"github.com/jobward/jobward/sidecar/extauthz"
	"github.com/jobward/jobward/sidecar/gate"
)

// newGate makes what judges requests at one HTTP door; the name is the door's in the metrics.
func (d *daemon) newGate(door string) (*gate.Gate, error) {
	counts, err := gate.NewCounts(d.telemetry.Meters, door)
	if err != nil {
		return nil, err
	}
	g := &gate.Gate{Asker: d.decider, Routes: d.routes, WithoutToken: d.withoutToken, Tell: d.TellReason, Logger: d.log, Counts: counts}
	if d.owners != nil {
		g.Owner = d.owners.Find
		d.stops.Add(func() error { d.owners.Close(); return nil })
	}
	return g, nil
}

// addExtAuthz registers the service for Envoy beside the others.
func (d *daemon) addExtAuthz() error {
	judge, err := d.newGate("ExtAuthz")
	if err != nil {
		return err
	}
	s, err := extauthz.New(judge, d.log)
	if err != nil {
		return err
	}
	s.Register(d.grpc, d.services)
	return nil
}
