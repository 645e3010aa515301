// Package upgrade runs programs of an earlier commit beside those of today: sidecars are
// upgraded after the PDPs, so an older one has to work with a newer PDP, and a store that
// was written before has to be read. It has tests only.
package upgrade
