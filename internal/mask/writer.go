package mask

import "io"

// chunk is how much of a write is looked at together.
const chunk = 64 << 10

// Writer masks what is written to it. It must be closed, or the end of the text is lost. It is not safe for concurrent use: whoever writes
// from several goroutines decides about the order himself.
//
// Places are counted in bytes from the beginning of the stream.
type Writer struct {
	set *Set
	to  io.Writer
	err error // of the writer behind, or ErrClosed: nothing works after it

	held []byte // text from base on
	base int
	gone int // everything before has been passed on or masked
	open int // end of the last mask that was passed on: what begins before belongs to it
	out  []byte

	found []span // not passed on yet, in order, without overlaps
	walk  walk
}

// span is text to be masked.
type span struct{ from, to int }

// Write implements io.Writer. On an error, which is that of the writer behind or [ErrClosed], it is not known how much of p
// was passed on, and every later call fails with the same error.
func (w *Writer) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && w.err == nil; {
		n := min(len(rest), chunk)
		w.held = append(w.held, rest[:n]...)
		rest = rest[n:]
		w.seek()
		w.pass(w.pending())
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// Close passes on what was held back; the beginning of a secret of which too much would be seen is masked. It does not close the writer behind.
// A second Close does nothing.
func (w *Writer) Close() error {
	if w.err != nil {
		if w.err == ErrClosed {
			return nil
		}
		return w.err
	}
	end := w.walk.at
	if n := w.set.text.beginning(w.walk.text); n > 0 {
		w.cover(end-int(n), end)
	}
	if n := w.set.base64.beginning(w.walk.base64); n > 0 {
		w.cover(end-w.walk.width(int(n)), end)
	}
	w.pass(end)
	if w.err != nil {
		return w.err
	}
	w.err = ErrClosed
	return nil
}

// seek finds what is to be masked in the held text.
func (w *Writer) seek() {
	k := &w.walk
	end := w.base + len(w.held)
	for {
		for k.at < end && !w.over() {
			w.step(w.held[k.at-w.base])
		}
		if k.at == end {
			return
		}
		at, upTo := w.set.filter.find(w.held, w.pending()-w.base)
		k.begin(w.base+at, w.base+upTo)
	}
}

// cover notes text to be masked. Spans come in the order of their ends.
func (w *Writer) cover(from, to int) {
	for n := len(w.found); n > 0 && w.found[n-1].to > from; n = len(w.found) {
		from = min(from, w.found[n-1].from)
		w.found = w.found[:n-1]
	}
	if from < w.open { // only when no span is left that begins later
		w.open = to
		w.gone = max(w.gone, to)
		return
	}
	w.found = append(w.found, span{from, to})
}

// pass passes on everything before a place at and after which all later spans begin.
func (w *Writer) pass(before int) {
	w.out = w.out[:0]
	done := 0
	for _, s := range w.found {
		if s.from >= before {
			break
		}
		w.out = append(w.out, w.clean(s.from)...)
		w.out = append(w.out, Mask...)
		w.gone, w.open = s.to, s.to
		done++
	}
	w.found = w.found[:copy(w.found, w.found[done:])]
	last := w.clean(before)
	if done == 0 {
		w.put(last)
	} else {
		w.out = append(w.out, last...)
		w.put(w.out)
	}
	w.gone = max(w.gone, before)
	keep := min(w.gone, before) // what is masked already may still be the beginning of more
	w.held = w.held[:copy(w.held, w.held[keep-w.base:])]
	w.base = keep
}

// clean gives the text from what is gone up to a place.
func (w *Writer) clean(to int) []byte {
	if to <= w.gone {
		return nil
	}
	return w.held[w.gone-w.base : to-w.base]
}

func (w *Writer) put(p []byte) {
	if len(p) == 0 || w.err != nil {
		return
	}
	n, err := w.to.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	w.err = err
}
