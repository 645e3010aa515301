package state

import (
	"bytes"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/policy"
)

// The one Instance, the one Catalogue, the one Leases and the one Directory.

func (v *View) putInstance(r *Instance, mod authz.Revision) {
	v.counts[KindInstance] = 1
	v.instance, v.instanceMod = *r, mod
}

func (v *View) deleteInstance() {
	v.counts[KindInstance] = 0
	v.instance, v.instanceMod = DefaultInstance(), 0
}

// putCatalogue keeps the catalogue in force when the document is not one: a
// decision then still has rules to go by, and [View.CatalogueError] tells.
func (v *View) putCatalogue(r *Catalogue, mod authz.Revision) {
	v.counts[KindCatalogue] = 1
	v.document, v.documentMod = &Catalogue{Document: bytes.Clone(r.Document)}, mod
	c, err := policy.Extend(r.Document)
	v.catalogueErr = err
	if err == nil {
		v.catalogue = c
	}
}

func (v *View) deleteCatalogue() {
	v.counts[KindCatalogue] = 0
	v.catalogue, v.document, v.documentMod, v.catalogueErr = policy.Builtin(), nil, 0, nil
}

// Instance gives the settings in force; the revision is 0 when they are the default.
func (v *View) Instance() (*Instance, authz.Revision) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	r := v.instance
	return &r, v.instanceMod
}

// Catalogue gives the permissions in force.
func (v *View) Catalogue() *policy.Catalogue {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.catalogue
}

// CatalogueRecord gives the operator's extension.
func (v *View) CatalogueRecord() (*Catalogue, authz.Revision, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.document == nil {
		return nil, 0, false
	}
	return &Catalogue{Document: bytes.Clone(v.document.Document)}, v.documentMod, true
}

// CatalogueError tells why the committed extension is not in force, nil if it is.
// Whoever accepts an extension checks it first, so an error here means that it was
// committed by another version of the program.
func (v *View) CatalogueError() error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.catalogueErr
}

// Leases gives what is known of leases, nil when none was ever granted. It must not be
// changed.
func (v *View) Leases() (*Leases, authz.Revision) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.leases, v.leasesMod
}

// DirectoryChanged gives the revision of the last structural change of the directory, zero
// when there was none since such changes put a [Directory].
func (v *View) DirectoryChanged() authz.Revision {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.directoryMod
}
