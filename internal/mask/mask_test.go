package mask

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	seed   = flag.Uint64("seed", 0, "seed of the random texts; 0 takes a new one")
	rounds = flag.Int("rounds", 20_000, "how many random texts")
)

func compile(t testing.TB, phrases ...string) *Set {
	t.Helper()
	s, err := Compile(Config{Phrases: phrases})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// masked gives what comes out when the pieces are written one after the other.
func masked(t testing.TB, s *Set, pieces ...string) string {
	t.Helper()
	var out bytes.Buffer
	w := s.Writer(&out)
	for _, p := range pieces {
		if n, err := w.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatal(n, err)
		}
		if len(w.held) > s.HoldBack() {
			t.Fatalf("%d bytes are held back; at most %d were promised", len(w.held), s.HoldBack())
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// The cases of SEMANTICS §19.2, whose answers are those of GitLab's runner, and of §19.3, whose answers are not.
func TestRunnersCases(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 1000)
	for _, c := range []struct {
		name, phrases, in, want string // | is between phrases, and between writes
	}{
		{"19.2 a secret and a letter", "secret", "secret|s", "[MASKED]s"},
		{"19.2 within letters", "secret", "ssecrets", "s[MASKED]s"},
		{"19.2 within letters, cut", "secret", "s|secrets", "s[MASKED]s"},
		{"19.2 twice in a row", "secret", "secretsecret", "[MASKED][MASKED]"},
		{"19.2 twice in a row, cut", "secret", "sec|retsec|ret", "[MASKED][MASKED]"},
		{"19.2 the longest", "mask|prefix_mask", "a prefix_mask and a mask", "a [MASKED] and a [MASKED]"},
		{"19.2 a long one", long, "x" + long[:5] + "|" + long[5:9000] + "|" + long[9000:] + "y", "x[MASKED]y"},
		{"19.2 three that share", "this is the end|en foobar|en", "this is the en| foobar", "this is the [MASKED]"},
		{"19.2 case", "secret", "Secret SECRET", "Secret SECRET"},
		{"19.3 fallback, cut", "abac", "aba|bac", "ab[MASKED]"},
		{"19.3 fallback, whole", "abac", "ababac", "ab[MASKED]"},
		{"19.3 aab", "aab", "aa|ab", "a[MASKED]"},
		{"19.3 overlap", "abcd|cdef", "abcdef", "[MASKED]"},
		{"19.3 overlap, cut", "abcd|cdef", "abc|d|ef", "[MASKED]"},
		{"19.3 the mask itself does not overtake", "secret", "sec|[MASKED]|x", "sec[MASKED]x"},
		{"19.3 nor within a secret", "secret", "sec|[MASKED]|ret", "sec[MASKED]ret"},
		{"19.4 prefixes", "", "glpat-abc_D.e=f, gloas-1 glcbt-64_xyz glagent-", "glpat-[MASKED], gloas-[MASKED] glcbt-[MASKED] glagent-"},
		{"19.4 the session", "", "_gitlab_session=0123abc; path=/", "_gitlab_session=[MASKED]; path=/"},
		{"19.5 parameters", "", "GET /x?a=1&private_token=abc%2Fd&b=2&rss_token=|q", "GET /x?a=1&private_token=[MASKED]&b=2&rss_token=[MASKED]"},
		{"19.5 amazon's", "", "?X-Amz-Signature=0a1b&x-amz-credential=k/2/s&X-Amz-Security-Token=t", "?X-Amz-Signature=[MASKED]&x-amz-credential=[MASKED]&X-Amz-Security-Token=[MASKED]"},
		{"19.5 and job_token", "", `--form "job_token=abc" ?job_token=d&x`, `--form "job_token=[MASKED]" ?job_token=[MASKED]&x`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := compile(t, strings.Split(c.phrases, "|")...)
			if got := masked(t, s, strings.Split(c.in, "|")...); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestEnd is what Close does with a secret that was begun.
func TestEnd(t *testing.T) {
	for in, want := range map[string]string{
		"s":                 "s",
		"a sec":             "a sec",
		"a secr":            "a [MASKED]",
		"0123456":           "0123456",
		"01234567":          Mask,
		"x0123456789abcdef": "xXX",
		"glpat":             "glpat",
	} {
		if want = strings.ReplaceAll(want, "XX", Mask); masked(t, compile(t, "secrets", "0123456789abcdef-long"), in) != want {
			t.Errorf("%q: got %q, want %q", in, masked(t, compile(t, "secrets", "0123456789abcdef-long"), in), want)
		}
	}
}

// TestPrompt: what cannot begin a secret is passed on at once, to the last byte.
func TestPrompt(t *testing.T) {
	for _, prompt := range []string{"Password: ", "continue? [y/N] ", "> ", "$ ", "dGhl", "\r", "50%\r"} {
		var out bytes.Buffer
		w := compile(t, "secret-of-the-house", "jobt-1ABCDEFGHIJKLMNOPQRSTUVWXYZ046dUxH").Writer(&out)
		for i := range len(prompt) {
			if _, err := w.Write([]byte(prompt[i : i+1])); err != nil {
				t.Fatal(err)
			}
		}
		if out.String() != prompt {
			t.Errorf("%q is held back: %q came out", prompt, out.String())
		}
	}
}

// randomCase makes phrases of few letters, so that they overlap, and a text with them, their forms and parts of both in it.
func randomCase(r *rand.Rand) (phrases []string, text string) {
	letters := []string{"ab", "abc/", "a+\n ", "xyz'\"é", "01é%", alphanumerics}[r.IntN(6)]
	word := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteByte(letters[r.IntN(len(letters))])
		}
		return b.String()
	}
	for range 1 + r.IntN(4) {
		phrases = append(phrases, word(1+r.IntN([]int{5, 12, 40}[r.IntN(3)])))
	}
	var parts []string
	for _, p := range phrases {
		if len(p) > 1 {
			parts = append(parts, textForms(p)...)
		}
		parts = append(parts, bases(r, word(r.IntN(4))+p+word(r.IntN(4)))...)
	}
	parts = append(parts, "jobt-1", "jobt-1", "glpat-", "private_token=", word(12), "\n", "\r", " ", Mask, word(3))
	var b strings.Builder
	for range 1 + r.IntN(12) {
		p := parts[r.IntN(len(parts))]
		if len(p) > 1 && r.IntN(3) == 0 {
			from := r.IntN(len(p))
			p = p[from : from+r.IntN(len(p)-from)+1]
		}
		b.WriteString(p)
	}
	return phrases, b.String()
}

func cut(r *rand.Rand, text string) (pieces []string) {
	most := []int{1, 3, 10, 100}[r.IntN(4)]
	for text != "" {
		n := min(len(text), 1+r.IntN(most))
		pieces = append(pieces, text[:n])
		text = text[n:]
	}
	return pieces
}

// TestLikeNaive: whatever the phrases, the text and the cuts, what comes out is what the naive masker makes of the whole text.
func TestLikeNaive(t *testing.T) {
	from := *seed
	if from == 0 {
		from = uint64(time.Now().UnixNano())
	}
	for i := range *rounds {
		r := rand.New(rand.NewPCG(from+uint64(i), 0))
		phrases, text := randomCase(r)
		pieces := cut(r, text)
		if got, want := masked(t, compile(t, phrases...), pieces...), newNaive(phrases).mask(text); got != want {
			t.Fatalf("phrases %q, writes %q\n got %q\nwant %q\n(-seed=%d -rounds=1)", phrases, pieces, got, want, from+uint64(i))
		}
	}
}

// FuzzMask: neither cuts nor phrases make a difference to the naive masker, and text without phrases of its own passes as it is.
func FuzzMask(f *testing.F) {
	f.Add("secret\x00other", "a secret c2VjcmV0 an\nother", uint64(3))
	f.Add("aab\x00abac", "aaabababac", uint64(1))
	f.Add("jobt-1ABCDEFGHIJKLMNOPQRSTUVWXYZ046dUxH", "job_token=jobt-1ABCDEFGHIJKLMNOPQ", uint64(9))
	f.Fuzz(func(t *testing.T, phrases, text string, n uint64) {
		if len(phrases)+len(text) > 600 {
			return
		}
		list := strings.Split(phrases, "\x00")
		s, err := Compile(Config{Phrases: list})
		if err != nil {
			return
		}
		got := masked(t, s, cut(rand.New(rand.NewPCG(n, 0)), text)...)
		model := newNaive(list)
		if want := model.mask(text); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		for _, p := range model.phrases {
			if strings.Contains(got, p) && !strings.Contains(mixed(p), p) && !touches(got, p) {
				t.Fatalf("%q holds %q", got, p)
			}
		}
	})
}

// mixed and touches say whether a phrase can come about by the masks themselves.
func mixed(p string) string { return Mask + strings.Repeat(Mask, len(p)/len(Mask)+1) }

func touches(got, p string) bool {
	for at := 0; ; at++ {
		i := strings.Index(got[at:], p)
		if i < 0 {
			return true
		}
		at += i
		near := got[max(0, at-len(Mask)):min(len(got), at+len(p)+len(Mask))]
		if !strings.Contains(near, Mask) && !strings.ContainsAny(p, Mask) {
			return false
		}
	}
}

// TestPassesUnchanged: every byte value, long lines and no lines, through writes larger and smaller than what is looked at together.
func TestPassesUnchanged(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	text := make([]byte, 300<<10)
	for i := range text {
		text[i] = byte(r.Uint32())
	}
	s := compile(t, "not-in-random-text-at-all", "neither-is-this-one")
	for _, size := range []int{1 << 20, 4096, 1000, 7} {
		var pieces []string
		for p := range slices.Chunk(text, size) {
			pieces = append(pieces, string(p))
		}
		if masked(t, s, pieces...) != string(text) {
			t.Errorf("in writes of %d bytes it does not come out as it went in", size)
		}
	}
}

// TestHeldBack: a stream that begins a secret for ever holds no more than promised, and takes linear time.
func TestHeldBack(t *testing.T) {
	s := compile(t, strings.Repeat("a", 5000)+"b", strings.Repeat("a", 300)+"c", strings.Repeat("A", 4000))
	w := s.Writer(io.Discard)
	for range 200 {
		for _, c := range []byte{'a', 'A'} {
			for range 20 {
				if _, err := w.Write(bytes.Repeat([]byte{c}, 777)); err != nil {
					t.Fatal(err)
				}
				if len(w.held) > s.HoldBack() {
					t.Fatalf("%d bytes held, %d promised", len(w.held), s.HoldBack())
				}
			}
		}
	}
	if cap(w.held) > 4*(chunk+s.HoldBack()) || cap(w.out) > 4*(chunk+s.HoldBack()) || len(w.walk.breaks) > 5000 {
		t.Errorf("buffers of %d and %d bytes", cap(w.held), cap(w.out))
	}
}

// brokenWriter takes so many bytes.
type brokenWriter struct {
	takes int
	err   error
}

func (b *brokenWriter) Write(p []byte) (int, error) {
	if len(p) <= b.takes {
		b.takes -= len(p)
		return len(p), nil
	}
	return b.takes, b.err
}

func TestErrors(t *testing.T) {
	full := errors.New("full")
	for _, err := range []error{full, nil} {
		w := compile(t, "secret").Writer(&brokenWriter{takes: 5, err: err})
		if _, err := w.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		want := err
		if want == nil {
			want = io.ErrShortWrite
		}
		for range 2 {
			if n, err := w.Write([]byte("hello")); n != 0 || !errors.Is(err, want) {
				t.Errorf("Write = %d, %v; want %v", n, err, want)
			}
		}
		if err := w.Close(); !errors.Is(err, want) {
			t.Errorf("Close = %v", err)
		}
	}
	var out bytes.Buffer
	w := compile(t, "secret").Writer(&out)
	for range 2 {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	if n, err := w.Write([]byte("secret")); n != 0 || !errors.Is(err, ErrClosed) || out.Len() > 0 {
		t.Errorf("after Close: %d, %v, %q", n, err, &out)
	}
}

func TestCompile(t *testing.T) {
	many := make([]string, MaxPhrases+1)
	for i := range many {
		many[i] = fmt.Sprint("phrase", i)
	}
	for want, c := range map[error]Config{
		ErrTooMany: {Phrases: many},
		ErrTooLong: {Phrases: []string{strings.Repeat("x", MaxPhrase+1)}},
	} {
		if _, err := Compile(c); err != want {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	if _, err := Compile(Config{Prefixes: []string{"-"}}); err == nil {
		t.Error("a prefix that is none was taken")
	}
	s, err := Compile(Config{Phrases: []string{" secret \n", "secret", "", "  ", "x"}, Prefixes: []string{"corp-"}})
	if err != nil || s.Short() != 1 {
		t.Fatal(s.Short(), err)
	}
	if got := masked(t, s, "a secret x corp-1abcdefghijkl glrt-x"); got != "a [MASKED] x corp-1[MASKED] glrt-[MASKED]" {
		t.Error(got)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, s); strings.Contains(text, "secret") {
			t.Errorf("%s shows the phrases: %s", verb, text)
		}
	}
}
