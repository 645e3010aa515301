package mask

// automaton is an Aho-Corasick automaton. Most of its nodes have one child, which they keep themselves; the others have a table.
type automaton struct {
	nodes  []node
	tables [][256]int32 // children of nodes with more than one, and of the root; 0 is none
}

// node stands for a text that patterns begin with.
type node struct {
	fail  int32 // the longest proper end of the text that is a node
	live  int32 // this node, or the longest end of its text, that can still become a longer pattern
	child int32 // the only child; 0 is none; -n is the n-th table
	depth int32 // length of the text
	out   int32 // length of the longest whole pattern that ends here; 0 is none
	least int32 // length of the shortest phrase's form that begins with the text; 0 is none
	char  byte  // leads to the only child
	runs  uint8 // the classes whose runs begin here, as bits
	after bool  // a pattern ends here whose last bits are in the next character
}

func newAutomaton() *automaton {
	return &automaton{nodes: []node{{child: -1}}, tables: make([][256]int32, 1)}
}

// add adds a pattern and gives its node, whose marks the caller sets. Whole patterns say how long they are on the way.
func (a *automaton) add(text string, whole bool) *node {
	at := int32(0)
	for i := range len(text) {
		next := a.child(at, text[i])
		if next == 0 {
			next = int32(len(a.nodes))
			a.nodes = append(a.nodes, node{depth: int32(i + 1)})
			a.link(at, text[i], next)
		}
		at = next
		if n := &a.nodes[at]; whole && (n.least == 0 || n.least > int32(len(text))) {
			n.least = int32(len(text))
		}
	}
	n := &a.nodes[at]
	if whole {
		n.out = n.depth
	}
	return n
}

func (a *automaton) child(at int32, c byte) int32 {
	n := &a.nodes[at]
	switch {
	case n.child < 0:
		return a.tables[-n.child-1][c]
	case n.char == c:
		return n.child
	}
	return 0
}

func (a *automaton) link(at int32, c byte, to int32) {
	n := &a.nodes[at]
	if n.child == 0 {
		n.child, n.char = to, c
		return
	}
	if n.child > 0 {
		var table [256]int32
		table[n.char] = n.child
		a.tables = append(a.tables, table)
		n.child = -int32(len(a.tables))
	}
	a.tables[-n.child-1][c] = to
}

// finish makes the links back. What ends at the end of a node's text ends at the node.
func (a *automaton) finish() {
	queue := make([]int32, 1, len(a.nodes))
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		a.children(at, func(c byte, to int32) {
			n := &a.nodes[to]
			if at != 0 {
				n.fail = a.step(a.nodes[at].fail, c)
			}
			end := a.nodes[n.fail]
			n.out, n.runs, n.after = max(n.out, end.out), n.runs|end.runs, n.after || end.after
			n.live = end.live
			if n.child != 0 {
				n.live = to
			}
			queue = append(queue, to)
		})
	}
}

func (a *automaton) children(at int32, fn func(byte, int32)) {
	switch n := a.nodes[at]; {
	case n.child > 0:
		fn(n.char, n.child)
	case n.child < 0:
		for c, to := range a.tables[-n.child-1] {
			if to != 0 {
				fn(byte(c), to)
			}
		}
	}
}

// step gives the longest end of the node's text and c that is a node. Over a stream it takes constant time for each byte, on average.
func (a *automaton) step(at int32, c byte) int32 {
	for {
		if to := a.child(at, c); to != 0 || at == 0 {
			return to
		}
		at = a.nodes[at].fail
	}
}

// beginning gives how much of the end of the text is the beginning of a phrase's form, long enough to be masked when nothing more comes.
func (a *automaton) beginning(at int32) int32 {
	for ; at != 0; at = a.nodes[at].fail {
		n := &a.nodes[at]
		if n.least != 0 && n.depth >= tooMuch(n.least) {
			return n.depth
		}
	}
	return 0
}

// tooMuch is how many bytes of a secret's beginning may not be shown when nothing more comes: half of them or 8, but at least 4.
func tooMuch(length int32) int32 { return min(max((length+1)/2, 4), 8) }
