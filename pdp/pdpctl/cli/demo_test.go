package cli

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What counts is when a check began: one that was under way when Revoke returned may have been allowed before. test/readme runs the demonstration.
func TestDemoTally(t *testing.T) {
	const ms = time.Millisecond
	returned := 100 * ms
	tally := &demoTally{}
	for _, c := range []demoCheck{
		{began: 10 * ms, ended: 11 * ms, allow: true},
		{began: 98 * ms, ended: 103 * ms, allow: true}, // began before, ended after
		{began: 97 * ms, ended: 99 * ms},               // already denied
		{began: 101 * ms, ended: 102 * ms},
		{began: 102 * ms, ended: 103 * ms, failed: true},
	} {
		tally.add(c, returned)
	}
	if tally.Checks != 5 || tally.Allowed != 2 || tally.Denied != 2 || tally.NotDecided != 1 || tally.StaleAllows != 0 {
		t.Errorf("%+v", tally)
	}
	if last, first := around(tally.LastAllowBegan), around(tally.FirstDenial); last != "2ms before" || first != "1ms before" {
		t.Errorf("last allow %s, first denial %s", last, first)
	}
	tally.add(demoCheck{began: returned + 1, ended: 200 * ms, allow: true}, returned)
	if tally.StaleAllows != 1 {
		t.Errorf("a nanosecond after the receipt: %+v", tally)
	}
	if none := around((&demoTally{}).LastAllowBegan); none != "none" {
		t.Errorf("no allow at all: %s", none)
	}
}

// A file that a flag names is seen from where pdpctl was started: the processes run elsewhere.
func TestDemoNamed(t *testing.T) {
	here, err := filepath.Abs("bin/pdp")
	if err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{"": "", "pdp": "pdp", "./bin/pdp": here, "bin/pdp": here, here: here} {
		if got, err := named(flag); err != nil || got != want {
			t.Errorf("--pdp %q is %q, %v", flag, got, err)
		}
	}
}

// Every verb has a help text, and the completions know it.
func TestVerbsAreKnown(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		_, script, _ := ctl(t, "", "completion", shell)
		for _, verb := range []string{"demo", "sidecars", "replicas", "watch", "receipt", "await", "--quick", "--wide", "--progress"} {
			if !strings.Contains(script, verb) {
				t.Errorf("%s does not complete %s", shell, verb)
			}
		}
	}
	for verb, want := range map[string]string{
		"demo": "stale allow", "sidecars": "LEASE LEFT", "replicas": "INCARNATION", "watch": "invalidations", "receipt await": "before a change",
	} {
		if code, help, errout := ctl(t, "", append(strings.Fields(verb), "--help")...); code != ExitOK || !strings.Contains(strings.Join(strings.Fields(help), " "), want) {
			t.Errorf("pdpctl %s --help: %d, no %q in\n%s%s", verb, code, want, help, errout)
		}
	}
}
