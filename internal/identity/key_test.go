package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
)

// exampleKey was never used. Package token's tests hold the same text, to show that one shape serves both.
const exampleKey = "jobk-1ABCDEFGHIJKLMNOPQRSTUVWXYZ00Y2qgq"

func TestNewKey(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		key, hash := NewKey()
		if seen[key] {
			t.Fatal("the same key twice")
		}
		seen[key] = true
		if len(key) != len(exampleKey) || !strings.HasPrefix(key, "jobk-1") {
			t.Fatalf("the key is %q", key)
		}
		digest := sha256.Sum256([]byte(key))
		if hash != hex.EncodeToString(digest[:]) {
			t.Fatalf("the hash of %q is %q", key, hash)
		}
		if again, err := HashKey(key); err != nil || again != hash {
			t.Fatalf("HashKey = %q, %v", again, err)
		}
	}
}

func TestHashKeyRefuses(t *testing.T) {
	if _, err := HashKey(exampleKey); err != nil {
		t.Fatalf("the example: %v", err)
	}
	for _, bad := range []string{"", "hunter2", exampleKey[:38], exampleKey + "a", " " + exampleKey, "jobt" + exampleKey[4:], "jobk-2" + exampleKey[6:],
		strings.Replace(exampleKey, "AB", "BA", 1), strings.Replace(exampleKey, "Z", "z", 1), exampleKey[:38] + "e", badAlphabet()} {
		hash, err := HashKey(bad)
		if err == nil || hash != "" {
			t.Errorf("HashKey(%q) = %q, %v", bad, hash, err)
		} else if len(bad) > 5 && strings.Contains(err.Error(), bad[5:]) {
			t.Errorf("the error repeats the key: %v", err)
		}
	}
}

// badAlphabet has the right checksum and letters that no key has.
func badAlphabet() string {
	body := keyHead + strings.Repeat("_", keyBody)
	sum := keyChecksum(body)
	return body + string(sum[:])
}

func TestKeyInClear(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "jobk-": 0, "keys begin with jobk-1, then letters": 0, exampleKey[:31]: 0,
		exampleKey: 1, "a\nb\n  x: " + exampleKey + "\n": 3, "jobk-\njobk-jobk-" + exampleKey[5:]: 2, "# " + exampleKey[:32]: 1,
		"\n" + strings.Replace(exampleKey, "A", "B", 1): 2,
	} {
		if got := keyInClear([]byte(text)); got != want {
			t.Errorf("keyInClear(%q) = %d, want %d", text, got, want)
		}
	}
}
