// Package readme tests what a newcomer does first: the commands that the README shows, with what it says they print, and "pdpctl demo" with real
// processes. It has tests only, and its test binary is each of the three programs when it is called by their names.
package readme
