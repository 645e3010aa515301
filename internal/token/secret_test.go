package token

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"text/template"
)

// leaks reports whether out has any six bytes of the random part of a token: more than a coincidence, less than the whole.
func leaks(out, text string) bool {
	for i := 6; i+6 <= len(text); i++ {
		if strings.Contains(out, text[i:i+6]) {
			return true
		}
	}
	return false
}

type exported struct {
	N *int
	S Secret
	P *Secret
	M map[string]Secret
	L []Secret
}

type unexported struct {
	n *int
	s Secret
	p *Secret
	m map[string]Secret
	l []Secret
	e any
}

type embedded struct{ Secret }

// forms are the ways a Secret gets into what is printed.
func forms(s Secret) map[string]any {
	n := 1
	m, l := map[string]Secret{"k": s}, []Secret{s}
	return map[string]any{
		"value": s, "pointer": &s, "map": m, "list": l, "array": [1]Secret{s}, "pair": []any{s, &s},
		"exported": exported{&n, s, &s, m, l}, "to exported": &exported{&n, s, &s, m, l},
		"unexported": unexported{&n, s, &s, m, l, s}, "to unexported": &unexported{&n, s, &s, m, l, &s},
		"embedded": embedded{s}, "error": fmt.Errorf("in words: %v, %w", s, errors.New("x")), "method": s.GoString,
	}
}

func TestFmtRedacts(t *testing.T) {
	s := format(t, DefaultPrefix).Mint()
	text := s.Reveal()
	if !leaks("x"+text[10:20], text) {
		t.Fatal("leaks does not see a leak")
	}
	for name, v := range forms(s) {
		for _, flag := range []string{"", "+", "#", "-", " ", "0", "60", ".40", "+60.50"} {
			// Every byte is a verb to fmt, most of them bad ones, and a bad verb prints in ways of its own.
			for verb := byte('!'); verb <= '~'; verb++ {
				if out := fmt.Sprintf("%"+flag+string(verb), v); leaks(out, text) {
					t.Errorf("%s with %%%s%c: %s", name, flag, verb, out)
				}
			}
		}
		if out := fmt.Sprint(v) + fmt.Sprintln(v, v) + fmt.Sprintf("%*.*d", v, v, v); leaks(out, text) {
			t.Errorf("%s: %s", name, out)
		}
	}
	for _, out := range []string{fmt.Sprint(s), fmt.Sprintf("%s|%q|%x|%#v", s, s, s, s), s.String(), s.GoString()} {
		if !strings.Contains(out, "jobt-[REDACTED]") {
			t.Errorf("does not say what it was: %s", out)
		}
	}
	if out := fmt.Sprint(Secret{}); out != "[REDACTED]" || (Secret{}).Reveal() != "" || !(Secret{}).IsZero() {
		t.Errorf("zero Secret prints %q", out)
	}
}

func TestMarshalRedacts(t *testing.T) {
	s := format(t, DefaultPrefix).Mint()
	text := s.Reveal()
	for name, v := range forms(s) {
		out, err := json.Marshal(v)
		if leaks(string(out)+fmt.Sprint(err), text) {
			t.Errorf("json of %s: %s, %v", name, out, err)
		}
		out, err = xml.Marshal(v)
		if leaks(string(out)+fmt.Sprint(err), text) {
			t.Errorf("xml of %s: %s, %v", name, out, err)
		}
		var b bytes.Buffer
		err = gob.NewEncoder(&b).Encode(v)
		if leaks(b.String()+fmt.Sprint(err), text) {
			t.Errorf("gob of %s: %q, %v", name, b.String(), err)
		}
		b.Reset()
		err = template.Must(template.New("").Parse(`{{.}} {{printf "%q %d" . .}}`)).Execute(&b, v)
		if leaks(b.String()+fmt.Sprint(err), text) {
			t.Errorf("template of %s: %s, %v", name, b.String(), err)
		}
	}
	out, _ := json.Marshal(exported{S: s})
	if !strings.Contains(string(out), `"S":"jobt-[REDACTED]"`) {
		t.Errorf("json: %s", out)
	}
	if out, err := s.MarshalText(); string(out) != "jobt-[REDACTED]" || err != nil {
		t.Errorf("MarshalText: %s, %v", out, err)
	}
}

func TestLogRedacts(t *testing.T) {
	s := format(t, DefaultPrefix).Mint()
	var b bytes.Buffer
	for name, v := range forms(s) {
		b.Reset()
		log.New(&b, "", 0).Println(name, v)
		for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
			l := slog.New(h)
			l.Info(fmt.Sprint(v), "v", v, slog.Any("a", v), slog.Group("g", "v", v))
			l.With("v", v).WithGroup("g").Error("x", "v", []any{v})
		}
		if leaks(b.String(), s.Reveal()) {
			t.Errorf("log of %s: %s", name, b.String())
		}
	}
	b.Reset()
	slog.New(slog.NewJSONHandler(&b, nil)).Info("m", "token", s)
	if !strings.Contains(b.String(), `"token":"jobt-[REDACTED]"`) {
		t.Errorf("slog: %s", b.String())
	}
}

// TestPanicRedacts dies in a child: what the runtime prints of a panic can be seen in no other way.
func TestPanicRedacts(t *testing.T) {
	const kind, secret = "JOBWARD_TEST_PANIC", "JOBWARD_TEST_SECRET"
	if k := os.Getenv(kind); k != "" {
		s, err := Parse(os.Getenv(secret))
		if err != nil {
			t.Fatal("the child did not get its secret")
		}
		panic(forms(s)[k])
	}
	s := format(t, DefaultPrefix).Mint()
	for name := range forms(s) {
		child := exec.Command(os.Args[0], "-test.run=^TestPanicRedacts$")
		child.Env = append(os.Environ(), kind+"="+name, secret+"="+s.Reveal(), "GOTRACEBACK=all")
		out, err := child.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "panic: ") || strings.Contains(string(out), "did not get its secret") {
			t.Fatalf("%s: the child did not panic as meant: %v\n%s", name, err, out)
		}
		if leaks(string(out), s.Reveal()) {
			t.Errorf("%s: %s", name, out)
		}
	}
}
