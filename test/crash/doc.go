// Package crash kills, damages and starves stores from outside, and looks whether what they
// promise holds: an acknowledged write survives kill -9 (P4), a refused one was never
// applied, and a store that is not whole is refused with words and left as it is (P6).
//
// The test binary re-executes itself as the process that is killed.
package crash
