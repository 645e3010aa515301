package token

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"testing"
)

// example is a token that was never issued, made outside this program: Python's zlib.crc32 and the base62 of doc.go. It pins the shape.
const example = "jobt-1ABCDEFGHIJKLMNOPQRSTUVWXYZ046dUxH"

func format(t testing.TB, prefix string, older ...string) *Format {
	t.Helper()
	f, err := NewFormat(prefix, older...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestExample(t *testing.T) {
	s, err := format(t, DefaultPrefix).Parse(example)
	if err != nil {
		t.Fatal(err)
	}
	if s.Reveal() != example || s.Digest() != sha256.Sum256([]byte(example)) {
		t.Error("the example changed on its way through Parse")
	}
}

// TestKeysHaveTheSameShape: bearer keys of package identity, whose tests hold the same example, are found by the same means.
func TestKeysHaveTheSameShape(t *testing.T) {
	const exampleKey = "jobk-1ABCDEFGHIJKLMNOPQRSTUVWXYZ00Y2qgq"
	f := format(t, DefaultPrefix, "jobk-")
	if _, err := f.Parse(exampleKey); err != nil {
		t.Error(err)
	}
	if start, end, ok := f.Scan([]byte("Bearer " + exampleKey)); !ok || start != 7 || end != 7+len(exampleKey) {
		t.Errorf("Scan = %d, %d, %v", start, end, ok)
	}
}

func TestNewFormat(t *testing.T) {
	for _, p := range []string{"jobt-", "ab", "0-", "Zz9-", "sixteen-letters-"} {
		if _, err := NewFormat(p); err != nil {
			t.Errorf("NewFormat(%q): %v", p, err)
		}
	}
	for p, want := range map[string]string{
		"": "has 0 bytes", "a": "has 1 bytes", "seventeen-letters": "has 17 bytes",
		"-ab": "begins with a dash", "job_": "has '_' in it", "jo b": "has ' ' in it", "jöb": "has 'Ã' in it", "job%": "'%'", "a\x00": `'\x00'`,
	} {
		for _, call := range [][]string{{p}, {"good-", p}} {
			f, err := NewFormat(call[0], call[1:]...)
			if err == nil || f != nil || !strings.Contains(err.Error(), want) {
				t.Errorf("NewFormat(%q) = %v, %v; want an error with %q", call, f, err, want)
			}
		}
	}
}

func TestMint(t *testing.T) {
	seen := map[string]bool{}
	for _, prefix := range []string{DefaultPrefix, "ab", "sixteen-letters-"} {
		f := format(t, prefix)
		for range 2000 {
			s := f.Mint()
			text := s.Reveal()
			if seen[text] {
				t.Fatal("minted twice")
			}
			seen[text] = true
			if len(text) != len(prefix)+34 || !strings.HasPrefix(text, prefix+"1") || len(text) > MaxTokenLen {
				t.Fatalf("minted %q", text)
			}
			if url.QueryEscape(text) != text || url.PathEscape(text) != text {
				t.Fatalf("%q needs quoting in a URL", text)
			}
			back, err := f.Parse(text)
			if err != nil || back.Reveal() != text {
				t.Fatalf("Parse of a minted token: %v", err)
			}
			digest, ok := f.DigestOf([]byte(text))
			if !ok || digest != s.Digest() || digest != sha256.Sum256([]byte(text)) {
				t.Fatalf("DigestOf a minted token = %x, %v", digest, ok)
			}
		}
	}
	text := format(t, DefaultPrefix).Mint().Reveal()
	if n := len(base64.StdEncoding.EncodeToString([]byte("gitlab-ci-token:" + text))); n > 76 {
		t.Errorf("base64 of user and token has %d characters and would be wrapped at 76", n)
	}
}

// TestMintUniform would see a modulo bias: without the rejection of bytes of 248 and more, the first eight digits come up a quarter more often.
func TestMintUniform(t *testing.T) {
	const tokens = 20000
	f := format(t, DefaultPrefix)
	var count [256]int
	for range tokens {
		for _, c := range []byte(f.Mint().Reveal()[6 : 6+randomChars]) {
			count[c]++
		}
	}
	mean := float64(tokens*randomChars) / float64(len(alphabet)) // 8710, standard deviation 93
	for _, c := range []byte(alphabet) {
		if d := float64(count[c]) - mean; d > 8*93 || d < -8*93 {
			t.Errorf("digit %c came up %d times, mean %.0f", c, count[c], mean)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	f := format(t, DefaultPrefix)
	for name, c := range map[string]struct {
		text string
		want error
		word string
	}{
		"empty":          {"", ErrMalformed, "length"},
		"too long":       {strings.Repeat("a", MaxLen+1), ErrTooLong, "too long"},
		"longest looked": {strings.Repeat("a", MaxLen), ErrMalformed, "length"},
		"megabytes":      {strings.Repeat(example, 1<<16), ErrTooLong, "too long"},
		"a byte short":   {example[:len(example)-1], ErrMalformed, ""},
		"a byte more":    {example + "a", ErrMalformed, ""},
		"line feed":      {example + "\n", ErrMalformed, ""},
		"blank before":   {" " + example, ErrMalformed, "prefix"},
		"quoted":         {`"` + example + `"`, ErrMalformed, "prefix"},
		"upper case":     {strings.ToUpper(example), ErrMalformed, "checksum"},
		"prefix only":    {DefaultPrefix, ErrMalformed, "length"},
		"next version":   {strings.Replace(example, "-1", "-2", 1), ErrMalformed, "version"},
		"other prefix":   {format(t, "other-").Mint().Reveal(), ErrMalformed, "installation"},
		"gitlab's":       {"glcbt-64_xxxxxxxxxxxxxxxxxxxx", ErrMalformed, "length"},
		"bad alphabet":   {forge("jobt-1" + strings.Repeat("_", randomChars)), ErrMalformed, ""},
		"not ASCII":      {forge("jobt-1" + strings.Repeat("ä", 13) + "a"), ErrMalformed, ""},
		"forged version": {forge("jobt-2" + strings.Repeat("a", randomChars)), ErrMalformed, "version"},
		"forged length":  {forge("jobt-1" + strings.Repeat("a", randomChars+1)), ErrMalformed, ""},
		"forged middle":  {forge("jobt-1" + strings.Repeat("1", randomChars+1)), ErrMalformed, ""},
		"forged dash":    {forge("-obt-1" + strings.Repeat("a", randomChars)), ErrMalformed, "prefix"},
	} {
		s, err := f.Parse(c.text)
		if !errors.Is(err, c.want) || !s.IsZero() || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: Parse gave %v, want %v with %q", name, err, c.want, c.word)
		}
		if len(c.text) > 5 && strings.Contains(err.Error(), c.text[5:]) {
			t.Errorf("%s: the error repeats the text", name)
		}
		if d, ok := f.DigestOf([]byte(c.text)); ok || d != [32]byte{} {
			t.Errorf("%s: DigestOf took it", name)
		}
		if _, ok := f.DigestOfString(c.text); ok {
			t.Errorf("%s: DigestOfString took it", name)
		}
	}
	if _, ok := new(Format).DigestOfString(example); ok {
		t.Error("the zero Format took a token")
	}
}

// forge ends text with the checksum that fits it, as an attacker can.
func forge(text string) string {
	sum := checksum([]byte(text))
	return text + string(sum[:])
}

func TestOlderPrefixes(t *testing.T) {
	old, now := format(t, "old-"), format(t, "new-", "old-", "ab", "old-")
	for _, s := range []Secret{old.Mint(), now.Mint(), format(t, "ab").Mint()} {
		if _, err := now.Parse(s.Reveal()); err != nil {
			t.Errorf("%v: %v", s, err)
		}
		if d, ok := now.DigestOfString(s.Reveal()); !ok || d != s.Digest() {
			t.Errorf("%v: DigestOf refuses it", s)
		}
	}
	if !strings.HasPrefix(now.Mint().Reveal(), "new-") {
		t.Error("the first prefix is not the one minted")
	}
	if _, err := old.Parse(now.Mint().Reveal()); !errors.Is(err, ErrMalformed) {
		t.Errorf("a prefix that is not configured: %v", err)
	}
}

// TestPrefixOfPrefix: "job" and "job1" both begin "job1…"; the length says which it is.
func TestPrefixOfPrefix(t *testing.T) {
	short, long := format(t, "job"), format(t, "job1")
	both := format(t, "job", "job1")
	for range 100 {
		for _, f := range []*Format{short, long} {
			s := f.Mint()
			got, err := both.Parse(s.Reveal())
			if err != nil || got.String() != s.String() {
				t.Fatalf("%v parsed as %v, %v", s, got, err)
			}
		}
	}
}

// TestParseAnyPrefix: a client knows no prefixes.
func TestParseAnyPrefix(t *testing.T) {
	for _, p := range []string{"ab", DefaultPrefix, "sixteen-letters-"} {
		want := format(t, p).Mint()
		got, err := Parse(want.Reveal())
		if err != nil || got.Reveal() != want.Reveal() || got.String() != p+"[REDACTED]" {
			t.Errorf("Parse of %v = %v, %v", want, got, err)
		}
	}
	for _, p := range []string{"a", "seventeen-letters", "a_b", "-ab"} {
		if _, err := Parse(forge(p + "1" + strings.Repeat("x", randomChars))); !errors.Is(err, ErrMalformed) {
			t.Errorf("prefix %q: %v", p, err)
		}
	}
}

// TestChecksum: every wrong character at every place, and every swap of two neighbours, is seen.
func TestChecksum(t *testing.T) {
	for _, text := range []string{example, format(t, DefaultPrefix).Mint().Reveal(), format(t, "sixteen-letters-").Mint().Reveal()} {
		good := []byte(text)
		bad := bytes.Clone(good)
		for i := range bad {
			for c := range 256 {
				bad[i] = byte(c)
				if _, err := Parse(string(bad)); (err == nil) != (bad[i] == good[i]) {
					t.Errorf("%q in place of %q at %d: %v", byte(c), good[i], i, err)
				}
			}
			bad[i] = good[i]
		}
		for i := range len(bad) - 1 {
			bad[i], bad[i+1] = bad[i+1], bad[i]
			if _, err := Parse(string(bad)); (err == nil) != (bad[i] == bad[i+1]) {
				t.Errorf("swap of %q and %q at %d: %v", good[i], good[i+1], i, err)
			}
			bad[i], bad[i+1] = good[i], good[i+1]
		}
	}
}

func TestDigestOfDoesNotAllocate(t *testing.T) {
	f := format(t, "new-", DefaultPrefix)
	text, wrong := []byte(example), []byte(example+"x")
	var ok bool
	allocs := testing.AllocsPerRun(100, func() {
		_, ok = f.DigestOf(text)
		_, ok = f.DigestOf(wrong)
		_, ok = f.DigestOfString(example)
	})
	if _, ok = f.DigestOf(text); !ok || allocs != 0 {
		t.Errorf("%v allocations, ok %v", allocs, ok)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{example, "", "jobt-", example[1:], "ab" + example[5:], forge("jobt-1" + strings.Repeat("é", 13) + "a")} {
		f.Add(s)
	}
	one := format(f, DefaultPrefix)
	f.Fuzz(func(t *testing.T, text string) {
		other, anyErr := Parse(text)
		s, err := one.Parse(text)
		digest, ok := one.DigestOf([]byte(text))
		digest2, ok2 := one.DigestOfString(text)
		if ok != (err == nil) || ok2 != ok || digest2 != digest {
			t.Fatalf("Parse says %v, DigestOf %v, DigestOfString %v", err, ok, ok2)
		}
		if err == nil && (anyErr != nil || other.Reveal() != text || s.Reveal() != text || s.Digest() != digest) {
			t.Fatalf("taken, but not as it is: %v", anyErr)
		}
		for _, err := range []error{err, anyErr} {
			if err != nil && !errors.Is(err, ErrTooLong) && !errors.Is(err, ErrMalformed) {
				t.Fatalf("error of no kind: %v", err)
			}
		}
		if anyErr == nil {
			prefix := strings.TrimSuffix(other.String(), "[REDACTED]")
			if text != forge(text[:len(text)-sumChars]) || len(text) != len(prefix)+34 {
				t.Fatal("took a wrong checksum or length")
			}
			if start, end, ok := format(t, prefix).Scan([]byte(text)); !ok || start != 0 || end != len(text) {
				t.Fatal("Scan does not find what Parse takes")
			}
		}
	})
}

func BenchmarkDigestOf(b *testing.B) {
	f := format(b, DefaultPrefix)
	long := []byte(strings.Repeat("a", 64))
	var texts [1024][]byte // not one: branches must not be learnt by heart
	for i := range texts {
		texts[i] = []byte(f.Mint().Reveal())
	}
	damaged := []byte(strings.Replace(example, "ABC", "ABD", 1))
	b.Run("sha256 of 64 bytes, the floor", func(b *testing.B) {
		for b.Loop() {
			sha256.Sum256(long)
		}
	})
	b.Run("sha256 of the token alone", func(b *testing.B) {
		for b.Loop() {
			sha256.Sum256(texts[0])
		}
	})
	b.Run("bytes", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			f.DigestOf(texts[i%len(texts)])
		}
	})
	b.Run("string", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f.DigestOfString(example)
		}
	})
	b.Run("refused by checksum", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f.DigestOf(damaged)
		}
	})
}

func BenchmarkMint(b *testing.B) {
	f := format(b, DefaultPrefix)
	for b.Loop() {
		f.Mint()
	}
}
