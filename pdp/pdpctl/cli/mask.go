package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jobward/jobward/internal/mask"
)

// secretFlags say where secrets are to be found. No flag takes one itself: processes of a machine can see each other's arguments.
type secretFlags struct {
	MaskEnv     []string `name:"mask-env" placeholder:"NAME" help:"Environment variables whose values are secrets. One that is not set, or empty, has none."`
	MaskFile    []string `name:"mask-file" placeholder:"FILE" help:"Files with a secret in each line. Only their owner and group may read them."`
	TokenPrefix []string `name:"token-prefix" placeholder:"PREFIX" help:"Prefixes of the installation's job tokens, if it has others than jobt-."`
}

// maxPhrasesFile is more than a set of phrases may have, with ends of lines.
const maxPhrasesFile = mask.MaxTotal + 2*mask.MaxPhrases

// set makes the masker of these, and of more secrets.
func (f *secretFlags) set(more ...string) (*mask.Set, error) {
	phrases := more
	for _, name := range f.MaskEnv {
		phrases = append(phrases, os.Getenv(name))
	}
	for _, name := range f.MaskFile {
		lines, err := readSecrets(name)
		if err != nil {
			return nil, err
		}
		phrases = append(phrases, lines...)
	}
	return mask.Compile(mask.Config{Phrases: phrases, Prefixes: f.TokenPrefix})
}

// warn says what is not masked.
func warn(s *session, set *mask.Set) {
	if n := set.Short(); n > 0 {
		fmt.Fprintf(s.err, "pdpctl: %d secrets are not masked: they have fewer than %d bytes\n", n, mask.MinPhrase)
	}
}

// readSecrets reads a file of secrets that others may not read or change.
func readSecrets(name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("the secrets to mask cannot be read: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); info.Mode().IsRegular() && mode&0o027 != 0 {
		return nil, fmt.Errorf("%s has mode %04o: others can read it, or more than its owner can change it; chmod 0600 it", name, mode)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxPhrasesFile+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxPhrasesFile {
		return nil, fmt.Errorf("%s: %w", name, mask.ErrTooLong)
	}
	return strings.Split(string(raw), "\n"), nil
}

type maskCmd struct {
	secretFlags
	LineBuffered bool `help:"Write whole lines only, for readers that cannot take a line in pieces. A prompt then waits for its line's end."`
}

// Help says more.
func (*maskCmd) Help() string {
	return `Job tokens are masked wherever they come from, known or not; so are GitLab's tokens and the values of parameters such as job_token. Each secret that
is given is also found in JSON, percent-encoded, and in base64, also where base64 broke the line. What cannot be the beginning of a secret is written
at once.

Exit codes: 0 all of the input was written, 2 it was not. When nobody reads the output any more, SIGPIPE ends it as it ends other filters.

  some-command 2>&1 | pdpctl mask --mask-env DEPLOY_KEY`
}

// goOn is how long the rest of the input is waited for after a signal, which what is before us in a pipe mostly got too.
const goOn = 2 * time.Second

// Run filters.
func (c *maskCmd) Run(s *session) error {
	set, err := c.set()
	if err != nil {
		return err
	}
	warn(s, set)
	lines := &lineWriter{to: s.out, whole: c.LineBuffered}
	w := &locked{to: set.Writer(lines)}
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(w, s.in)
		copied <- err
	}()
	select {
	case err = <-copied:
	case <-s.ctx.Done():
		select {
		case err = <-copied:
		case <-time.After(goOn):
			err = errors.New("ended by a signal before the end of the input")
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err = errors.Join(err, w.to.(*mask.Writer).Close(), lines.flush()); err != nil {
		return fmt.Errorf("not everything was copied: %w", err)
	}
	return nil
}

// locked is a writer for several goroutines.
type locked struct {
	mu sync.Mutex
	to io.Writer
}

// Write implements io.Writer.
func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(p)
}

// maxLine is how much of a line is waited for.
const maxLine = 1 << 20

// lineWriter writes whole lines if it is to, and lines that are longer than maxLine in pieces.
type lineWriter struct {
	to    io.Writer
	whole bool
	held  []byte
}

// Write implements io.Writer.
func (l *lineWriter) Write(p []byte) (int, error) {
	if !l.whole {
		return l.to.Write(p)
	}
	l.held = append(l.held, p...)
	n := bytes.LastIndexByte(p, '\n')
	switch {
	case n >= 0:
		n = len(l.held) - (len(p) - n - 1)
	case len(l.held) > maxLine:
		n = len(l.held)
	default:
		return len(p), nil
	}
	if _, err := l.to.Write(l.held[:n]); err != nil {
		return 0, err
	}
	l.held = l.held[:copy(l.held, l.held[n:])]
	return len(p), nil
}

func (l *lineWriter) flush() error {
	if len(l.held) == 0 {
		return nil
	}
	_, err := l.to.Write(l.held)
	l.held = nil
	return err
}
