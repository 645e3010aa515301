package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// print writes a message in the form asked for. draw writes the form for people.
func (s *session) print(m proto.Message, draw func(*table)) error {
	if s.globals.Output == "table" {
		t := &table{w: tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)}
		draw(t)
		return t.w.Flush()
	}
	// protojson varies its spaces on purpose, so they are made anew.
	raw, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return err
	}
	if s.globals.Output == "yaml" {
		text, err := yaml.JSONToYAML(out.Bytes())
		if err != nil {
			return err
		}
		_, err = s.out.Write(text)
		return err
	}
	_, err = fmt.Fprintln(s.out, out.String())
	return err
}

// table collects rows.
type table struct{ w *tabwriter.Writer }

// row adds a row of cells.
func (t *table) row(cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		text[i] = fmt.Sprint(c)
	}
	fmt.Fprintln(t.w, strings.TrimRight(strings.Join(text, "\t"), "\t"))
}

// linef adds a line that is no row.
func (t *table) linef(format string, args ...any) { fmt.Fprintf(t.w, format+"\n", args...) }

// enum gives the name of an enum value in lower case, without its prefix.
func enum(prefix string, e fmt.Stringer) string {
	return strings.ToLower(strings.TrimPrefix(e.String(), prefix+"_"))
}

// clock gives a time for people, or a dash for none.
func clock(t *timestamppb.Timestamp) string {
	if t == nil {
		return "-"
	}
	return t.AsTime().Format(time.RFC3339)
}

// or gives the text, or a dash when there is none or it is zero.
func or(v any) string {
	if s := fmt.Sprint(v); s != "" && s != "0" && s != "<nil>" {
		return s
	}
	return "-"
}
