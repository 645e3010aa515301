package settings

import (
	"errors"
	"fmt"
)

// Findings collects all that is wrong with settings, not only the first: settings are often corrected in places that are slow to reach. The zero
// value has none.
type Findings struct{ errs []error }

// Need notes what is wrong with a setting unless ok.
func (f *Findings) Need(ok bool, setting, format string, args ...any) {
	if !ok {
		f.errs = append(f.errs, fmt.Errorf("%s: %w", setting, fmt.Errorf(format, args...)))
	}
}

// Failed notes an error about a setting and reports whether there is one.
func (f *Findings) Failed(setting string, err error) bool {
	f.Need(err == nil, setting, "%w", err)
	return err != nil
}

// Err joins them; it is nil when nothing is wrong.
func (f *Findings) Err() error { return errors.Join(f.errs...) }
