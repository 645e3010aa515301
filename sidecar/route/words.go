package route

import (
	"fmt"
	"slices"
	"strings"
)

var (
	carrierNames = []string{"header", "param", "token-param", "basic", "bearer"}
	styleNames   = []string{"rest", "git", "runner", "own", "trigger"}
	targetNames  = []string{"in-path", "own-job", "that-job", "owner"}
)

// String gives the names as the routes file spells them, with commas between.
func (c Carriers) String() string {
	var names []string
	for i, n := range carrierNames {
		if c&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return strings.Join(names, ",")
}

// String gives the style's name as the routes file spells it.
func (s Style) String() string { return styleNames[s] }

// String gives a name for tests and logs.
func (k TargetKind) String() string { return targetNames[k] }

func parseCarrier(s string) (Carriers, error) {
	i := slices.Index(carrierNames, s)
	if i < 0 {
		return 0, fmt.Errorf("unknown carrier %q: use %s", s, strings.Join(carrierNames, ", "))
	}
	return 1 << i, nil
}

func parseStyle(s string) (Style, error) {
	i := slices.Index(styleNames, s)
	if i < 0 {
		return 0, fmt.Errorf("unknown style %q: use %s", s, strings.Join(styleNames, ", "))
	}
	return Style(i), nil
}
