//go:build !linux

package child

import (
	"errors"
	"os"
)

// Signals is empty where commands cannot be run.
func Signals() (signals <-chan os.Signal, stop func()) { return nil, func() {} }

// Run runs nothing.
func Run(Config, <-chan os.Signal, <-chan struct{}) (int, error) {
	return ExitCannotRun, errors.New("pdpctl exec needs Linux, where a command can be made to die with it")
}
