package crash

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var (
	kills    = flag.Int("kills", 100, "how many times the committing process is killed")
	seedFlag = flag.Uint64("seed", 0, "seed of the random tests; zero takes one from the clock")
)

// childVar makes the test binary a child instead, of the kind that it names.
const childVar = "JOBWARD_CRASH_CHILD"

func TestMain(m *testing.M) {
	switch kind := os.Getenv(childVar); kind {
	case "":
		os.Exit(m.Run())
	case "commit":
		commitForEver(os.Args[1])
	case "fill":
		fillDisk(os.Args[1])
	default:
		fmt.Fprintf(os.Stderr, "no child is called %q\n", kind)
		os.Exit(2)
	}
}

func newRand(t *testing.T) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("run again with -seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// fingerprint has every byte of a folder, names included.
func fingerprint(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		fmt.Fprintf(h, "%s %d %x\n", path[len(dir):], len(b), sha256.Sum256(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
