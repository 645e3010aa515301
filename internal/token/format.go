package token

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

const (
	// DefaultPrefix is the prefix of an installation that configures none.
	DefaultPrefix = "jobt-"

	// MaxLen is the number of bytes above which text is refused before anything about it is looked at. It is larger than
	// [MaxTokenLen] to leave room for later versions of the shape: doors that hold text of unknown version check this bound.
	MaxLen = 128

	// MaxTokenLen is the length in bytes of a token with the longest prefix. A masker that works on a stream has to hold back
	// this many bytes less one to see a token that was cut by a write.
	MaxTokenLen = maxPrefix + tailLen

	version     = '1'
	alphabet    = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	randomChars = 27 // 62^27 > 2^160
	sumChars    = 6  // 62^6 > 2^32
	tailLen     = 1 + randomChars + sumChars

	minPrefix = 2
	maxPrefix = 16
)

// Parse errors. Neither they nor what wraps them ever contain the text that was parsed: it may be a token with a typing error.
var (
	// ErrTooLong says that the text has more than [MaxLen] bytes; nothing else about it was looked at.
	ErrTooLong = errors.New("text is too long to be a job token")
	// ErrMalformed says that the text is no job token. It was never issued, so there is no use in asking about it.
	ErrMalformed = errors.New("text is not a job token")
)

// Format is the shape of one installation's tokens: the prefix it mints with, and the older prefixes that it still takes.
// It is immutable and safe for concurrent use. The zero Format takes nothing and must not mint.
type Format struct {
	prefixes []string // [0] is minted
}

// NewFormat returns the format that mints with prefix and takes tokens with prefix or any of older, so that tokens issued
// before a change of prefix stay valid. A prefix has 2 to 16 letters, digits and dashes and begins with a letter or a digit;
// the error says what is wrong with the one that is not.
func NewFormat(prefix string, older ...string) (*Format, error) {
	f := &Format{}
	for _, p := range append([]string{prefix}, older...) {
		if err := checkPrefix(p); err != nil {
			return nil, fmt.Errorf("token prefix %q: %w", p, err)
		}
		if !slices.Contains(f.prefixes, p) {
			f.prefixes = append(f.prefixes, p)
		}
	}
	return f, nil
}

// Prefixes gives the prefixes that tokens begin with, the one of new tokens first. The slice must not be changed.
func (f *Format) Prefixes() []string { return f.prefixes }

func checkPrefix(p string) error {
	if len(p) < minPrefix || len(p) > maxPrefix {
		return fmt.Errorf("has %d bytes; use %d to %d", len(p), minPrefix, maxPrefix)
	}
	if p[0] == '-' {
		return errors.New("begins with a dash, so commands would take the token for an option; begin with a letter or a digit")
	}
	for i := range len(p) {
		if !alphanumeric(p[i]) && p[i] != '-' {
			return fmt.Errorf("has %q in it; use letters, digits and dashes only", p[i])
		}
	}
	return nil
}

// Mint returns a new token. It cannot fail: crypto/rand ends the process if the system has no randomness to give.
func (f *Format) Mint() Secret {
	prefix := f.prefixes[0]
	text := make([]byte, 0, len(prefix)+tailLen)
	text = append(text, prefix...)
	text = append(text, version)
	text = appendRandom(text, randomChars)
	sum := checksum(text)
	text = append(text, sum[:]...)
	return newSecret(prefix, string(text))
}

// appendRandom appends n base62 digits. Bytes that would favour the first digits of the alphabet are thrown away: one in 32.
func appendRandom(text []byte, n int) []byte {
	const fair = 256 / len(alphabet) * len(alphabet)
	var pool [randomChars + 5]byte // Enough at once, but for one token in some thousands.
	for {
		rand.Read(pool[:])
		for _, b := range pool {
			if n == 0 {
				return text
			}
			if int(b) < fair {
				text = append(text, alphabet[int(b)%len(alphabet)])
				n--
			}
		}
	}
}

// Parse returns the token with that text. The error is [ErrTooLong] or wraps [ErrMalformed] with what is wrong.
func (f *Format) Parse(text string) (Secret, error) {
	s, err := Parse(text)
	if err != nil {
		return Secret{}, err
	}
	if !slices.Contains(f.prefixes, s.prefix) {
		return Secret{}, fmt.Errorf("%w: its prefix is not one of this installation", ErrMalformed)
	}
	return s, nil
}

// Parse is [Format.Parse] for clients, which do not know the prefixes of the installation they talk to: it takes any prefix
// that an installation could have.
func Parse(text string) (Secret, error) {
	if len(text) > MaxLen {
		return Secret{}, ErrTooLong
	}
	n := len(text) - tailLen
	switch {
	case n < minPrefix || n > maxPrefix:
		return Secret{}, fmt.Errorf("%w: it has the wrong length", ErrMalformed)
	case checkPrefix(text[:n]) != nil:
		return Secret{}, fmt.Errorf("%w: it does not begin with a prefix", ErrMalformed)
	case text[n] != version:
		return Secret{}, fmt.Errorf("%w: it is of an unknown version", ErrMalformed)
	case !wellFormed([]byte(text)):
		return Secret{}, fmt.Errorf("%w: its checksum is wrong, so a character was changed or lost", ErrMalformed)
	}
	return newSecret(text[:n], text), nil
}

// DigestOf returns the SHA-256 of text if text is well-formed: right length, a prefix of this installation, version, alphabet,
// checksum. It checks the length first, keeps nothing of text and does not allocate. False means that no such token was ever issued.
func (f *Format) DigestOf(text []byte) (digest [sha256.Size]byte, ok bool) {
	for _, p := range f.prefixes {
		if len(text) == len(p)+tailLen && string(text[:len(p)]) == p {
			if !wellFormed(text) {
				return digest, false
			}
			return sha256.Sum256(text), true
		}
	}
	return digest, false
}

// DigestOfString is [Format.DigestOf] for text that is a string; it does not allocate either.
func (f *Format) DigestOfString(text string) (digest [sha256.Size]byte, ok bool) {
	if len(text) > MaxTokenLen {
		return digest, false
	}
	var buf [MaxTokenLen]byte
	return f.DigestOf(buf[:copy(buf[:], text)])
}

// wellFormed reports whether the last tailLen bytes of text are version, random digits and the checksum of all that precedes it.
// The caller has checked that text is longer than that and that it likes the prefix.
func wellFormed(text []byte) bool {
	body, sum := text[:len(text)-sumChars], text[len(text)-sumChars:]
	tail := body[len(body)-randomChars-1:]
	if tail[0] != version {
		return false
	}
	for _, c := range tail[1:] {
		if !alphanumeric(c) {
			return false
		}
	}
	want := checksum(body)
	return string(sum) == string(want[:])
}

// checksum is a CRC because a CRC-32 sees every error within 32 adjacent bits: any one wrong character, any two neighbours swapped.
func checksum(body []byte) (sum [sumChars]byte) {
	// Byte by byte, although the library's own loops are faster: they are called through a variable, which would move the text of
	// every caller to the heap.
	n := ^uint32(0)
	for _, c := range body {
		n = crc32.IEEETable[byte(n)^c] ^ n>>8
	}
	n = ^n
	for i := sumChars - 1; i >= 0; i-- {
		sum[i] = alphabet[n%uint32(len(alphabet))]
		n /= uint32(len(alphabet))
	}
	return sum
}

func alphanumeric(c byte) bool {
	return c-'0' < 10 || (c|0x20)-'a' < 26
}
