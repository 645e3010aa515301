package gitlab

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Sizes of pages, as in GitLab.
const (
	defaultPerPage = 20
	maxPerPage     = 100
)

// page is the piece of a list that a request asks for.
type page struct {
	number, size int64
	// with are further parameters, which links repeat.
	with url.Values
}

// page reads page and per_page. A page before the first is the first, more than 100
// are 100; what is no number is refused.
func (c *call) page(with url.Values) (page, error) {
	p := page{number: 1, size: defaultPerPage, with: with}
	for name, into := range map[string]*int64{"page": &p.number, "per_page": &p.size} {
		if _, ok := c.params[name]; !ok {
			continue
		}
		n, err := c.params.number(name)
		if err != nil {
			return p, err
		}
		*into = n
	}
	if p.size < 1 {
		return p, badParam("per_page is invalid: it is 1 to %d", maxPerPage)
	}
	p.size, p.number = min(p.size, maxPerPage), max(p.number, 1)
	return p, nil
}

// cut gives the bounds of the page in a list of so many.
func (p page) cut(total int) (from, to int) {
	if p.number > int64(total)/p.size+1 {
		return total, total
	}
	start := (p.number - 1) * p.size
	return int(min(start, int64(total))), int(min(start+p.size, int64(total)))
}

// headers tells where the page is in the list. X-Next-Page is there and empty on the last page:
// clients go by that.
func (p page) headers(r *http.Request, total int) http.Header {
	pages := max((int64(total)+p.size-1)/p.size, 1)
	next, previous := "", ""
	links := []string{p.link(r, 1, "first"), p.link(r, pages, "last")}
	if p.number > 1 {
		previous = strconv.FormatInt(min(p.number-1, pages), 10)
		links = append([]string{p.link(r, min(p.number-1, pages), "prev")}, links...)
	}
	if p.number < pages {
		next = strconv.FormatInt(p.number+1, 10)
		links = append([]string{p.link(r, p.number+1, "next")}, links...)
	}
	number := func(n int64) []string { return []string{strconv.FormatInt(n, 10)} }
	return http.Header{
		"X-Page": number(p.number), "X-Per-Page": number(p.size), "X-Next-Page": {next}, "X-Prev-Page": {previous},
		"X-Total": number(int64(total)), "X-Total-Pages": number(pages), "Link": {strings.Join(links, ", ")},
	}
}

// link repeats the path as it was sent, and of the query only what is known here.
func (p page) link(r *http.Request, number int64, rel string) string {
	query := url.Values{"page": {strconv.FormatInt(number, 10)}, "per_page": {strconv.FormatInt(p.size, 10)}}
	for name, values := range p.with {
		query[name] = values
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	at := url.URL{Scheme: scheme, Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: query.Encode()}
	return "<" + at.String() + `>; rel="` + rel + `"`
}
