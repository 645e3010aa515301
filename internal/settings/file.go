package settings

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

const maxFile = 1 << 20 // bytes

// readFile reads the YAML file of settings: one mapping of names to plain values or lists of them. The values stay text, for the same parser
// as flags and environment. Errors name file and line.
func (p *Program) readFile(path string, names []string) (map[string]setting, error) {
	fail := func(line int, format string, args ...any) error {
		return fmt.Errorf("line %d of %s: %w", line, path, fmt.Errorf(format, args...))
	}
	data, err := ReadSmall(path)
	if err != nil {
		return nil, fmt.Errorf("settings file: %w", err)
	}
	tree, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, fmt.Errorf("settings file %s: %s", path, yaml.FormatError(err, false, false))
	}
	found := map[string]setting{}
	if len(tree.Docs) == 0 || len(tree.Docs) == 1 && tree.Docs[0].Body == nil {
		return found, nil
	}
	if len(tree.Docs) > 1 {
		return nil, fmt.Errorf("settings file %s: has more than one YAML document", path)
	}
	top, ok := tree.Docs[0].Body.(*ast.MappingNode)
	if !ok {
		return nil, fail(tree.Docs[0].Body.GetToken().Position.Line, `write settings as "name: value", one on each line`)
	}
	var errs []error
	for _, entry := range top.Values {
		line := entry.Key.GetToken().Position.Line
		name := entry.Key.GetToken().Value
		if !slices.Contains(names, name) || name == "config" {
			errs = append(errs, fail(line, "%q is no setting%s", name, p.didYouMean(name, names)))
			continue
		}
		value, err := plain(entry.Value)
		if err != nil {
			errs = append(errs, fail(line, "%s: %w", name, err))
			continue
		}
		found[name] = setting{value, fmt.Sprintf("line %d of %s", line, path)}
	}
	return found, errors.Join(errs...)
}

// plain gives the text of a value: of a list, its elements with commas between them.
func plain(n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, nil // as it was written: 0660 is not the number it may look like
	case *ast.SequenceNode:
		var list []string
		for _, v := range n.Values {
			text, err := plain(v)
			if err != nil {
				return "", err
			}
			list = append(list, text)
		}
		return kong.JoinEscaped(list, ','), nil
	case *ast.NullNode:
		return "", errors.New("has no value; leave the line out to have the default")
	}
	return "", fmt.Errorf("takes a plain value or a list of them, not a YAML %s", n.Type())
}

// ReadSmall reads a file that people write, at most 1 MiB, and nothing endless in its place.
func ReadSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return data, err
}
