package telemetry

import (
	"fmt"
	"io"
	"io/fs"
	"log/slog"
)

// NewLogger returns a logger that writes lines of the given format to w from level up. The format "auto" is "text" if w is a terminal
// (any character device counts) and "json" otherwise.
func NewLogger(w io.Writer, format string, level slog.Leveler) (*slog.Logger, error) {
	if format == "auto" {
		format = "json"
		if isTerminal(w) {
			format = "text"
		}
	}
	options := &slog.HandlerOptions{Level: level}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, fmt.Errorf("log format %q: use auto, text or json", format)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(interface{ Stat() (fs.FileInfo, error) })
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&fs.ModeCharDevice != 0
}
