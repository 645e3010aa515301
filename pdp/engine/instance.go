package engine

import (
	"context"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
	"github.com/jobward/jobward/pdp/state"
)

// MaxListEntries is the most that the instance can allow a list to have of one kind:
// an allowlist is one record, which every edit writes anew.
const MaxListEntries = 1000

// InstanceInfo is the settings of the installation.
type InstanceInfo struct {
	state.Instance
	// Changed is the revision that last changed them, zero for never.
	Changed authz.Revision
	// Revision is the point in history that they were read at.
	Revision authz.Revision
}

// InstanceEdit changes the settings that are not nil.
type InstanceEdit struct {
	PublicScope                        *authz.PublicScope
	EnforceInbound, AnyoneCanPull      *bool
	MaxProjectEntries, MaxGroupEntries *int
	// Expected, where set, is the Changed that the caller has seen.
	Expected     *authz.Revision
	RequestID    string
	ValidateOnly bool
}

// CatalogueInfo is the permission catalogue.
type CatalogueInfo struct {
	// Document is the operator's extension, empty if there is none.
	Document []byte
	// Effective is the built-in catalogue with the extension.
	Effective *policy.Catalogue
	// Changed is the revision that last changed the document, zero for never.
	Changed  authz.Revision
	Revision authz.Revision
}

// CatalogueEdit replaces the operator's extension of the catalogue.
type CatalogueEdit struct {
	Document     []byte
	Expected     *authz.Revision
	RequestID    string
	ValidateOnly bool
}

// GetInstance tells the settings.
func (e *Engine) GetInstance(context.Context) InstanceInfo { return InstanceInfo{} }

// UpdateInstance changes settings.
func (e *Engine) UpdateInstance(ctx context.Context, by Actor, req InstanceEdit) (InstanceInfo, Done, error) {
	return InstanceInfo{}, Done{}, nil
}

// GetCatalogue tells the permission catalogue.
func (e *Engine) GetCatalogue(context.Context) CatalogueInfo { return CatalogueInfo{} }

// UpdateCatalogue replaces the operator's extension.
func (e *Engine) UpdateCatalogue(ctx context.Context, by Actor, req CatalogueEdit) (CatalogueInfo, Done, error) {
	return CatalogueInfo{}, Done{}, nil
}
