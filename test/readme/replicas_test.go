package readme

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/test/programs"
)

// replicasPatience is for building a member of etcd, too.
const replicasPatience = 5 * time.Minute

// TestDemoReplicas is P1 with several PDPs, as somebody who tries it sees it: a member of etcd and a PDP are killed under load, no answer is wrong, the
// receipts say who had settled and who was waited out, and nothing is left behind (R8).
func TestDemoReplicas(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		programs.Missing(t, "go, to build a member of etcd with,")
	}
	from, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	d := demo(t, from, []string{"pdp", "sidecar", "pdpctl"}, "-o", "json", "--replicas", "3", "--quick")
	select {
	case <-d.Done:
	case <-time.After(replicasPatience):
	}
	if code := d.End(); code == 2 && strings.Contains(d.Log.String(), "pdpctl: go build:") {
		programs.Missing(t, "what a member of etcd is built from (test/etcd/member), as go says\n"+d.Log.String()+"\nand so etcd")
	}
	d.ends(0)
	var r struct {
		Replicas int
		Parts    []struct{ Rounds, Checks int }
		Total    struct {
			Rounds, Checks, Cached int
			StaleAllows            *int `json:"stale_allows"`
			WrongDenies            *int `json:"wrong_denials"`
		}
		Receipts []struct {
			Receipt  struct{ Effective bool }
			Replicas map[string]string
			BoundMS  float64 `json:"bound_ms"`
		}
	}
	if err := json.Unmarshal([]byte(d.Out.String()), &r); err != nil {
		t.Fatalf("%v\n%s", err, d.Out.String())
	}
	if r.Replicas != 3 || len(r.Parts) != 3 || r.Total.Rounds == 0 || r.Total.Checks == 0 || r.Total.Cached == 0 {
		t.Errorf("parts are missing:\n%s", d.Out.String())
	}
	if r.Total.StaleAllows == nil || *r.Total.StaleAllows != 0 || r.Total.WrongDenies == nil || *r.Total.WrongDenies != 0 {
		t.Errorf("wrong answers:\n%s", d.Out.String())
	}
	if len(r.Receipts) != 1 || !r.Receipts[0].Receipt.Effective || r.Receipts[0].BoundMS <= 0 {
		t.Fatalf("receipts:\n%s", d.Out.String())
	}
	if got := r.Receipts[0].Replicas; len(got) != 2 || got["pdp-2"] != "settled" || got["pdp-3"] != "gone" {
		t.Errorf("the one that lives settles, and the one that was killed is waited out: %v", got)
	}
}
