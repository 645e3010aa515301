package settings

import (
	"cmp"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
)

// Shown is one setting as people see it.
type Shown struct {
	Name string
	// Value is empty for a setting that has none. It is masked: nothing in it has the shape of a token or a key.
	Value string
	// From says where the value came from, for a value other than the default; "" for the default.
	From string
}

// show lists the settings that were parsed in ctx, in the order of the struct.
func show(ctx *kong.Context, from map[string]string) []Shown {
	for _, p := range ctx.Path {
		if p.Flag != nil && !p.Resolved {
			from[p.Flag.Name] = "flag --" + p.Flag.Name
		}
	}
	var list []Shown
	for _, f := range ctx.Model.Flags {
		if f.Name == "help" {
			continue
		}
		list = append(list, Shown{Name: f.Name, Value: masked(text(f.Target)), From: from[f.Name]})
	}
	return list
}

// text writes a value as a setting takes it.
func text(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case *bool:
		if x == nil {
			return ""
		}
		return fmt.Sprint(*x)
	case []string:
		return kong.JoinEscaped(x, ',')
	case time.Duration:
		return Brief(x)
	}
	return fmt.Sprint(v.Interface())
}

// masked takes out what looks like a job token of any prefix, or like a bearer key. No setting holds a secret, but people
// paste them into the wrong place.
func masked(s string) string {
	return regexp.MustCompile(`[A-Za-z0-9][A-Za-z0-9-]{0,14}-1[0-9A-Za-z]{33}`).ReplaceAllString(s, "[REDACTED]")
}

// Write prints the settings in the form of the settings file, so that the output can be one.
func Write(w io.Writer, list []Shown) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range list {
		switch {
		case s.Name == "config":
			if s.Value != "" {
				fmt.Fprintf(tab, "# %s: %s\t# %s\n", s.Name, s.Value, s.From)
			}
		case s.Value == "":
			fmt.Fprintf(tab, "# %s:\t# not set\n", s.Name)
		default:
			value, err := quoted(s.Value)
			if err != nil {
				return err
			}
			fmt.Fprintf(tab, "%s: %s\t# %s\n", s.Name, value, cmp.Or(s.From, "default"))
		}
	}
	return tab.Flush()
}

// quoted puts quotes only where YAML needs them: file.go takes values as they are written, so numbers do.
func quoted(s string) (string, error) {
	if regexp.MustCompile(`^[A-Za-z0-9/.][A-Za-z0-9/.,_:-]*$`).MatchString(s) {
		return s, nil
	}
	value, err := yaml.Marshal(s)
	return strings.TrimSpace(string(value)), err
}
