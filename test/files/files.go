// Package files writes the files that a program under test is given.
package files

import (
	"os"
	"testing"
)

// Write writes a file with exactly this mode, whatever the umask is: programs look at
// the modes of what is secret. It returns the path.
func Write(t testing.TB, path, content string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}
