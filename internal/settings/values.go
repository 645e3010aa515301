package settings

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes. Its text is a whole number and one of B, KiB, MiB, GiB, TiB: 32MiB.
type Size int64

// UnmarshalText implements encoding.TextUnmarshaler. Units of a thousand are refused, because half of those who write 10MB mean 10MiB.
func (s *Size) UnmarshalText(text []byte) error {
	number, shift := string(text), 0
	for i, unit := range sizeUnits() {
		if rest, ok := strings.CutSuffix(number, unit); ok {
			number, shift = rest, 10*(4-i)
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > (1<<62)>>shift {
		return fmt.Errorf("%q is no size: write a whole number with one of B, KiB, MiB, GiB, TiB, such as 32MiB", text)
	}
	*s = Size(n << shift)
	return nil
}

// String gives the shortest exact text.
func (s Size) String() string {
	units := sizeUnits()
	for i, unit := range units[:4] {
		if one := Size(1) << (10 * (4 - i)); s >= one && s%one == 0 {
			return strconv.FormatInt(int64(s/one), 10) + unit
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

func sizeUnits() []string { return []string{"TiB", "GiB", "MiB", "KiB", "B"} }

// FileMode is the permission bits of a file; its text is octal: 0660.
type FileMode fs.FileMode

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *FileMode) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || n > 0o777 {
		return fmt.Errorf("%q is no file mode: write three or four octal digits, such as 0660", text)
	}
	*m = FileMode(n)
	return nil
}

// String gives four octal digits.
func (m FileMode) String() string { return fmt.Sprintf("%04o", uint32(m)) }

// Brief is time.Duration.String without the zeros at its end: 168h, not 168h0m0s.
func Brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
