package engine

import (
	"strconv"

	"github.com/jobward/jobward/pdp/authz"
)

// Sizes of the pages that lists are read in.
const (
	DefaultPage = 100
	MaxPage     = 1000
)

// Page chooses a piece of a list. The zero Page is the first piece.
type Page struct {
	// After is the Next of the page before, empty for the first. It means something to
	// the list that gave it only. A page resumes where the one before ended, so what is
	// there all along is seen exactly once, whatever comes and goes meanwhile.
	After string
	// Limit is how many items a page has at most; zero takes DefaultPage, and what is
	// over MaxPage takes that.
	Limit int
}

func (p Page) limit() int {
	if p.Limit <= 0 {
		return DefaultPage
	}
	return min(p.Limit, MaxPage)
}

// afterID reads a cursor that is an id.
func (p Page) afterID() (int64, error) {
	if p.After == "" {
		return 0, nil
	}
	id, err := strconv.ParseInt(p.After, 10, 64)
	if err != nil || id < 1 || id > authz.MaxID {
		return 0, errCursor()
	}
	return id, nil
}

func idCursor[T ~int64](id T) string { return strconv.FormatInt(int64(id), 10) }

func errCursor() error {
	return authz.Errorf(authz.KindInvalid, CodeCursorInvalid, "this is no place to go on in this list; start at its first page")
}
