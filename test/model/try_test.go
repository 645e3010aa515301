package model
import (
"testing"
"github.com/jobward/jobward/pdp/authz"
)
func BenchmarkOne(b *testing.B) {
	one := [][]authz.Key{keys(1)}
	for range b.N {
		Explore(&Config{Name: "one+", Holders: 1, Questions: one, Commits: [][]authz.Key{keys(1), keys(1)}, Asks: 3, Hellos: 1, Renews: 1, Breaks: 1}, 200000)
	}
}
