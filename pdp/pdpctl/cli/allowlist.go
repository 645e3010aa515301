package cli

import (
	"errors"
	"fmt"
	"strings"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

type allowlistCmd struct {
	Get         allowlistGetCmd         `cmd:"" help:"Show a project's switches and how full its lists are."`
	Set         allowlistSetCmd         `cmd:"" help:"Change a project's switches; those that are not named stay as they are."`
	Add         allowlistAddCmd         `cmd:"" help:"Let a project or group in, or with --direction outbound let the project's jobs out to another project."`
	Update      allowlistUpdateCmd      `cmd:"" help:"Replace what an inbound entry grants."`
	Remove      allowlistRemoveCmd      `cmd:"" help:"Take an entry off a list."`
	List        allowlistListCmd        `cmd:"" help:"List the entries of a project."`
	Memberships allowlistMembershipsCmd `cmd:"" help:"List the lists of other projects that a project is on."`
}

// allowlistCall is what every call about a project's lists begins with.
type allowlistCall struct {
	Owner string `arg:"" name:"project" help:"The project that the lists belong to, by id or path."`
}

// open gives the service, the project and the acting user.
func (c *allowlistCall) open(s *session) (client jobwardv1.AllowlistServiceClient, project, acting int64, err error) {
	if client, err = s.allowlists(); err != nil {
		return nil, 0, 0, err
	}
	if project, err = s.projectID(c.Owner); err != nil {
		return nil, 0, 0, err
	}
	acting, err = s.actingUser()
	return client, project, acting, err
}

// directionFlag says which list.
type directionFlag struct {
	Direction string `enum:"inbound,outbound" default:"inbound" help:"Which list: inbound (who may reach the project) or outbound (where its jobs may go)."`
}

func (f directionFlag) value() jobwardv1.Direction {
	if f.Direction == "outbound" {
		return jobwardv1.Direction_DIRECTION_OUTBOUND
	}
	return jobwardv1.Direction_DIRECTION_INBOUND
}

// scopeFlags name the other side of an entry.
type scopeFlags struct {
	Project string `xor:"scope" required:"" placeholder:"PROJECT" help:"The other side: a project, by id or path."`
	Group   string `xor:"scope" required:"" placeholder:"GROUP" help:"The other side: a group with everything below it, by id or path."`
}

func (f scopeFlags) scope(s *session) (*jobwardv1.Scope, error) { return s.scope(f.Project, f.Group) }

// grantFlags say what an inbound entry grants.
type grantFlags struct {
	Policies []string `xor:"grants" placeholder:"NAME" help:"The fine-grained permissions granted, separated by commas (pdpctl catalogue get lists them)."`
	Default  bool     `xor:"grants" help:"The entry restricts nothing: the role of the user decides."`
	Nothing  bool     `xor:"grants" help:"The entry grants no fine-grained permission."`
}

func (f grantFlags) given() bool { return len(f.Policies) > 0 || f.Default || f.Nothing }

var errNoGrant = errors.New("say what the entry grants: --default, --policies NAME,NAME or --nothing")

type allowlistGetCmd struct{ allowlistCall }

// Run is called by kong.
func (c *allowlistGetCmd) Run(s *session) error {
	client, project, acting, err := c.open(s)
	if err != nil {
		return err
	}
	resp, err := call(s, client.GetAllowlist, &jobwardv1.GetAllowlistRequest{ProjectId: project, ActingUserId: acting})
	if err != nil {
		return err
	}
	return s.print(resp, func(t *table) {
		t.switches(resp.GetSettings())
		t.row("inbound projects", fmt.Sprintf("%d of %d", resp.GetInboundProjects(), resp.GetMaxProjects()))
		t.row("inbound groups", fmt.Sprintf("%d of %d", resp.GetInboundGroups(), resp.GetMaxGroups()))
		t.row("outbound projects", fmt.Sprintf("%d of %d", resp.GetOutboundProjects(), resp.GetMaxProjects()))
		t.row("last changed at revision", or(resp.GetAllowlistRevision()))
	})
}

type allowlistSetCmd struct {
	allowlistCall
	Inbound   *bool `negatable:"" help:"Whether the inbound list binds."`
	Outbound  *bool `negatable:"" help:"Whether the outbound list binds."`
	PushSelf  *bool `negatable:"" help:"Whether the project's own jobs may push to it."`
	PushCross *bool `negatable:"" help:"Whether jobs of other projects may push to it, with an entry that grants it."`
	writeFlags
	expectFlag
}

// Run is called by kong.
func (c *allowlistSetCmd) Run(s *session) error {
	if c.Inbound == nil && c.Outbound == nil && c.PushSelf == nil && c.PushCross == nil {
		return errors.New("nothing to set: give at least one of --[no-]inbound, --[no-]outbound, --[no-]push-self, --[no-]push-cross")
	}
	client, project, acting, err := c.open(s)
	if err != nil {
		return err
	}
	resp, err := call(s, client.UpdateSettings, &jobwardv1.UpdateSettingsRequest{
		ProjectId: project, ActingUserId: acting,
		InboundEnabled: c.Inbound, OutboundEnabled: c.Outbound, PushSelf: c.PushSelf, PushCross: c.PushCross,
		ExpectedRevision: c.ExpectedRevision, RequestId: c.RequestID, ValidateOnly: c.ValidateOnly, ReceiptWait: c.receiptWait(),
	})
	if err != nil {
		return err
	}
	return s.printChange(resp, c.writeFlags, func(t *table) {
		t.switches(resp.GetSettings())
	})
}

type allowlistAddCmd struct {
	allowlistCall
	scopeFlags
	directionFlag
	grantFlags
	writeFlags
	expectFlag
}

// Run is called by kong.
func (c *allowlistAddCmd) Run(s *session) error {
	if outbound := c.Direction == "outbound"; outbound && (c.given() || c.Group != "") {
		return errors.New("an outbound entry names a --project and grants nothing by itself: leave out --group, --policies, --default and --nothing")
	} else if !outbound && !c.given() {
		return errNoGrant
	}
	client, project, acting, err := c.open(s)
	if err != nil {
		return err
	}
	scope, err := c.scope(s)
	if err != nil {
		return err
	}
	resp, err := call(s, client.AddEntry, &jobwardv1.AddEntryRequest{
		ProjectId: project, ActingUserId: acting, Direction: c.value(),
		Entry:            &jobwardv1.AllowlistEntry{Scope: scope, DefaultPermissions: c.Default, Policies: c.Policies},
		ExpectedRevision: c.ExpectedRevision, RequestId: c.RequestID, ValidateOnly: c.ValidateOnly, ReceiptWait: c.receiptWait(),
	})
	if err != nil {
		return err
	}
	return s.printChange(resp, c.writeFlags, func(t *table) {
		t.entries(c.Direction, resp.GetEntry())
	})
}

type allowlistUpdateCmd struct {
	allowlistCall
	scopeFlags
	grantFlags
	writeFlags
	expectFlag
}

// Run is called by kong.
func (c *allowlistUpdateCmd) Run(s *session) error {
	if !c.given() {
		return errNoGrant
	}
	client, project, acting, err := c.open(s)
	if err != nil {
		return err
	}
	scope, err := c.scope(s)
	if err != nil {
		return err
	}
	resp, err := call(s, client.UpdateEntry, &jobwardv1.UpdateEntryRequest{
		ProjectId: project, ActingUserId: acting,
		Entry:            &jobwardv1.AllowlistEntry{Scope: scope, DefaultPermissions: c.Default, Policies: c.Policies},
		ExpectedRevision: c.ExpectedRevision, RequestId: c.RequestID, ValidateOnly: c.ValidateOnly, ReceiptWait: c.receiptWait(),
	})
	if err != nil {
		return err
	}
	return s.printChange(resp, c.writeFlags, func(t *table) {
		t.entries("inbound", resp.GetEntry())
	})
}

type allowlistRemoveCmd struct {
	allowlistCall
	scopeFlags
	directionFlag
	writeFlags
	expectFlag
}

// Run is called by kong.
func (c *allowlistRemoveCmd) Run(s *session) error {
	client, project, acting, err := c.open(s)
	if err != nil {
		return err
	}
	scope, err := c.scope(s)
	if err != nil {
		return err
	}
	resp, err := call(s, client.RemoveEntry, &jobwardv1.RemoveEntryRequest{
		ProjectId: project, ActingUserId: acting, Direction: c.value(), Scope: scope,
		ExpectedRevision: c.ExpectedRevision, RequestId: c.RequestID, ValidateOnly: c.ValidateOnly, ReceiptWait: c.receiptWait(),
	})
	if err != nil {
		return err
	}
	return s.printChange(resp, c.writeFlags, nil)
}

type allowlistListCmd struct {
	allowlistCall
	directionFlag
	pageFlags
}

// Run is called by kong.
func (c *allowlistListCmd) Run(s *session) error {
	client, project, acting, err := c.open(s)
	if err != nil {
		return err
	}
	resp, err := pages(c.pageFlags, func(size int32, token string) (*jobwardv1.ListEntriesResponse, int, error) {
		r, err := call(s, client.ListEntries, &jobwardv1.ListEntriesRequest{
			ProjectId: project, ActingUserId: acting, Direction: c.value(), PageSize: size, PageToken: token,
		})
		return r, len(r.GetEntries()), err
	})
	if err != nil {
		return err
	}
	return s.print(resp, func(t *table) {
		t.entries(c.Direction, resp.GetEntries()...)
		t.more(resp.GetNextPageToken())
	})
}

type allowlistMembershipsCmd struct {
	Listed string `arg:"" name:"project" help:"The project that is looked for, by id or path."`
	directionFlag
	pageFlags
}

// Run is called by kong.
func (c *allowlistMembershipsCmd) Run(s *session) error {
	client, project, acting, err := (&allowlistCall{Owner: c.Listed}).open(s)
	if err != nil {
		return err
	}
	resp, err := pages(c.pageFlags, func(size int32, token string) (*jobwardv1.ListListingsResponse, int, error) {
		r, err := call(s, client.ListListings, &jobwardv1.ListListingsRequest{
			ProjectId: project, ActingUserId: acting, Direction: c.value(), PageSize: size, PageToken: token,
		})
		return r, len(r.GetListings()), err
	})
	if err != nil {
		return err
	}
	return s.print(resp, func(t *table) {
		t.row("OWNER", "PATH", "BY", "GRANTS")
		for _, l := range resp.GetListings() {
			t.row(l.GetOwnerProjectId(), or(l.GetOwnerPath()), scopeText(l.GetEntry().GetScope()), grants(c.Direction, l.GetEntry()))
		}
		t.more(resp.GetNextPageToken())
	})
}

// switches draws a project's settings.
func (t *table) switches(a *jobwardv1.AllowlistSettings) {
	inbound := onOff(a.GetInboundEnabled())
	if a.GetInboundEffective() && !a.GetInboundEnabled() {
		inbound = "off, but enforced by the installation"
	}
	t.row("inbound list", inbound)
	t.row("outbound list", onOff(a.GetOutboundEnabled()))
	t.row("push by own jobs", onOff(a.GetPushSelf()))
	t.row("push by other projects' jobs", onOff(a.GetPushCross()))
}

// entries draws entries of a list.
func (t *table) entries(direction string, entries ...*jobwardv1.AllowlistEntry) {
	t.row("ENTRY", "PATH", "GRANTS", "NOTE")
	for _, e := range entries {
		note := "-"
		switch {
		case e.GetImplied():
			note = "implied"
		case e.GetAutopopulated():
			note = "from the authentication log"
		}
		t.row(scopeText(e.GetScope()), or(e.GetFullPath()), grants(direction, e), note)
	}
}

// grants says what an entry grants.
func grants(direction string, e *jobwardv1.AllowlistEntry) string {
	switch {
	case direction == "outbound":
		return "-"
	case e.GetDefaultPermissions():
		return "default"
	case len(e.GetPolicies()) == 0:
		return "nothing"
	}
	return strings.Join(e.GetPolicies(), ",")
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
