package route_test

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/jobward/jobward/sidecar/route"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares got with a file of testdata.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	file = "testdata/" + file
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || !bytes.Equal(want, got) {
		t.Errorf("%s: %v; run with -update and look at the difference; it is now\n%s", file, err, got)
	}
}

func get(path, query string) *route.Request {
	return &route.Request{Method: "GET", Path: path, Query: query}
}
