// Package registry runs the recipe of deploy/registry with real registries (distribution 2.8 of Debian, and 3 built from its module), a real PDP, the
// real sidecar, and real clients (skopeo, crane).
package registry
