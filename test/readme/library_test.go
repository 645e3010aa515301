package readme

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/sidecar/pep"
)

// guarded is the Go of the README, to see that it compiles. What it does when it runs is in pep's examples.
func guarded(packages http.Handler) (http.Handler, error) {
	decider, err := pep.New(pep.Config{
		Addresses: []string{"pdp-1.example:7420", "pdp-2.example:7420"},
		TLS:       pep.TLS{CA: "ca.pem", Cert: "packages.pem", Key: "packages.key"},
		Name:      "packages-1",
		StateDir:  "/var/lib/packages/jobward",
	})
	if err != nil {
		return nil, err
	}
	guard := &pep.Guard{Asker: decider}
	return guard.Handler(packages, func(r *http.Request) (pep.Wanted, error) {
		project := authz.Target{Path: r.PathValue("project")}
		return pep.Wanted{Token: pep.TokenOf(r), Target: project, Permission: "read_packages", Surface: authz.SurfaceREST}, nil
	}), nil
}

// TestLibrary: it is the README's, and refuses to start without its files.
func TestLibrary(t *testing.T) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("library_test.go")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(text)
	if block == nil {
		t.Fatal("the README has no Go")
	}
	_, body, _ := strings.Cut(string(source), "(http.Handler, error) {\n")
	body, _, _ = strings.Cut(body, "\n}\n")
	if indented := "\t" + strings.ReplaceAll(strings.TrimSpace(string(block[1])), "\n", "\n\t"); indented != body {
		t.Errorf("the README has\n%s\nand what was compiled is\n%s", indented, body)
	}
	if _, err := guarded(nil); err == nil || !strings.Contains(err.Error(), "packages.pem") {
		t.Errorf("it starts without its files: %v", err)
	}
}
