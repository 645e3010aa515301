package registry

import "testing"

// BenchmarkVerify is what a request pays for its token: once for a new one, and then from memory.
func BenchmarkVerify(b *testing.B) {
	r := newRig(b)
	token := r.token(alive, "repository:acme/app:pull,push")
	b.Run("remembered", func(b *testing.B) {
		for b.Loop() {
			if _, err := r.h.verify(token); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			if _, err := r.h.read(token); err != nil {
				b.Fatal(err)
			}
		}
	})
}
