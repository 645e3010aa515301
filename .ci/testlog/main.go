// Command testlog turns the output of `go test -json` back into what plain
// `go test` prints, and then lists every test that was skipped. It exits 1
// when a test failed, when a skip is not on the list of allowed ones, and when
// it read no results at all.
//
//	go test -json ./... | testlog "PACKAGE TEST why it may be skipped" ...
//
// PACKAGE is relative to the module. An allowed TEST covers its subtests.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

const module = "github.com/jobward/jobward/"

func main() {
	bad, err := report(os.Stdin, os.Stdout, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "testlog:", err)
	}
	if bad || err != nil {
		os.Exit(1)
	}
}

// event is the part of a line of `go test -json` that is looked at.
type event struct {
	Action, Package, Test, Output string
}

// log collects what is not yet known to be wanted: the output of a test is
// shown only if it fails, the rest of a package's output only if that fails.
type log struct {
	out     io.Writer
	allowed []string
	pending map[[2]string][]string // by package and test ("" for the package itself)
	skipped []string
	results int
	bad     bool
}

// report copies in to out and tells whether anything in it was bad.
func report(in io.Reader, out io.Writer, allowed []string) (bad bool, err error) {
	l := &log{out: out, allowed: allowed, pending: map[[2]string][]string{}}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				fmt.Fprintf(out, "%s", line) // not an event: go itself speaks
			} else {
				l.add(e)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return true, err
		}
	}
	if l.results == 0 {
		return true, fmt.Errorf("no test results: did go test run?")
	}
	for _, s := range l.skipped {
		fmt.Fprintln(out, s)
	}
	return l.bad, nil
}

func (l *log) add(e event) {
	key := [2]string{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(l.out, e.Output)
	case "output":
		l.pending[key] = append(l.pending[key], e.Output)
	case "fail":
		l.bad = true
		if e.Test == "" {
			l.results++
			l.flushUnfinished(e.Package)
		}
		l.flush(key, everything)
	case "skip":
		if e.Test != "" {
			l.skip(e)
			break
		}
		l.results++ // a package without tests
		l.flush(key, closing)
	case "pass":
		if e.Test == "" {
			l.results++
			l.flush(key, closing)
		}
		delete(l.pending, key)
	}
}

// flushUnfinished shows the tests that had no verdict when the package died:
// the one that panicked or hung is among them.
func (l *log) flushUnfinished(pkg string) {
	for key := range l.pending {
		if key[0] == pkg && key[1] != "" {
			l.flush(key, everything)
		}
	}
}

func everything(line string) bool { return !strings.HasPrefix(line, "=== ") }

// closing keeps the one line that plain `go test` prints of a good package.
func closing(line string) bool {
	return strings.HasPrefix(line, "ok  \t") || strings.HasPrefix(line, "?   \t")
}

func (l *log) flush(key [2]string, wanted func(string) bool) {
	for _, line := range l.pending[key] {
		if wanted(line) {
			fmt.Fprint(l.out, line)
		}
	}
	delete(l.pending, key)
}

func (l *log) skip(e event) {
	key := [2]string{e.Package, e.Test}
	reason := "no reason given"
	for _, line := range l.pending[key] {
		if !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(strings.TrimSpace(line), "--- ") {
			reason = strings.TrimSpace(line)
		}
	}
	delete(l.pending, key)
	pkg := strings.TrimPrefix(e.Package, module)
	for _, a := range l.allowed {
		f := strings.SplitN(a, " ", 3)
		if len(f) == 3 && f[0] == pkg && (f[1] == e.Test || strings.HasPrefix(e.Test, f[1]+"/")) {
			l.skipped = append(l.skipped, fmt.Sprintf("skipped, allowed: %s %s: %s (%s)", pkg, e.Test, reason, f[2]))
			return
		}
	}
	l.bad = true
	l.skipped = append(l.skipped, fmt.Sprintf("SKIPPED: %s %s: %s", pkg, e.Test, reason))
}
