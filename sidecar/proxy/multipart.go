package proxy

import (
	"bufio"
	"bytes"
	"mime"
	"net/textproto"
)

// inMultipart looks at the parts of multipart/form-data that are there as a whole, up to the first that holds a token. It finds them as RFC 2046
// writes them, with CR and LF; parts that only a lenient reader would see are none. delimiter is two hyphens and the boundary.
func inMultipart(data []byte, delimiter string, ours func(name, value string) bool) (f fields) {
	f.rest = data
	// A part is from one delimiter to the next, without the line end in front of either.
	at := -1
	if bytes.HasPrefix(data, []byte(delimiter)) && delimits(data[len(delimiter):]) {
		at = 0
	} else if at = next(data, 0, delimiter); at < 0 {
		return f
	}
	for {
		rest := data[at+len(delimiter):]
		if bytes.HasPrefix(rest, []byte("--")) {
			f.done = true // what follows is no part
			return f
		}
		begin := at + len(delimiter) + bytes.Index(rest, []byte("\r\n"))
		end := next(data, begin, delimiter)
		if end < 0 {
			return f
		}
		name, content := contentOf(data[begin : end-len("\r\n")])
		if carries(name) {
			f.put(name, content)
			f.done = true
			if ours(name, content) {
				f.rest = append(bytes.Clone(data[:at]), data[end:]...)
			}
			return f
		}
		at = end
	}
}

// next gives the place of the next delimiter at the beginning of a line; less than zero when there is none, or none that can be told yet.
func next(data []byte, from int, delimiter string) int {
	for {
		i := bytes.Index(data[from:], []byte("\r\n"+delimiter))
		if i < 0 {
			return -1
		}
		if from += i + len("\r\n"); delimits(data[from+len(delimiter):]) {
			return from
		}
	}
}

// delimits reports whether a boundary that has this behind it is a delimiter, and not the beginning of something longer.
func delimits(behind []byte) bool {
	return bytes.HasPrefix(behind, []byte("--")) || bytes.HasPrefix(bytes.TrimLeft(behind, " \t"), []byte("\r\n"))
}

// contentOf gives the name and the content of a part, which begins with the end of the delimiter's line.
func contentOf(part []byte) (name, content string) {
	header, body, ok := bytes.Cut(part, []byte("\r\n\r\n"))
	if !ok {
		return "", ""
	}
	header = bytes.TrimPrefix(header, []byte("\r\n"))
	h, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(bytes.Clone(header), "\r\n\r\n"...)))).ReadMIMEHeader()
	if err != nil {
		return "", ""
	}
	kind, params, err := mime.ParseMediaType(h.Get("Content-Disposition"))
	if err != nil || kind != "form-data" {
		return "", ""
	}
	return params["name"], string(body)
}
