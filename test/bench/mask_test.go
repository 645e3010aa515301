package bench

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobward/jobward/internal/mask"
)

const (
	maskPhrases = 20
	maskText    = 16 << 20
	maskWrites  = 32 << 10 // what io.Copy writes at once
)

// BenchmarkMask masks 16 MiB of a build's log with 20 secrets of 12 to 42 characters, one of them a job token, in writes of 32 KiB: one that holds no
// secret, and one with a secret in every twentieth line. Beside it a plain copy, and the masker of GitLab's runner with the same phrases and text,
// built from its own module; that one seeks the phrases alone, not their base64, their encodings, or tokens that it was not given. Targets: at least
// 500 MB/s of CPU time, and 5 times GitLab's.
func BenchmarkMask(b *testing.B) {
	phrases := secrets()
	set, err := mask.Compile(mask.Config{Phrases: phrases})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		text []byte
	}{{"clean", buildLog(nil)}, {"secrets", buildLog(phrases)}} {
		speed, theirs := 0.0, 0.0
		b.Run(c.name+"/copy", func(b *testing.B) {
			to := make([]byte, maskText)
			through(b, c.text, func() io.WriteCloser { return &copier{to: to} })
		})
		b.Run(c.name+"/mask", func(b *testing.B) {
			speed = through(b, c.text, func() io.WriteCloser { return set.Writer(io.Discard) })
		})
		b.Run(c.name+"/gitlab-runner", func(b *testing.B) {
			if theirs == 0 { // the benchmark calls this again and again, to find out how long it takes
				theirs = runnersMasker(b, phrases, c.text)
			}
			b.ReportMetric(theirs, "MB/cpu-s")
			b.ReportMetric(speed/theirs, "mask/gitlab-runner")
		})
	}
}

// copier is a plain copy.
type copier struct {
	to []byte
	n  int
}

func (c *copier) Write(p []byte) (int, error) {
	c.n += copy(c.to[c.n:], p)
	return len(p), nil
}

func (c *copier) Close() error { return nil }

// through writes the text through a new writer each time and gives the speed in MB for each second of CPU time.
func through(b *testing.B, text []byte, open func() io.WriteCloser) float64 {
	b.Helper()
	b.SetBytes(int64(len(text)))
	start, n := cpuTime(b), 0
	for b.Loop() {
		n++
		w := open()
		for rest := text; len(rest) > 0; rest = rest[min(maskWrites, len(rest)):] {
			if _, err := w.Write(rest[:min(maskWrites, len(rest))]); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
	speed := float64(len(text)) * float64(n) / 1e6 / max((cpuTime(b)-start).Seconds(), 1e-9)
	b.ReportMetric(speed, "MB/cpu-s")
	return speed
}

// runnersMasker builds and runs the masker of GitLab's runner and gives its speed. It skips where the module cannot be had.
func runnersMasker(b *testing.B, phrases []string, text []byte) float64 {
	b.Helper()
	dir := b.TempDir()
	program := filepath.Join(dir, "gitlabrunner")
	build := exec.Command("go", "build", "-C", "gitlabrunner", "-o", program, ".")
	build.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	if out, err := build.CombinedOutput(); err != nil {
		b.Skipf("GitLab's masker cannot be built here, so there is nothing to compare with: %v\n%s", err, out)
	}
	for name, raw := range map[string][]byte{"phrases": []byte(strings.Join(phrases, "\n")), "text": text} {
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	out, err := exec.Command(program, filepath.Join(dir, "phrases"), filepath.Join(dir, "text"), fmt.Sprint(maskWrites), "2").Output()
	if err != nil {
		b.Fatal(err)
	}
	var bytes, nanos float64
	if _, err := fmt.Sscan(string(out), &bytes, &nanos); err != nil {
		b.Fatal(err)
	}
	return bytes / nanos * 1e3
}

// secrets are a job token that was never issued and other words of the kind.
func secrets() []string {
	r := rand.New(rand.NewPCG(1, 2))
	all := []string{"jobt-1ABCDEFGHIJKLMNOPQRSTUVWXYZ046dUxH"}
	for len(all) < maskPhrases {
		word := make([]byte, 12+r.IntN(31))
		for i := range word {
			word[i] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+/-_&!"[r.IntN(68)]
		}
		all = append(all, string(word))
	}
	return all
}

// buildLog is a log of a build, with one of the secrets in every twentieth line.
func buildLog(secrets []string) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	words := strings.Fields(`Compiling downloaded gitlab.com/acme/web ok PASS github.com/acme/api/v2 1.23s INFO connection established to server warning:
unused variable in function private token npm node_modules/@types/node https://registry.example.com/v2/ layer already exists Step 7/12 RUN go build`)
	var b bytes.Buffer
	for line := 0; b.Len() < maskText; line++ {
		fmt.Fprintf(&b, "2026-01-02T03:04:%02d.%06dZ ", r.IntN(60), r.IntN(1_000_000))
		for range 4 + r.IntN(12) {
			b.WriteString(words[r.IntN(len(words))] + " ")
		}
		if line%5 == 0 {
			sum := make([]byte, 20)
			for i := range sum {
				sum[i] = byte(r.Uint32())
			}
			b.WriteString(hex.EncodeToString(sum))
		}
		if line%20 == 0 && secrets != nil {
			b.WriteString(secrets[r.IntN(len(secrets))])
		}
		b.WriteByte('\n')
	}
	return b.Bytes()[:maskText]
}
