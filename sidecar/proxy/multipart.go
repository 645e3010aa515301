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
	at := 0 // of the delimiter in front of a part
	if !bytes.HasPrefix(data, []byte(delimiter)) {
		if at = bytes.Index(data, []byte("\r\n"+delimiter)); at < 0 {
			return f
		}
		at += 2
	}
	for {
		begin, end, last, ok := part(data, at, delimiter)
		if last {
			f.done = true // what follows is no part
		}
		if !ok {
			return f
		}
		name, content := contentOf(data[begin:end])
		if carries(name) {
			f.put(name, content)
			f.done = true
			if ours(name, content) {
				f.rest = append(bytes.Clone(data[:at]), data[end+len("\r\n"):]...)
				return f
			}
			return f
		}
		at = end + len("\r\n")
	}
}

// part gives the place of the part behind the delimiter at data[at:], header and content. ok is false when it is not there as a whole, last when the
// delimiter is the last one.
func part(data []byte, at int, delimiter string) (begin, end int, last, ok bool) {
	begin = at + len(delimiter)
	rest := data[begin:]
	if bytes.HasPrefix(rest, []byte("--")) {
		return 0, 0, true, false
	}
	line := bytes.Index(rest, []byte("\r\n"))
	if line < 0 || len(bytes.Trim(rest[:line], " \t")) > 0 {
		return 0, 0, false, false
	}
	length := bytes.Index(rest[line:], []byte("\r\n"+delimiter))
	if length < 0 {
		return 0, 0, false, false
	}
	return begin + line + 2, begin + line + length, false, begin+line+2 <= begin+line+length
}

// contentOf gives the name and the content of a part.
func contentOf(part []byte) (name, content string) {
	header, body, ok := bytes.Cut(part, []byte("\r\n\r\n"))
	if !ok {
		return "", ""
	}
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
