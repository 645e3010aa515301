package telemetry

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLogFormat(t *testing.T) {
	for format, want := range map[string]string{"text": `level=WARN msg=hello n=1`, "json": `"level":"WARN","msg":"hello","n":1}`, "auto": `"msg":"hello"`} {
		var b bytes.Buffer
		l, err := NewLogger(&b, format, slog.LevelWarn)
		if err != nil {
			t.Fatal(err)
		}
		l.Info("too low")
		l.Warn("hello", "n", 1)
		if out := b.String(); !strings.Contains(out, want) || strings.Count(out, "\n") != 1 {
			t.Errorf("%s: %s", format, out)
		}
	}
	for _, format := range []string{"", "JSON", "logfmt"} {
		if _, err := NewLogger(io.Discard, format, slog.LevelInfo); err == nil || !strings.Contains(err.Error(), "use auto, text or json") {
			t.Errorf("format %q: %v", format, err)
		}
	}
}

// TestLogAuto: a character device is text, a file or a pipe is JSON.
func TestLogAuto(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer pipe.Close()
	device, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	closed, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, row := range []struct {
		w    io.Writer
		want bool
	}{{file, false}, {pipe, false}, {device, true}, {closed, false}} {
		l, err := NewLogger(row.w, "auto", slog.LevelInfo)
		if err != nil {
			t.Fatal(err)
		}
		if _, text := l.Handler().(*slog.TextHandler); text != row.want {
			t.Errorf("%v: text is %v", row.w.(*os.File).Name(), text)
		}
	}
}

func TestLogLevelChanges(t *testing.T) {
	var b bytes.Buffer
	var level slog.LevelVar
	l, err := NewLogger(&b, "text", &level)
	if err != nil {
		t.Fatal(err)
	}
	l.Debug("one")
	level.Set(slog.LevelDebug)
	l.Debug("two")
	if out := b.String(); strings.Contains(out, "one") || !strings.Contains(out, "two") {
		t.Error(out)
	}
}
