//go:build race

package sim

func init() { racing = true }
