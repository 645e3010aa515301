//go:build linux

package exec

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jobward/jobward/test/files"
	"github.com/jobward/jobward/test/programs"
)

// filter runs pdpctl mask over an input.
func filter(t *testing.T, dir string, env []string, input string, args ...string) (code int, out, errs string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(dir, "pdpctl"), append([]string{"mask"}, args...)...)
	var o, e strings.Builder
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, programs.Environ(env...), strings.NewReader(input), &o, &e
	cmd.Run() // the exit code is in ProcessState
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

func TestMask(t *testing.T) {
	dir := programs.Dir(t, "pdpctl")
	files.Write(t, filepath.Join(dir, "good"), "first-secret\n\n  second secret \nx\n", 0o600)
	files.Write(t, filepath.Join(dir, "open"), "first-secret\n", 0o604)
	files.Write(t, filepath.Join(dir, "shared"), "first-secret\n", 0o660)
	files.Write(t, filepath.Join(dir, "large"), strings.Repeat("0123456789abcdef\n", 100_000), 0o600)
	for _, c := range []struct {
		args, in, out string
		code          int
		says          string
	}{
		{"", "a jobt-1ABCDEFGHIJKLMNOPQRSTUVWXYZ046dUxH b\nno end", "a jobt-1[MASKED] b\nno end", 0, ""},
		{"--mask-env DEPLOY_KEY --mask-env UNSET", "k: deploy-key-1 and ZGVwbG95LWtleS0x", "k: [MASKED] and [MASKED]", 0, ""},
		{"--mask-file good", "first-secret, second%20secret, x", "[MASKED], [MASKED], x", 0, "1 secrets are not masked"},
		{"--mask-file good --line-buffered", "first-secret\nrest", "[MASKED]\nrest", 0, "1 secrets"},
		{"--token-prefix corp-", "corp-1abcdefghijklmnop.", "corp-1[MASKED].", 0, ""},
		{"--mask-file open", "x", "", 2, "mode 0604"},
		{"--mask-file shared", "x", "", 2, "mode 0660"},
		{"--mask-file missing", "x", "", 2, "missing"},
		{"--mask-file large", "x", "", 2, "more than"},
		{"--token-prefix -x-", "x", "", 2, "prefix"},
		{"word", "x", "", 2, "word"},
	} {
		code, out, errs := filter(t, dir, []string{"DEPLOY_KEY=deploy-key-1"}, c.in, strings.Fields(c.args)...)
		if code != c.code || out != c.out || !strings.Contains(errs, c.says) || c.says == "" && errs != "" || strings.Contains(errs, "first-secret") {
			t.Errorf("mask %s: code %d, %q, %q; want %d, %q, %q", c.args, code, out, errs, c.code, c.out, c.says)
		}
	}
}

// TestMaskAtOnce: what cannot begin a secret comes without waiting for more, and with --line-buffered only whole lines come.
func TestMaskAtOnce(t *testing.T) {
	dir := programs.Dir(t, "pdpctl")
	for _, lines := range []bool{false, true} {
		cmd := exec.Command(filepath.Join(dir, "pdpctl"), "mask")
		if lines {
			cmd.Args = append(cmd.Args, "--line-buffered")
		}
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		io.WriteString(in, "one\nname: ")
		want := "one\nname: "
		if lines {
			want = "one\n"
		}
		r := bufio.NewReader(out)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != want || r.Buffered() > 0 {
			t.Errorf("%q %v, %d more", got, err, r.Buffered())
		}
		in.Close()
		rest, _ := io.ReadAll(r)
		if string(got)+string(rest) != "one\nname: " {
			t.Errorf("%q", rest)
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}

// TestMaskEnds: as a filter ends when nobody reads it, and by a signal when its input does not end.
func TestMaskEnds(t *testing.T) {
	dir := programs.Dir(t, "pdpctl")
	start := func() (*exec.Cmd, io.WriteCloser, *os.File) {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(filepath.Join(dir, "pdpctl"), "mask")
		cmd.Stdout = write
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		write.Close()
		return cmd, in, read
	}
	cmd, in, out := start()
	out.Close()
	for {
		if _, err := io.WriteString(in, "more\n"); err != nil {
			break
		}
	}
	cmd.Wait()
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != syscall.SIGPIPE {
		t.Errorf("it ended with %v", cmd.ProcessState)
	}
	cmd, in, out = start()
	defer in.Close()
	defer out.Close()
	io.WriteString(in, "the last words")
	got := make([]byte, len("the last words"))
	if _, err := io.ReadFull(out, got); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 2 {
		t.Errorf("it ended with %v", cmd.ProcessState)
	}
}
