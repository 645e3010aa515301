// Package sim runs a whole system in virtual time.
package sim
