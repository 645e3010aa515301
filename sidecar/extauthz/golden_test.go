package extauthz

import (
	"bytes"
	"encoding/json"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/jobward/jobward/sidecar/gate"
	"github.com/jobward/jobward/sidecar/route"
)

var update = flag.Bool("update", false, "write the golden answers anew")

// TestGolden sends requests in the shape in which Envoy sends them, by the generated client over a socket, and compares the answers with those
// in testdata. No token is in an answer or in the log.
func TestGolden(t *testing.T) {
	names, err := filepath.Glob("testdata/*.request.json")
	must(t, err)
	if len(names) == 0 {
		t.Fatal("no requests")
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c := serve(t, &gate.Gate{Asker: script{}, Routes: route.Builtin(), Logger: logger}, logger, 0)
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".request.json"), func(t *testing.T) {
			data, err := os.ReadFile(name)
			must(t, err)
			in := &authv3.CheckRequest{}
			must(t, protojson.Unmarshal(data, in))
			out := check(t, c, in)
			slices.Sort(out.GetOkResponse().GetHeadersToRemove()) // the map came in any order
			text, err := protojson.Marshal(out)
			must(t, err)
			var got bytes.Buffer
			must(t, json.Indent(&got, text, "", "  "))
			got.WriteByte('\n')
			golden := strings.Replace(name, ".request.", ".answer.", 1)
			if *update {
				must(t, os.WriteFile(golden, got.Bytes(), 0o644))
			}
			want, err := os.ReadFile(golden)
			must(t, err)
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%s\nwant\n%s", &got, want)
			}
			if strings.Contains(got.String(), "jw-") || strings.Contains(got.String(), "andtMT") {
				t.Error("a token is in the answer")
			}
		})
	}
	if strings.Contains(log.String(), "jw-") {
		t.Errorf("a token is in the log:\n%s", &log)
	}
}
