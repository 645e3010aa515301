package telemetry

import (
	"runtime"
	"runtime/debug"
)

// Version tells what was built: the module's version, or the commit, with "+dirty" for changes that are in none; and the Go release.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown " + runtime.Version()
	}
	version := info.Main.Version
	if version == "" {
		version = "(devel)"
	}
	return version + " " + info.GoVersion
}
