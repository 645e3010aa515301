package cli

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/types/known/durationpb"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
)

// What the demonstration says, for people.
const (
	demoTitle       = "A PDP and two sidecars run here as processes of their own, on a sample company.\n"
	demoCachedTitle = `1. A push by %s starts job %s in %s, and the job gets a token.
   Both sidecars are asked whether it has %s on %s.`
	demoRevokedTitle = `
2. Now %d clients ask that as fast as they can. Meanwhile the job ends: its token is revoked.`
	demoFrozenTitle = `
3. The hard case. Sidecar %s has an ALLOW for job %s in its cache when it is frozen (SIGSTOP). That
   job is revoked. %[1]s cannot be told, so Revoke waits until %[1]s may not believe its cache any more.`
)

// demoReport is the demonstration for programs. Times are in milliseconds, or in seconds where the name says so.
type demoReport struct {
	Cached      []demoAsked     `json:"cached"`
	Revoked     *demoRevocation `json:"revoked"`
	Frozen      *demoRevocation `json:"frozen,omitempty"`
	Checks      int             `json:"checks"`
	StaleAllows int             `json:"stale_allows"`
	Seconds     float64         `json:"seconds"`
}

// demoAsked is a question asked at one sidecar for the first time, and then again and again.
type demoAsked struct {
	Sidecar     string  `json:"sidecar"`
	FirstMS     float64 `json:"first_ms"`
	FirstCached bool    `json:"first_cached"`
	Again       int     `json:"again"`
	AgainMS     float64 `json:"again_median_ms"`
	AgainCached int     `json:"again_cached"`
}

// demoRevocation is a revocation, and what the checks around it were answered.
type demoRevocation struct {
	Receipt     *demoReceipt `json:"receipt"`
	Seconds     float64      `json:"seconds"` // that clients asked for
	Sidecars    []*demoTally `json:"sidecars"`
	Frozen      string       `json:"frozen,omitempty"` // the sidecar that was
	FirstAnswer string       `json:"first_answer,omitempty"`
}

// demoReceipt is what Revoke returned, and when.
type demoReceipt struct {
	Revision     uint64  `json:"revision"`
	Effective    bool    `json:"effective"`
	Acknowledged int32   `json:"acknowledged"`
	Lapsed       int32   `json:"lapsed"`
	ElapsedMS    float64 `json:"elapsed_ms"`
	ReturnedMS   float64 `json:"returned_ms"`

	text string
}

// demoReceiptText is a receipt in words. What it says of other PDPs stands in a line of its own.
func demoReceiptText(r *jobwardv1.Receipt) string {
	text := fmt.Sprintf("receipt: revision %d, effective", r.GetRevision())
	if c := cachesText(r); c != "" {
		text += "; " + c
	}
	return text
}

func receiptOf(r *jobwardv1.Receipt, took time.Duration) *demoReceipt {
	return &demoReceipt{
		Revision: r.GetRevision(), Effective: r.GetEffective(), Acknowledged: r.GetAcknowledged(), Lapsed: r.GetLapsed(),
		ElapsedMS: millis(r.GetElapsed().AsDuration()), ReturnedMS: millis(took),
		text: demoReceiptText(r),
	}
}

// demoTally is what the clients of one sidecar saw. Times count from Revoke's return, those before are negative.
type demoTally struct {
	Sidecar        string   `json:"sidecar"`
	Checks         int      `json:"checks"`
	Allowed        int      `json:"allowed"`
	Denied         int      `json:"denied"`
	NotDecided     int      `json:"not_decided"`
	LastAllowBegan *float64 `json:"last_allow_began_ms,omitempty"`
	FirstDenial    *float64 `json:"first_denial_ms,omitempty"`
	StaleAllows    int      `json:"stale_allows"` // allowed, and begun after Revoke had returned
}

// add counts a check.
func (t *demoTally) add(c demoCheck, returned time.Duration) {
	t.Checks++
	switch {
	case c.failed:
		t.NotDecided++
	case c.allow:
		t.Allowed++
		if at := millis(c.began - returned); t.LastAllowBegan == nil || at > *t.LastAllowBegan {
			t.LastAllowBegan = &at
		}
		if c.began > returned {
			t.StaleAllows++
		}
	default:
		t.Denied++
		if at := millis(c.ended - returned); t.FirstDenial == nil || at < *t.FirstDenial {
			t.FirstDenial = &at
		}
	}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// ms is a time for people.
func ms(t float64) string {
	return brief(durationpb.New(time.Duration(t * float64(time.Millisecond)))).String()
}

// around says how a time lies to Revoke's return.
func around(t *float64) string {
	switch {
	case t == nil:
		return "none"
	case *t < 0:
		return ms(-*t) + " before"
	}
	return ms(*t) + " after"
}

// tell says a line to people.
func (d *demo) tell(format string, args ...any) {
	if d.globals.Output == "table" {
		fmt.Fprintf(d.out, format+"\n", args...)
	}
}

// draw shows rows to people.
func (d *demo) draw(rows func(*table)) {
	if d.globals.Output != "table" {
		return
	}
	t := &table{w: tabwriter.NewWriter(d.out, 0, 4, 3, ' ', 0)}
	rows(t)
	t.w.Flush()
}

func (t *table) cached(asked []demoAsked) {
	head, first, again := []any{"  "}, []any{"   the first time"}, []any{"   again"}
	cached, all := 0, 0
	for _, a := range asked {
		head, first, again = append(head, "sidecar "+a.Sidecar), append(first, "ALLOW in "+ms(a.FirstMS)), append(again, "ALLOW in "+ms(a.AgainMS))
		cached, all = cached+a.AgainCached, all+a.Again
	}
	how := "from its cache (median)"
	if cached < all {
		how = fmt.Sprintf("%d of %d from its cache (median)", cached, all)
	}
	t.row(head...)
	t.row(append(first, "by asking the PDP")...)
	t.row(append(again, how)...)
}

// tallies draws one row for each figure.
func (t *table) tallies(all []*demoTally, rows ...demoRow) {
	for _, r := range rows {
		cells := []any{"   " + r.name}
		for _, s := range all {
			cells = append(cells, r.value(s))
		}
		t.row(append(cells, r.note)...)
	}
}

// demoRow is a figure of each sidecar.
type demoRow struct {
	name, note string
	value      func(*demoTally) string
}

func (t *table) revoked(r *demoRevocation) {
	t.linef("   %s", r.Receipt.text)
	t.tallies(r.Sidecars, demoRow{"", "", func(s *demoTally) string { return "sidecar " + s.Sidecar }},
		demoRow{"checks", fmt.Sprintf("in %.1f s", r.Seconds), func(s *demoTally) string { return fmt.Sprint(s.Checks) }},
		demoRow{"last allow began", "Revoke returned", func(s *demoTally) string { return around(s.LastAllowBegan) }},
		demoRow{"first denial came", "Revoke returned", func(s *demoTally) string { return around(s.FirstDenial) }},
		demoRow{"stale allows", "(begun after Revoke returned)", func(s *demoTally) string { return fmt.Sprint(s.StaleAllows) }})
	t.undecided(r.Sidecars)
}

func (t *table) frozen(r *demoRevocation) {
	checks, stale := count(r.Sidecars)
	t.linef("   %s", r.Receipt.text)
	t.linef("   Then %s goes on (SIGCONT), with checks waiting at it. Its first answer: %s", r.Frozen, r.FirstAnswer)
	t.linef("   %d stale allows in %d checks begun since Revoke returned", stale, checks)
	t.undecided(r.Sidecars)
}

// undecided says how many checks got an error, if any did.
func (t *table) undecided(all []*demoTally) {
	n := 0
	for _, s := range all {
		n += s.NotDecided
	}
	if n > 0 {
		t.linef("   %d checks were not decided, which a service takes for a denial", n)
	}
}

// count sums up checks and stale allows.
func count(all []*demoTally) (checks, stale int) {
	for _, s := range all {
		checks, stale = checks+s.Checks, stale+s.StaleAllows
	}
	return checks, stale
}

// sum ends the report.
func (d *demo) sum() error {
	r := &d.report
	for _, part := range []*demoRevocation{r.Revoked, r.Frozen} {
		if part != nil {
			checks, stale := count(part.Sidecars)
			r.Checks, r.StaleAllows = r.Checks+checks, r.StaleAllows+stale
		}
	}
	r.Seconds = time.Since(d.began).Round(time.Millisecond).Seconds()
	verdict := "When Revoke has returned, nobody allows that job any more."
	if r.StaleAllows > 0 {
		verdict = "The promise is BROKEN: please report this."
	}
	d.tell("\n%d stale allows in %d checks. %s (%.1f s)", r.StaleAllows, r.Checks, verdict, r.Seconds)
	if err := d.printReport(r); err != nil {
		return err
	}
	if r.StaleAllows > 0 {
		return errDenied
	}
	return nil
}

// printReport prints the report in the form asked for; for people everything was said.
func (d *demo) printReport(report any) error {
	if d.globals.Output == "table" {
		return nil
	}
	raw, err := json.MarshalIndent(report, "", "  ")
	if err == nil && d.globals.Output == "yaml" {
		raw, err = yaml.JSONToYAML(raw)
	}
	if err == nil {
		_, err = fmt.Fprintln(d.out, string(raw))
	}
	return err
}
