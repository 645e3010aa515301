package cli

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

type settingsCmd struct {
	Get settingsGetCmd `cmd:"" help:"Show the settings of the installation."`
	Set settingsSetCmd `cmd:"" help:"Change settings; those that are not named stay as they are."`
}

type settingsGetCmd struct{}

// Run is called by kong.
func (c *settingsGetCmd) Run(s *session) error {
	dir, err := s.directory()
	if err != nil {
		return err
	}
	resp, err := call(s, dir.GetInstanceSettings, &jobwardv1.GetInstanceSettingsRequest{})
	if err != nil {
		return err
	}
	return s.print(resp, func(t *table) {
		t.settings(resp.GetSettings())
		t.row("last changed at revision", or(resp.GetSettingsRevision()))
	})
}

type settingsSetCmd struct {
	PublicScope       string `enum:"exempt,strict," default:"" help:"Whether allowlists bind on targets that are open to the user: exempt (they do not) or strict."`
	EnforceInbound    *bool  `negatable:"" help:"Whether every project's inbound list is in force, whatever its own switch says."`
	AnyoneCanPull     *bool  `negatable:"" help:"Whether a project may open its package registry to anybody."`
	MaxProjectEntries *int32 `placeholder:"N" help:"How many projects each list can hold, 0 to 1000."`
	MaxGroupEntries   *int32 `placeholder:"N" help:"How many groups each inbound list can hold, 0 to 1000."`
	writeFlags
	expectFlag
}

// Run is called by kong.
func (c *settingsSetCmd) Run(s *session) error {
	if c.PublicScope == "" && c.EnforceInbound == nil && c.AnyoneCanPull == nil && c.MaxProjectEntries == nil && c.MaxGroupEntries == nil {
		return errors.New("nothing to set: pdpctl settings set --help lists the settings")
	}
	dir, err := s.directory()
	if err != nil {
		return err
	}
	acting, err := s.actingUser()
	if err != nil {
		return err
	}
	req := &jobwardv1.UpdateInstanceSettingsRequest{
		ActingUserId: acting, EnforceInbound: c.EnforceInbound, AnyoneCanPull: c.AnyoneCanPull,
		MaxProjectEntries: c.MaxProjectEntries, MaxGroupEntries: c.MaxGroupEntries,
		ExpectedRevision: c.ExpectedRevision, RequestId: c.RequestID, ValidateOnly: c.ValidateOnly, ReceiptWait: c.receiptWait(),
	}
	if c.PublicScope != "" {
		req.PublicScope = jobwardv1.PublicScope(jobwardv1.PublicScope_value["PUBLIC_SCOPE_"+strings.ToUpper(c.PublicScope)]).Enum()
	}
	resp, err := call(s, dir.UpdateInstanceSettings, req)
	if err != nil {
		return err
	}
	return s.printChange(resp, c.writeFlags, func(t *table) {
		t.settings(resp.GetSettings())
	})
}

// settings draws the settings of the installation.
func (t *table) settings(i *jobwardv1.InstanceSettings) {
	t.row("public scope", enum("PUBLIC_SCOPE", i.GetPublicScope()))
	t.row("enforce inbound lists", onOff(i.GetEnforceInbound()))
	t.row("anyone can pull packages", onOff(i.GetAnyoneCanPull()))
	t.row("most projects on a list", i.GetMaxProjectEntries())
	t.row("most groups on a list", i.GetMaxGroupEntries())
}

type catalogueCmd struct {
	Get catalogueGetCmd `cmd:"" help:"List the permissions in force, or print the extension."`
	Set catalogueSetCmd `cmd:"" help:"Replace or remove the extension of the catalogue."`
}

type catalogueGetCmd struct {
	Document bool `help:"Print the extension alone, as it was given."`
}

// Run is called by kong.
func (c *catalogueGetCmd) Run(s *session) error {
	dir, err := s.directory()
	if err != nil {
		return err
	}
	resp, err := call(s, dir.GetCatalogue, &jobwardv1.GetCatalogueRequest{})
	if err != nil {
		return err
	}
	if c.Document {
		_, err := s.out.Write(resp.GetDocument())
		return err
	}
	return s.print(resp, func(t *table) {
		t.row("PERMISSION", "SURFACE", "ACTION", "LEAST ROLE", "POLICIES")
		for _, p := range resp.GetPermissions() {
			role := enum("ROLE", p.GetRole())
			if p.GetRole() == jobwardv1.Role_ROLE_UNSPECIFIED {
				role = "-"
			}
			t.row(p.GetName(), enum("SURFACE", p.GetSurface()), enum("ACTION", p.GetAction()), role, or(strings.Join(p.GetPolicies(), ",")))
		}
		t.linef("an allowlist entry may grant: %s", strings.Join(resp.GetPolicies(), ","))
		t.linef("the extension was last changed at revision: %s", or(resp.GetCatalogueRevision()))
	})
}

type catalogueSetCmd struct {
	File   string `arg:"" optional:"" help:"File with the extension, a JSON document; - reads standard input."`
	Remove bool   `help:"Remove the extension."`
	writeFlags
	expectFlag
}

// Run is called by kong.
func (c *catalogueSetCmd) Run(s *session) error {
	if (c.File == "") != c.Remove {
		return errors.New("give either a FILE or --remove")
	}
	var document []byte
	if c.File != "" {
		var err error
		if document, err = s.readFile(c.File); err != nil {
			return err
		}
		// The API removes the extension for an empty document; an empty file is rather a slip.
		if len(bytes.TrimSpace(document)) == 0 {
			return fmt.Errorf("%s is empty: use --remove to remove the extension", c.File)
		}
	}
	dir, err := s.directory()
	if err != nil {
		return err
	}
	resp, err := call(s, dir.UpdateCatalogue, &jobwardv1.UpdateCatalogueRequest{
		Document: document, ExpectedRevision: c.ExpectedRevision, RequestId: c.RequestID, ValidateOnly: c.ValidateOnly, ReceiptWait: c.receiptWait(),
	})
	if err != nil {
		return err
	}
	return s.printChange(resp, c.writeFlags, func(t *table) {
		t.linef("%d permissions in force", resp.GetPermissions())
	})
}
