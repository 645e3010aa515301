package mask

// minWidth is how many characters of base64 stand between two line breaks at least. Lines are broken at 64 or 76.
const minWidth = 16

// walk is where both automata stand, and what is under way beside them.
type walk struct {
	at    int // next byte
	until int // the walk goes on as long as something that began before is under way

	text   int32
	base64 int32
	chars  int        // of base64, line breaks not counted
	breaks []lineHere // those within what is under way in base64
	cr     bool       // the last byte was a carriage return, which may be half of a line break

	runs [numClasses]run
	// running are the classes whose runs are under way, as bits.
	running uint8
	// edge says that the next character holds the last bits of a phrase in base64.
	edge bool
}

// lineHere is a line break: before which character, and how long.
type lineHere struct{ char, size int }

// run is a row of characters of a class.
type run struct{ from, n int }

// begin goes on at a place for which the filter has said that nothing begins earlier, until all that begins before another is over.
// What has been walked already is not walked again.
func (k *walk) begin(at, until int) {
	if at < k.at {
		k.until = until
		return
	}
	*k = walk{at: at, until: until, breaks: k.breaks[:0]}
}

// pending gives the place at which the earliest thing begins that is not decided.
func (w *Writer) pending() int {
	k := &w.walk
	from := k.at - int(w.set.text.nodes[k.text].depth)
	if k.base64 != 0 {
		from = min(from, k.at-k.width(int(w.set.base64.nodes[k.base64].depth)))
	}
	for c := range numClasses {
		if k.running&(1<<c) != 0 && k.runs[c].n < classes[c].min {
			from = min(from, k.runs[c].from)
		}
	}
	return from
}

// over reports whether nothing is under way that began before until.
func (w *Writer) over() bool {
	k := &w.walk
	return k.running == 0 && !k.edge && w.pending() >= k.until
}

// step takes the next byte.
func (w *Writer) step(c byte) {
	k := &w.walk
	k.at++
	if k.running != 0 {
		w.stepRuns(c)
	}
	if k.edge {
		k.edge = false
		if inBase64.has[c] {
			w.cover(k.at-2, k.at) // it belongs to the mask before it
		}
	}
	k.text = w.set.text.step(k.text, c)
	n := &w.set.text.nodes[k.text]
	if n.out != 0 {
		w.cover(k.at-int(n.out), k.at)
	}
	for class := range numClasses {
		if bit := uint8(1) << class; n.runs&bit != 0 && k.running&bit == 0 {
			k.running |= bit
			k.runs[class] = run{from: k.at}
		}
	}
	k.text = n.live
	w.stepBase64(c)
}

func (w *Writer) stepRuns(c byte) {
	k := &w.walk
	for class, chars := range classes {
		bit := uint8(1) << class
		if k.running&bit == 0 {
			continue
		}
		r := &k.runs[class]
		if !chars.has[c] {
			k.running &^= bit
		} else if r.n++; r.n >= chars.min {
			w.cover(r.from, k.at)
		}
	}
}

func (w *Writer) stepBase64(c byte) {
	k := &w.walk
	size := 1
	if k.cr {
		k.cr = false
		size = 2
		if c != '\n' {
			k.base64 = 0
		}
	}
	if k.base64 != 0 && (c == '\n' || c == '\r') {
		if c == '\r' {
			k.cr = true
		} else {
			w.breakLine(size)
		}
		return
	}
	k.base64 = w.set.base64.step(k.base64, c)
	k.chars++
	n := &w.set.base64.nodes[k.base64]
	if n.out != 0 {
		w.cover(k.at-k.width(int(n.out)), k.at)
		k.edge = n.after
	}
	k.base64 = n.live
	w.forget()
}

// breakLine notes a line break of so many bytes. One that is too near to the last ends what began before that.
func (w *Writer) breakLine(size int) {
	k := &w.walk
	if n := len(k.breaks); n > 0 {
		if since := k.chars - k.breaks[n-1].char; since < minWidth {
			for nodes := w.set.base64.nodes; int(nodes[k.base64].depth) > since; {
				k.base64 = nodes[nodes[k.base64].fail].live
			}
		}
	}
	k.breaks = append(k.breaks, lineHere{k.chars, size})
	w.forget()
}

// forget drops the line breaks before what is under way.
func (w *Writer) forget() {
	k := &w.walk
	if len(k.breaks) == 0 {
		return
	}
	begins := k.chars - int(w.set.base64.nodes[k.base64].depth)
	old := 0
	for old < len(k.breaks) && k.breaks[old].char <= begins {
		old++
	}
	k.breaks = k.breaks[:copy(k.breaks, k.breaks[old:])]
}

// width gives how many bytes the last characters of base64 take, with the line breaks between and after them.
func (k *walk) width(chars int) int {
	n := chars
	if k.cr {
		n++
	}
	for i := len(k.breaks) - 1; i >= 0 && k.breaks[i].char > k.chars-chars; i-- {
		n += k.breaks[i].size
	}
	return n
}
