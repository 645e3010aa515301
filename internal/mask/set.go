package mask

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jobward/jobward/internal/token"
)

// Limits of a set. They bound its memory, to about 60 MB at worst, and the time that it takes to make one.
const (
	// MaxPhrases is how many phrases a set has, lines of phrases with several lines included.
	MaxPhrases = 2000
	// MaxPhrase is how many bytes a phrase has.
	MaxPhrase = 64 << 10
	// MaxTotal is how many bytes all phrases have together, lines included.
	MaxTotal = 256 << 10
	// MinPhrase is the shortest phrase that is sought: a mask for every "a" would leave no log. Below 5 bytes everything is slower.
	MinPhrase = 2
	// MinLine is the shortest line of a phrase with several lines that is sought by itself.
	MinLine = 8
)

// Mask is what stands in the place of a secret.
const Mask = "[MASKED]"

// Errors of [Compile].
var (
	ErrTooMany = fmt.Errorf("more than %d phrases to mask", MaxPhrases)
	ErrTooLong = fmt.Errorf("phrases to mask have more than %d bytes, or %d together", MaxPhrase, MaxTotal)
)

// Config says what is sought beside what always is.
type Config struct {
	// Phrases are the secrets. White space around them is cut off; empty ones and repetitions are left out, and so are those shorter than
	// MinPhrase (see [Set.Short]).
	Phrases []string
	// Prefixes are those of job tokens of the installation; token.DefaultPrefix and those of bearer keys are sought anyway.
	Prefixes []string
}

// Set is what to seek, ready for use. It does not change, and any number of writers can share it.
type Set struct {
	text, base64 *automaton
	filter       *filter
	holdBack     int
	short        int
}

// The classes of characters that a token or a value consists of.
const (
	jobToken = iota
	gitlabToken
	urlValue
	numClasses
)

// class says which characters make a run, and how many of them are masked at least: fewer are no secret.
type class struct {
	has [256]bool
	min int
}

func newClass(chars string, min int) *class {
	c := &class{min: min}
	for i := range len(chars) {
		c.has[chars[i]] = true
	}
	return c
}

var (
	classes = [numClasses]*class{
		newClass(alphanumerics, 12), // 11 base62 digits are 65 of a token's 160 bits
		newClass(alphanumerics+"-._=", 1),
		newClass(alphanumerics+"-._~%+/=*!:@$", 1),
	}
	inBase64 = newClass(alphanumerics+"+/-_", 1)
)

// ours are the prefixes of job tokens and of bearer keys. GitLab's job tokens are among GitLab's.
var ours = []string{token.DefaultPrefix, "jobk-"}

var gitlabs = []string{
	"glpat-", "gloas-", "gldt-", "glrt-", "glrtr-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-", "glsoat-", "glffct-", "gltok-", "glwt-", "_gitlab_session=",
}

// parameters carry tokens in URLs and forms. They are sought in small letters, in capitals, and as they are written here.
var parameters = []string{
	"job_token=", "private_token=", "access_token=", "authenticity_token=", "rss_token=", "X-Amz-Signature=", "X-Amz-Credential=", "X-Amz-Security-Token=",
}

// Compile makes a set. The error is [ErrTooMany] or [ErrTooLong], or says which prefix cannot be one; it never holds a phrase.
func Compile(c Config) (*Set, error) {
	format, err := token.NewFormat(token.DefaultPrefix, append(ours, c.Prefixes...)...)
	if err != nil {
		return nil, err
	}
	s := &Set{text: newAutomaton(), base64: newAutomaton()}
	phrases, err := s.phrases(c.Phrases)
	if err != nil {
		return nil, err
	}
	b := builder{set: s}
	for _, p := range phrases {
		for _, form := range textForms(p) {
			b.phrase(form)
		}
		for _, c := range cores(p) {
			b.core(c)
		}
	}
	for _, p := range format.Prefixes() {
		b.run(p+"1", jobToken)
	}
	for _, p := range gitlabs {
		b.run(p, gitlabToken)
	}
	for _, p := range parameters {
		for _, form := range unique([]string{p, strings.ToLower(p), strings.ToUpper(p)}) {
			b.run(form, urlValue)
		}
	}
	b.finish()
	return s, nil
}

// phrases gives what to seek of what was given.
func (s *Set) phrases(given []string) ([]string, error) {
	var all []string
	total := 0
	for _, p := range given {
		p = strings.TrimSpace(p)
		if p == "" {
			continue
		}
		if len(p) < MinPhrase {
			s.short++
			continue
		}
		if len(p) > MaxPhrase {
			return nil, ErrTooLong
		}
		all = append(all, p)
		if !strings.Contains(p, "\n") {
			continue
		}
		for line := range strings.Lines(p) {
			if line = strings.TrimSpace(line); len(line) >= MinLine {
				all = append(all, line)
			}
		}
	}
	all = unique(all)
	for _, p := range all {
		total += len(p)
	}
	switch {
	case len(all) > MaxPhrases:
		return nil, ErrTooMany
	case total > MaxTotal:
		return nil, ErrTooLong
	}
	return all, nil
}

// builder puts patterns into a set's automata, and when it knows how short they are, into its filter.
type builder struct {
	set     *Set
	plain   []string // what the filter must see
	wrapped []string // the same, with line breaks in it
}

func (b *builder) phrase(text string) {
	b.set.text.add(text, true)
	b.plain = append(b.plain, text)
	b.set.holdBack = max(b.set.holdBack, len(text)-1)
}

func (b *builder) core(c core) {
	n := b.set.base64.add(c.text, true)
	n.after = n.after || c.after
	b.wrapped = append(b.wrapped, c.text)
	b.set.holdBack = max(b.set.holdBack, len(c.text)-1+len("\r\n")*(len(c.text)/minWidth+1))
}

func (b *builder) run(prefix string, class int) {
	b.set.text.add(prefix, false).runs |= 1 << class
	b.plain = append(b.plain, prefix)
	b.set.holdBack = max(b.set.holdBack, len(prefix)-1, classes[class].min-1)
}

func (b *builder) finish() {
	b.set.text.finish()
	b.set.base64.finish()
	shortest := len(b.plain[0])
	for _, p := range append(b.plain, b.wrapped...) {
		shortest = min(shortest, len(p))
	}
	f := newFilter(shortest, len(b.plain)+len(b.wrapped)*2*(maxStride+block))
	for _, p := range b.plain {
		f.add(p, f.window(p))
	}
	for _, p := range b.wrapped {
		offset := f.window(p)
		f.add(p, offset)
		for at := 1; at < min(len(p), offset+f.stride+f.size); at++ {
			f.add(p[:at]+"\n"+p[at:], offset)
			f.add(p[:at]+"\r\n"+p[at:], offset)
		}
	}
	b.set.filter = f
}

// HoldBack is how many bytes a writer holds back at most.
func (s *Set) HoldBack() int { return s.holdBack }

// Short is how many phrases were left out because they are shorter than [MinPhrase].
func (s *Set) Short() int { return s.short }

// String keeps the phrases out of logs.
func (s *Set) String() string { return fmt.Sprintf("mask.Set of %d bytes held back", s.holdBack) }

// GoString is String, for %#v.
func (s *Set) GoString() string { return s.String() }

// Writer returns a writer that passes on to w what is written to it, masked.
func (s *Set) Writer(w io.Writer) *Writer { return &Writer{set: s, to: w} }

// ErrClosed is the error of a write after Close.
var ErrClosed = errors.New("write to a masker that is closed")
