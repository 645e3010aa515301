//go:build !unix

package cli

import (
	"os"
	"os/exec"
)

var freezeSignal, goOnSignal os.Signal

func dieWithParent(*exec.Cmd) {}
