package token

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"
)

var seed = flag.Int64("seed", 0, "seed of the random tests; 0 draws one")

func TestScan(t *testing.T) {
	f := format(t, "new-", DefaultPrefix)
	a, b := f.Mint().Reveal(), example
	for name, c := range map[string]struct {
		text, want string
		start      int
	}{
		"nothing":           {"", "", 0},
		"no token":          {"jobt-1 is a prefix, new-1 too", "", 0},
		"alone":             {b, b, 0},
		"in words":          {"token: " + a + ", and more", a, 7},
		"in a URL":          {"https://gitlab-ci-token:" + b + "@forge.example/a.git", b, 24},
		"glued":             {"xjobt-" + b + "999", b, 6},
		"first of two":      {"- " + a + b, a, 2},
		"first, other way":  {"- " + b + a, b, 2},
		"after a false one": {example[:20] + " jobt-1jobt-1" + b, b, 33},
		"after a damaged":   {"jobt-1x" + b[7:] + b, b, 39},
		"cut":               {b[:len(b)-1], "", 0},
		"unknown prefix":    {"xobt-" + b[5:], "", 0},
		"binary":            {"\x00\xff\n" + b + "\xff", b, 3},
	} {
		start, end, ok := f.Scan([]byte(c.text))
		if ok != (c.want != "") || c.text[start:end] != c.want || start != c.start {
			t.Errorf("%s: Scan(%q) = %d, %d, %v", name, c.text, start, end, ok)
		}
	}
	if _, _, ok := new(Format).Scan([]byte(example)); ok {
		t.Error("the zero Format found a token")
	}
}

// naiveScan tries every stretch of b, the leftmost first.
func naiveScan(f *Format, b []byte) (start, end int, ok bool) {
	for start := range b {
		for end := len(b); end > start; end-- {
			if _, ok := f.DigestOf(b[start:end]); ok {
				return start, end, true
			}
		}
	}
	return 0, 0, false
}

func TestScanAgreesWithNaive(t *testing.T) {
	if *seed == 0 {
		*seed = time.Now().UnixNano()
	}
	t.Logf("-seed=%d", *seed)
	r := rand.New(rand.NewPCG(uint64(*seed), 0))
	f := format(t, "aa", "aa1", "a-a", DefaultPrefix)
	others := []*Format{format(t, "aa"), format(t, "aa1"), format(t, "a-a"), format(t, DefaultPrefix), format(t, "zz-")}
	for range 3000 {
		var b []byte
		for range r.IntN(5) {
			piece := others[r.IntN(len(others))].Mint().Reveal()
			switch r.IntN(4) {
			case 0:
				piece = piece[:r.IntN(len(piece))]
			case 1:
				piece = strings.Repeat([]string{"a", "aa1", "-", "1"}[r.IntN(4)], r.IntN(9)) + piece
			}
			b = append(b, piece...)
		}
		start, end, ok := f.Scan(b)
		wantStart, wantEnd, wantOK := naiveScan(f, b)
		if ok != wantOK || start != wantStart || end != wantEnd {
			t.Fatalf("Scan(%q) = %d, %d, %v; naive %d, %d, %v", b, start, end, ok, wantStart, wantEnd, wantOK)
		}
	}
}

func TestPattern(t *testing.T) {
	f := format(t, "job", "job1", "a-b")
	if got, want := f.Pattern(), `(?:job1|job|a-b)1[0-9A-Za-z]{33}`; got != want {
		t.Errorf("Pattern = %s, want %s", got, want)
	}
	re := regexp.MustCompile(f.Pattern())
	for _, p := range []string{"job", "job1", "a-b"} {
		text := format(t, p).Mint().Reveal()
		if got := re.FindString("x " + text + " y"); got != text {
			t.Errorf("prefix %s: %s finds %q", p, re, got)
		}
	}
	if re.MatchString(example) {
		t.Error("matches a prefix that is not its own")
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte("x" + example + example))
	f.Add([]byte("aa1aa1aa"))
	one := format(f, "aa", "aa1", DefaultPrefix)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 300 {
			b = b[:300] // the naive one is quadratic
		}
		start, end, ok := one.Scan(b)
		wantStart, wantEnd, wantOK := naiveScan(one, b)
		if ok != wantOK || start != wantStart || end != wantEnd {
			t.Fatalf("Scan = %d, %d, %v; naive %d, %d, %v", start, end, ok, wantStart, wantEnd, wantOK)
		}
	})
}

func BenchmarkScan(b *testing.B) {
	f := format(b, DefaultPrefix)
	log := bytes.Repeat([]byte("2026-01-01T00:00:00Z job 42 started by root, jobs waiting: 3\n"), 1<<14)
	b.SetBytes(int64(len(log)))
	for b.Loop() {
		f.Scan(log)
	}
}
