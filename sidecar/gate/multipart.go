package gate

import (
	"bufio"
	"io"
	"mime"
	"net/textproto"
	"strings"
)

// inMultipart looks at the parts of multipart/form-data that are there as a whole. It finds them as RFC 2046 writes them, with CR and LF; parts that
// only a lenient reader would see are none. delimiter is two hyphens and the boundary; end tells that the last one was reached.
func inMultipart(data, delimiter string) (found []Field, end bool) {
	// A part is from one delimiter to the next, without the line end in front of either.
	at := -1
	if strings.HasPrefix(data, delimiter) && delimits(data[len(delimiter):]) {
		at = 0
	} else if at = next(data, 0, delimiter); at < 0 {
		return nil, false
	}
	for {
		rest := data[at+len(delimiter):]
		if strings.HasPrefix(rest, "--") {
			return found, true // what follows is no part
		}
		begin := at + len(delimiter) + strings.Index(rest, "\r\n")
		to := next(data, begin, delimiter)
		if to < 0 {
			return found, false
		}
		if name, content := contentOf(data[begin : to-len("\r\n")]); name != "" {
			found = append(found, Field{name, content, at, to})
		}
		at = to
	}
}

// next gives the place of the next delimiter at the beginning of a line; less than zero when there is none, or none that can be told yet.
func next(data string, from int, delimiter string) int {
	for {
		i := strings.Index(data[from:], "\r\n"+delimiter)
		if i < 0 {
			return -1
		}
		if from += i + len("\r\n"); delimits(data[from+len(delimiter):]) {
			return from
		}
	}
}

// delimits reports whether a boundary that has this behind it is a delimiter, and not the beginning of something longer.
func delimits(behind string) bool {
	return strings.HasPrefix(behind, "--") || strings.HasPrefix(strings.TrimLeft(behind, " \t"), "\r\n")
}

// contentOf gives the name and the content of a part that a token may stand in, and nothing of others. part begins with the end of the delimiter's
// line. What has a file's name is a file to services.
func contentOf(part string) (name, content string) {
	r := bufio.NewReader(strings.NewReader(strings.TrimPrefix(part, "\r\n")))
	h, err := textproto.NewReader(r).ReadMIMEHeader()
	if err != nil {
		return "", ""
	}
	kind, params, err := mime.ParseMediaType(h.Get("Content-Disposition"))
	if err != nil || kind != "form-data" || params["filename"] != "" {
		return "", ""
	}
	if !carries(params["name"]) {
		return "", ""
	}
	body, _ := io.ReadAll(r) // of a string, which does not fail
	return params["name"], string(body)
}
