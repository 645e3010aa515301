package recipes

import (
	"net/url"
	"strings"
)

// oddNames asks for files with names that programs like to write in another way. Either the service gets the name as it was judged, byte by byte or (Caddy)
// with characters encoded that should have been (and Traefik a semicolon of the query), or nothing.
func (d *restDoor) oddNames(token string) {
	d.t.Helper()
	const dir = "/api/v4/projects/11/packages/generic/a/1/"
	served := 0
	for _, name := range []string{
		"a|b", `a"b`, "a^b", "a`b", "a<b>", "a{b}", "a'b", "a+b", "a%2Bb", "a%20b", "a%7Cb", "a%7cb", "a%22b", "\xc3\xa9", "%C3%A9", "%c3%a9", "a%25b", "a%3Fb", "a%23b", "a%26b=c", "a@b:c,d!e$f(g)*h",
		"%61", "a%2Eb", "%7E~", "{http.request.host}", "%7Bhttp.request.host%7D", "{uri}", "$host", "%24host", "a[b]", "\xff", "%FF", "a%00", "a%0ab", "a%0d%0aX:%20y", "a%5Cb", "a\\b", "a%2Fb", "a%2f..%2fb", "%2e%2e",
		"a;b", "a%3Bb", "..;", "a%", "a%zz", "a%u0041", "%252e%252e", "a%25%32%46", "x?a=%7C|\"{http.request.host}&b=%zz", "x?a=b;c=d", "x?", "x??", "x?a#b",
	} {
		before := len(d.service.seen())
		status, body := d.curl("--globoff", "--path-as-is", "--request-target", dir+name, "--header", "JOB-TOKEN: "+token, d.url+"/")
		saw := d.service.seen()[before:]
		switch {
		case saw == "" && (status == "400" || status == "404"):
		case sameName(saw, "GET "+dir+name+" "):
			served++
		default:
			d.t.Errorf("%q: %s %.100q, and the service got %.200s", name, status, body, saw)
		}
	}
	if served < 15 {
		d.t.Errorf("only %d odd names were served", served)
	}
}

// sameName reports whether a line of what the service saw is about the same path and the same query.
func sameName(saw, want string) bool {
	if strings.HasPrefix(saw, want) {
		return true
	}
	fields := strings.SplitN(saw, " ", 3)
	if len(fields) != 3 {
		return false
	}
	got, gotQuery, _ := strings.Cut(fields[1], "?")
	asked, query, _ := strings.Cut(strings.Fields(want)[1], "?")
	decoded, err := url.PathUnescape(asked)
	again, err2 := url.PathUnescape(got)
	return err == nil && err2 == nil && decoded == again && strings.Count(got, "%2F") == strings.Count(asked, "%2F") && query == strings.ReplaceAll(gotQuery, "%3B", ";")
}
