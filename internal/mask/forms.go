package mask

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	alphanumerics = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	unreserved    = alphanumerics + "-._~"
)

// safe are the characters that percent-encoders leave as they are: RFC 3986; Java's forms; encodeURIComponent; Go's path
// segments; Python's paths; user names in URLs; encodeURI.
var safe = []string{
	unreserved, alphanumerics + "-._*", unreserved + "!'()*", unreserved + "$&+=:@", unreserved + "/", unreserved + "$&+,;=",
	unreserved + ";/?:@&=+$,#!'()*",
}

// textForms gives the phrase and the ways in which programs write it, without repetition.
func textForms(phrase string) []string {
	forms := []string{phrase}
	if lf := strings.ReplaceAll(phrase, "\r\n", "\n"); strings.Contains(lf, "\n") {
		forms = append(forms, lf, strings.ReplaceAll(lf, "\n", "\r\n"))
	}
	forms = append(forms, strings.ReplaceAll(phrase, "'", `'\''`))
	forms = append(forms, jsonForms(phrase)...)
	for _, keep := range safe {
		for _, hex := range []string{"%%%02X", "%%%02x"} {
			form := percent(phrase, keep, hex)
			forms = append(forms, form, strings.ReplaceAll(form, "%20", "+"))
		}
	}
	return unique(forms)
}

func percent(phrase, keep, hex string) string {
	var b strings.Builder
	for i := range len(phrase) {
		if strings.IndexByte(keep, phrase[i]) >= 0 {
			b.WriteByte(phrase[i])
		} else {
			fmt.Fprintf(&b, hex, phrase[i])
		}
	}
	return b.String()
}

// jsonForms gives what stands between the quotes of a JSON string: as browsers and most programs write it, with HTML's
// characters escaped, with slashes escaped, and in ASCII only. Text that is not UTF-8 has no JSON.
func jsonForms(phrase string) []string {
	if !utf8.ValidString(phrase) {
		return nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(phrase) != nil {
		return nil
	}
	plain := strings.TrimSuffix(strings.TrimPrefix(b.String(), `"`), "\"\n")
	html, _ := json.Marshal(phrase) // a string that was encoded once can be again
	ascii := &strings.Builder{}
	for _, r := range plain {
		switch {
		case r < utf8.RuneSelf:
			ascii.WriteRune(r)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(ascii, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(ascii, `\u%04x`, r)
		}
	}
	return []string{plain, string(html[1 : len(html)-1]), strings.ReplaceAll(plain, "/", `\/`), ascii.String(), strings.ReplaceAll(ascii.String(), "/", `\/`)}
}

// minBase64 is the length of the shortest phrase that is sought in base64: 36 bits of it are known at any alignment, so
// that other text is not taken for it.
const minBase64 = 5

// core is what base64 makes of a phrase whatever stands around it: the characters that hold bits of the phrase only.
type core struct {
	text string
	// after says that the character after it holds the phrase's last bits.
	after bool
}

// cores gives the cores of the phrase at the three alignments, in both alphabets.
func cores(phrase string) []core {
	if len(phrase) < minBase64 {
		return nil
	}
	var all []core
	for before := range 3 {
		bits := 8 * (before + len(phrase))
		whole := base64.RawStdEncoding.EncodeToString(append(make([]byte, before), phrase...))
		c := core{whole[(8*before+5)/6 : bits/6], bits%6 != 0}
		all = append(all, c)
		if url := strings.NewReplacer("+", "-", "/", "_").Replace(c.text); url != c.text {
			all = append(all, core{url, c.after})
		}
	}
	return all
}

func unique(all []string) []string {
	seen := map[string]bool{"": true}
	kept := all[:0]
	for _, s := range all {
		if !seen[s] {
			seen[s] = true
			kept = append(kept, s)
		}
	}
	return kept
}
