package cli

import (
	"os"
	"os/exec"
	"syscall"
)

// freezeSignal stops a process that cannot do anything about it, and goOnSignal lets it go on.
var freezeSignal, goOnSignal os.Signal = syscall.SIGSTOP, syscall.SIGCONT

// dieWithParent has the child killed when the thread that starts it ends, so also when this process is killed. The caller keeps its thread.
func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
