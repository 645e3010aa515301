package lease

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/pdp/authz"
)

var update = flag.Bool("update", false, "write what the transcripts in testdata say now")

// TestTranscripts plays testdata/*.txt. A line that begins with > is a command, the
// indented lines under it are what came of it, and everything else is for the reader.
// With -update the files are written anew, and the difference is to be reviewed: each
// line is a promise to somebody who revokes.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			was, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			is, err := play(string(was))
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(is), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if is != string(was) {
				t.Errorf("%s plays differently (see -update):\n%s", file, firstDifference(string(was), is))
			}
		})
	}
}

func firstDifference(was, is string) string {
	a, b := strings.Split(was, "\n"), strings.Split(is, "\n")
	for i := range max(len(a), len(b)) {
		var x, y string
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return fmt.Sprintf("line %d\n was: %s\n is:  %s", i+1, x, y)
		}
	}
	return ""
}

func play(script string) (string, error) {
	var out strings.Builder
	s := newStage(GrantorConfig{})
	for n, line := range strings.Split(strings.TrimRight(script, "\n"), "\n") {
		if strings.HasPrefix(line, "  ") {
			continue
		}
		out.WriteString(line + "\n")
		command, ok := strings.CutPrefix(line, "> ")
		if !ok {
			continue
		}
		s.out.Reset()
		if err := s.command(strings.Fields(command)); err != nil {
			return "", fmt.Errorf("line %d: %q: %w", n+1, command, err)
		}
		out.WriteString(s.out.String())
	}
	return out.String(), nil
}

// command runs one command of a transcript. NAME is a sidecar; a check has a name to
// be spoken of by, such as c1; QUESTION is a job, or "JOB in PROJECT".
func (s *stage) command(f []string) error {
	rest := func(n int) string { return strings.Join(f[min(n, len(f)):], " ") }
	arg := func(n int) string {
		if n < len(f) {
			return f[n]
		}
		return ""
	}
	if done, err := s.ofPDP(arg, rest); done {
		return err
	}
	if k := s.checks[arg(1)]; k != nil {
		if done := s.ofCheck(arg(0), arg(1), k); done {
			return nil
		}
	}
	c := s.sidecars[arg(1)]
	if c == nil {
		return fmt.Errorf("no such command, sidecar or check")
	}
	return s.ofSidecar(c, arg, rest)
}

// ofPDP: pdp [SETTING=VALUE…], restart [SETTING=VALUE…], restore REVISION, rollback
// REVISION (a restore that does not say so), sidecar NAME, revoke WHAT, edit WHAT, receipt REVISION, wait TIME, run, moving, heartbeats.
func (s *stage) ofPDP(arg func(int) string, rest func(int) string) (done bool, err error) {
	switch arg(0) {
	case "pdp", "restart":
		return true, s.startPDP(arg(0) == "restart", strings.Fields(rest(1)))
	case "restore", "rollback":
		rev, err := strconv.Atoi(arg(1))
		if err != nil {
			return true, err
		}
		s.history = s.history[:rev]
		if arg(0) == "restore" {
			s.epoch++
		}
		s.startAnew(GrantorConfig{Quiet: s.pdp().Add(GrantorTerm(MaxTerm))})
		s.say("PDP starts with %v", s.mark())
	case "sidecar":
		s.sidecar(arg(1), HolderConfig{})
	case "revoke":
		s.commit(rest(1), true)
	case "edit":
		s.commit(rest(1), false)
	case "receipt":
		rev, err := strconv.Atoi(arg(1))
		if err != nil {
			return true, err
		}
		s.sayReceipt(rev)
	case "wait":
		d, err := time.ParseDuration(arg(1))
		if err != nil {
			return true, err
		}
		s.wait(d)
	case "run":
		s.run()
	case "moving":
		s.g.Moving()
		s.pump()
	case "heartbeats":
		s.g.Heartbeats()
		s.pump()
	default:
		return false, nil
	}
	return true, nil
}

func (s *stage) startPDP(again bool, settings []string) error {
	cfg := GrantorConfig{}
	if again {
		cfg.Quiet = s.pdp().Add(GrantorTerm(DefaultTerm))
	}
	for _, set := range settings {
		name, value, _ := strings.Cut(set, "=")
		n, err := strconv.Atoi(value)
		if err != nil {
			return err
		}
		switch name {
		case "queue":
			cfg.MaxQueue = n
		case "interest":
			cfg.MaxInterest = n
		case "remembers": // the newest so many changes
			from := max(len(s.history)-n, 0)
			cfg.RecentFrom = s.head()
			if from < len(s.history) {
				cfg.RecentFrom = s.history[from].Revision - 1
				cfg.Recent = s.history[from:]
			}
		default:
			return fmt.Errorf("no setting %q", name)
		}
	}
	s.startAnew(cfg)
	return nil
}

// startAnew is a start of the PDP, which breaks every stream.
func (s *stage) startAnew(cfg GrantorConfig) {
	s.start(cfg)
	for _, c := range s.sidecars {
		if c.newest != nil {
			s.cut(c.newest)
		}
	}
	for _, st := range s.streams {
		s.cut(st)
	}
}

func (s *stage) sayReceipt(rev int) {
	r := s.g.Receipt(s.pdp(), authz.Revision(rev))
	word := "not effective yet"
	if r.Effective {
		word = "effective"
	}
	quiet := ""
	if d := r.Quiet.Sub(s.pdp()); d > 0 {
		quiet = fmt.Sprintf("; leases from before the start may run for %v", d)
	}
	s.say("receipt of revision %d: %s (%d acked, %d lapsed, %d pending)%s", rev, word, r.Acked, r.Lapsed, r.Pending, quiet)
}

// ofCheck: judge CHECK, record CHECK, land CHECK.
func (s *stage) ofCheck(verb, name string, k *check) bool {
	switch verb {
	case "judge":
		s.judge(k)
		s.say("PDP judges %q at revision %d: allow=%v", k.question, k.rev, s.allowed(k.question, k.rev))
	case "record":
		s.record(k)
		s.say("PDP: %s", [...]string{"the answer may be given, not kept", fmt.Sprintf("answer %d may be kept", k.number), "judge again, it changed since"}[k.verdict])
	case "land":
		install, stale := s.land(k)
		word := "is given, not kept"
		switch {
		case stale:
			word = "is refused: it was judged too long ago"
		case install:
			word = "is given and kept"
		}
		s.say("%s: the answer to %q (revision %d, allow=%v) %s", k.of.name, k.question, k.rev, s.allowed(k.question, k.rev), word)
		delete(s.checks, name)
	default:
		return false
	}
	return true
}

// ofSidecar: connect NAME, hello NAME [empty], read NAME [old], deliver NAME [N] [old],
// begin NAME CHECK QUESTION, ask NAME QUESTION, hit NAME QUESTION, share NAME CHECK, renew NAME,
// evict NAME QUESTION, break NAME [old], leave NAME, show NAME. With old it is the
// stream before the newest.
func (s *stage) ofSidecar(c *sidecar, arg func(int) string, rest func(int) string) error {
	st := c.newest
	if strings.HasSuffix(rest(2), "old") {
		st = c.prior
	}
	switch arg(0) {
	case "connect":
		s.join(c.name)
	case "hello":
		s.hello(c, arg(2) != "empty")
	case "read":
		s.read(st)
	case "deliver":
		n, err := strconv.Atoi(arg(2))
		if err != nil {
			n = -1
		}
		s.deliver(st, n)
	case "begin":
		s.checks[arg(2)] = s.begin(c, rest(3))
	case "ask":
		kept := s.ask(c, rest(2))
		s.say("%s: asks the PDP for %q at revision %d: allow=%v, kept=%v", c.name, rest(2), s.head(), s.allowed(rest(2), s.head()), kept)
	case "hit":
		e, ok := s.hit(c, rest(2))
		if ok {
			s.say("%s answers %q from its cache: allow=%v", c.name, rest(2), e.allow)
		} else {
			s.say("%s has no answer to %q and has to ask", c.name, rest(2))
		}
	case "share":
		s.say("%s: a check may share %s: %v", c.name, arg(2), c.h.MayJoin(s.side(), s.checks[arg(2)].flight))
	case "renew":
		m, ok := c.h.Renew(s.side())
		if !ok {
			s.say("%s can't renew: its lease is over", c.name)
			return nil
		}
		s.send(c, m)
	case "evict":
		keys := c.entries[rest(2)].keys
		delete(c.entries, rest(2))
		s.send(c, c.h.Forget(keys))
	case "break":
		s.cut(st)
	case "leave":
		e, _ := c.h.Leave()
		s.do(c, e)
	case "show":
		s.say("%s: generation %d, revision %d applied, lease runs for %v, %d answers", c.name, c.h.Generation(), c.h.Applied(), c.h.Remaining(s.side()), len(c.entries))
	default:
		return fmt.Errorf("no command %q", arg(0))
	}
	return nil
}
