package mask

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/jobward/jobward/internal/token"
)

// bases gives the text in every base64 that programs write, also in lines.
func bases(r *rand.Rand, text string) []string {
	var all []string
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		line := e.EncodeToString([]byte(text))
		all = append(all, line, lines(line, 76, "\n"), lines(line, 64, "\r\n"), lines(line, 10+r.IntN(20), "\n"))
	}
	return all
}

func lines(text string, width int, end string) string {
	var b strings.Builder
	for len(text) > width {
		b.WriteString(text[:width] + end)
		text = text[width:]
	}
	return b.String() + text
}

// TestBase64: wherever a token stands in a text, its base64 shows no more of it than four bits of its first byte, with lines broken at 76 columns
// too (SEMANTICS §18.7).
func TestBase64(t *testing.T) {
	const prefix, suffix = "machine example.com login gitlab-ci-token password ", " and then some more text after it"
	f, err := token.NewFormat(token.DefaultPrefix)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		secret := f.Mint().Reveal()
		s := compile(t, secret)
		for before := range prefix {
			for after := range 4 {
				line := prefix[len(prefix)-before:] + secret + suffix[:after]
				for _, text := range bases(rand.New(rand.NewPCG(1, 2)), line) {
					if !strings.Contains(text, "\n") || len(strings.Split(text, "\n")[0]) > minWidth {
						noWindow(t, masked(t, s, text), text, before, len(secret))
					}
				}
			}
		}
	}
}

// noWindow wants that nothing of the secret's base64 is left: of the characters that hold bits of its bytes, only the first may
// be seen, and the last where a line ended just before it.
func noWindow(t *testing.T, got, text string, before, secret int) {
	t.Helper()
	head, tail, _ := strings.Cut(got, Mask)
	flat := strings.NewReplacer("\r", "", "\n", "", "=", "")
	if strings.Contains(tail, Mask) {
		t.Fatalf("two masks: %q", got)
	}
	whole := len(flat.Replace(text))
	if n := len(flat.Replace(head)); n > (8*before+5)/6 {
		t.Fatalf("%q of %q: %d characters before the mask", got, text, n)
	}
	if n := whole - len(flat.Replace(tail)); n < 8*(before+secret)/6 || !strings.HasPrefix(tail, "\n") && !strings.HasPrefix(tail, "\r") && n < (8*(before+secret)+5)/6 {
		t.Fatalf("%q of %q: the mask ends after %d characters", got, text, n)
	}
}

// TestEncodings: what programs make of a phrase is masked whole.
func TestEncodings(t *testing.T) {
	for _, phrase := range []string{`pa"ss\wo/rd`, "a b&c=d+e%f", "<tag>'quoted'", "größe-über-42", "smile\U0001F600smile", "tab\tand\x01bell", "user:p@ss,w;rd$!()*~"} {
		s := compile(t, phrase)
		html, err := json.Marshal(phrase)
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{
			"as it is":       phrase,
			"JSON":           strings.Trim(string(html), `"`),
			"query":          url.QueryEscape(phrase),
			"path":           url.PathEscape(phrase),
			"user":           url.User(phrase).String(),
			"query, small":   strings.ReplaceAll(percent(phrase, unreserved, "%%%02x"), "%20", "+"),
			"shell":          strings.ReplaceAll(phrase, "'", `'\''`),
			"base64":         base64.StdEncoding.EncodeToString([]byte(phrase)),
			"base64 for URL": base64.RawURLEncoding.EncodeToString([]byte(phrase)),
		} {
			if got := masked(t, s, "<", text, ">"); strings.TrimRight(got, "=>") != "<"+Mask {
				t.Errorf("%s: of %q %q is left", name, text, got)
			}
		}
	}
}

// TestKey: a private key is found with the line ends of a terminal, and by its lines.
func TestKey(t *testing.T) {
	key := "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\nshort\n-----END KEY-----\n"
	s := compile(t, key)
	for in, want := range map[string]string{
		key:                                   Mask + "\n",
		strings.ReplaceAll(key, "\n", "\r\n"): Mask + "\r\n",
		"x BKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj":  "x " + Mask,
		"this is short":                       "this is short",
	} {
		if got := masked(t, s, in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// TestUnknownTokens (P7, §19.4): every token of the shape is masked, and every piece of one from which the rest could be guessed.
func TestUnknownTokens(t *testing.T) {
	f, err := token.NewFormat(token.DefaultPrefix)
	if err != nil {
		t.Fatal(err)
	}
	s := compile(t)
	for range 200 {
		text := f.Mint().Reveal()
		for n := range text {
			got := masked(t, s, "<", text[:n], ">")
			if n >= len("jobt-1")+12 && got != "<jobt-1"+Mask+">" || n < len("jobt-1")+12 && got != "<"+text[:n]+">" {
				t.Fatalf("%d characters of a token became %q", n, got)
			}
		}
	}
	var out bytes.Buffer
	w := s.Writer(&out)
	w.Write([]byte("jobt-1ABCDEFGHIJKLM"))
	if out.String() != "jobt-1"+Mask {
		t.Errorf("%q", out.String())
	}
}
