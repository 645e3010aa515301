package partition

import (
	"context"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// direction is one of the two ways through a relay.
type direction int

const (
	toPDP direction = iota
	toSidecar
)

// relay leads connections to a PDP. Each way of each connection can be stalled and delayed by itself, so what goes over different
// connections overtakes, and connections can be cut on one side only.
type relay struct {
	t    *testing.T
	l    net.Listener
	pdp  string
	done sync.WaitGroup

	mu      sync.Mutex
	rnd     *rand.Rand
	pairs   map[*pair]bool
	stalled [2]bool       // of new connections
	delay   time.Duration // the most
	closed  bool
	moved   [2]int64 // bytes
}

// pair is one connection, and the one that it leads to.
type pair struct {
	ends  [2]net.Conn // where what goes to the PDP is written, and to the sidecar
	gates [2]gate
	gone  context.Context
	end   context.CancelFunc
}

// gate holds one way up. The zero gate is open.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // closed when the gate opens; nil while it is open
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case shut && g.shut == nil:
		g.shut = make(chan struct{})
	case !shut && g.shut != nil:
		close(g.shut)
		g.shut = nil
	}
}

// pass waits until the gate is open. It is false when the pair is gone.
func (g *gate) pass(ctx context.Context) bool {
	for {
		g.mu.Lock()
		shut := g.shut
		g.mu.Unlock()
		if shut == nil {
			return ctx.Err() == nil
		}
		select {
		case <-shut:
		case <-ctx.Done():
			return false
		}
	}
}

// startRelay leads to the PDP at a Unix socket. It ends with the test.
func startRelay(t *testing.T, pdp string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{t: t, l: l, pdp: strings.TrimPrefix(pdp, "unix:"), pairs: map[*pair]bool{}, rnd: rand.New(rand.NewPCG(1, 2))}
	r.done.Go(r.accept)
	t.Cleanup(func() {
		r.mu.Lock()
		r.closed = true
		r.mu.Unlock()
		l.Close()
		r.cut()
		r.done.Wait()
	})
	return r
}

func (r *relay) addr() string { return r.l.Addr().String() }

func (r *relay) accept() {
	for {
		c, err := r.l.Accept()
		if err != nil {
			return
		}
		r.done.Go(func() { r.lead(c) })
	}
}

func (r *relay) lead(c net.Conn) {
	p := &pair{}
	p.gone, p.end = context.WithCancel(context.Background())
	p.ends[toSidecar] = c
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		p.end()
		c.Close()
		return
	}
	for way := range p.gates {
		p.gates[way].set(r.stalled[way])
	}
	r.pairs[p] = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.pairs, p)
		r.mu.Unlock()
		c.Close()
	}()
	up, err := net.Dial("unix", r.pdp)
	if err != nil {
		p.end()
		reset(c)
		return
	}
	r.mu.Lock()
	p.ends[toPDP] = up
	r.mu.Unlock()
	stop := context.AfterFunc(p.gone, func() { c.Close(); up.Close() })
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { r.carry(p, toPDP, c, up) })
	wg.Go(func() { r.carry(p, toSidecar, up, c) })
	wg.Wait()
	p.end()
}

// chunk is some bytes and when they are due.
type chunk struct {
	data []byte
	due  time.Time
}

// carry takes one way of a pair. What was read is written in its order, no earlier than it is due and the gate allows.
func (r *relay) carry(p *pair, way direction, from, to net.Conn) {
	chunks := make(chan chunk, 64)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(chunks)
		buf := make([]byte, 32<<10)
		for {
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			r.mu.Lock()
			late := time.Duration(0)
			if r.delay > 0 {
				late = time.Duration(r.rnd.Int64N(int64(r.delay)))
			}
			r.moved[way] += int64(n)
			r.mu.Unlock()
			select {
			case chunks <- chunk{append([]byte(nil), buf[:n]...), time.Now().Add(late)}:
			case <-p.gone.Done():
				return
			}
		}
	})
	for c := range chunks {
		if d := time.Until(c.due); d > 0 {
			select {
			case <-time.After(d):
			case <-p.gone.Done():
			}
		}
		if !p.gates[way].pass(p.gone) {
			break
		}
		if _, err := to.Write(c.data); err != nil {
			break
		}
	}
	// The end travels behind what was sent: a stalled way does not tell of it.
	if p.gates[way].pass(p.gone) {
		if half, ok := to.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
	}
	from.Close()
	for range chunks {
		continue
	}
	wg.Wait()
}

// stall holds up ways, both if none is named, of all connections and of new ones. Nobody is told.
func (r *relay) stall(ways ...direction) {
	if len(ways) == 0 {
		ways = []direction{toPDP, toSidecar}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, way := range ways {
		r.stalled[way] = true
		for p := range r.pairs {
			p.gates[way].set(true)
		}
	}
}

// stallSome holds up ways of some of the connections that there are, so that the others overtake.
func (r *relay) stallSome(rnd *rand.Rand) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.pairs {
		for way := range p.gates {
			p.gates[way].set(rnd.IntN(2) == 0)
		}
	}
}

// heal opens everything and takes the delay away.
func (r *relay) heal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stalled, r.delay = [2]bool{}, 0
	for p := range r.pairs {
		for way := range p.gates {
			p.gates[way].set(false)
		}
	}
}

// slow delays everything by up to so much.
func (r *relay) slow(most time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay = most
}

// cut ends all connections, and both sides are told.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.pairs {
		p.end()
	}
}

// cutPDP ends the PDP's side of all connections. The sidecar's side stands, and nothing comes from it any more.
func (r *relay) cutPDP() {
	r.stall()
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.pairs {
		if up := p.ends[toPDP]; up != nil {
			up.Close()
		}
	}
}

func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}
