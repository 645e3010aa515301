// Command gitlabrunner measures the masker of GitLab's runner for BenchmarkMask: it reads phrases, one in each line of a file, and a text, writes
// the text through the masker as often as it is told, and prints the bytes and the nanoseconds of CPU time that it took.
//
//	gitlabrunner PHRASES TEXT SIZE-OF-WRITES TIMES
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"gitlab.com/gitlab-org/gitlab-runner/common/buildlogger/internal/masker"
)

type discard struct{ io.Writer }

func (discard) Close() error { return nil }

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("usage: gitlabrunner PHRASES TEXT SIZE-OF-WRITES TIMES")
	}
	phrases, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	text, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	size, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	times, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	began, err := cpuTime()
	if err != nil {
		return err
	}
	for range times {
		m := masker.New(discard{io.Discard}, bytes.Fields(phrases))
		for rest := text; len(rest) > 0; {
			n := min(size, len(rest))
			if _, err := m.Write(rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		if err := m.Close(); err != nil {
			return err
		}
	}
	ended, err := cpuTime()
	if err != nil {
		return err
	}
	fmt.Println(len(text)*times, ended-began)
	return nil
}

func cpuTime() (int64, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano(), err
}
