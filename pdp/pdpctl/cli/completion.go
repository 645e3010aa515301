package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Run prints a script that completes verbs and flags. It is made from the tree of verbs, so it knows them all.
func (c *completionCmd) Run(s *session) error {
	words := map[string][]string{}
	collect(words, "", s.kong.Model.Node)
	switch c.Shell {
	case "fish":
		fmt.Fprintln(s.out, "# pdpctl completion fish | source")
		for _, path := range slices.Sorted(maps.Keys(words)) {
			for _, w := range words[path] {
				fmt.Fprintf(s.out, "complete -c pdpctl -f -n '__pdpctl_at \"%s\"' -a '%s'\n", path, w)
			}
		}
		fmt.Fprintln(s.out, `function __pdpctl_at
    set -l verbs (string match -v -- '-*' (commandline -opc)[2..-1])
    test (string join ' ' $verbs) = "$argv[1]"
end`)
		return nil
	case "zsh":
		fmt.Fprintln(s.out, "# source <(pdpctl completion zsh)\nautoload -U +X bashcompinit && bashcompinit")
	default:
		fmt.Fprintln(s.out, "# source <(pdpctl completion bash)")
	}
	fmt.Fprintln(s.out, "_pdpctl() {\n  local at='' w\n  for w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n    case $w in -*) ;; *) at=\"${at:+$at }$w\" ;; esac\n  done\n  case $at in")
	for _, path := range slices.Sorted(maps.Keys(words)) {
		fmt.Fprintf(s.out, "    '%s') w='%s' ;;\n", path, strings.Join(words[path], " "))
	}
	fmt.Fprintln(s.out, "    *) w='' ;;\n  esac\n  COMPREPLY=($(compgen -W \"$w\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\ncomplete -o default -F _pdpctl pdpctl")
	return nil
}

// collect notes for each path of verbs which verbs and flags can follow.
func collect(words map[string][]string, path string, n *kong.Node) {
	var here []string
	for _, child := range n.Children {
		here = append(here, child.Name)
		collect(words, strings.TrimSpace(path+" "+child.Name), child)
	}
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			here = append(here, "--"+f.Name)
		}
	}
	words[path] = here
}
