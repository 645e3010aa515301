// Package bench measures Jobward from outside: the figures that the project promises,
// each beside the floor that it is measured against. None of it is a timed test.
package bench
