// Package bench measures Jobward from outside: the figures that the project promises,
// each beside the floor that it is measured against, in one run, because only ratios mean
// anything on a small shared machine. None of it is a timed test.
//
//	go test ./test/bench -run '^$' -bench . -benchtime 1x
package bench
