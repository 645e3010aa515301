// Package settings reads the settings of a program into one struct, whose tags and comments are the operator's manual: from flags, from the
// environment and from a YAML file, of which the first that has a setting counts.
//
// The struct is written for [github.com/alecthomas/kong] and embedded in that of the program's verbs. Its fields that are flags of the program
// itself are the settings; flags and arguments of a verb are not. A setting named max-timeout is the flag --max-timeout, the variable
// JOBWARD_MAX_TIMEOUT and the line "max-timeout: 24h". The one named config, if there is one, names the file; there is no default place.
// Values from all three go through the same parser. What is set and empty in the environment counts as not set.
//
// What no setting is called is refused, wherever it stands, with the nearest name there is. In the environment that would make the programs of
// this project each other's enemies, since they share a prefix and sometimes a shell or a pod: so every program passes over the variables
// that the others know. Which those are is one table, variables.go, and a test of each program keeps its own row true. A variable that two
// programs know is taken by both: where they have to differ, give each container its own environment.
package settings
