package model

import (
	"time"

	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// theKey is what every answer rests on and every commit changes, in worlds of several
// replicas.
var theKey = []authz.Key{authz.ProjectKey(1)}

const (
	maxReplicas = 2
	maxLives    = 6 // incarnations, of all replicas
	maxCommits  = 4
)

// cluster is one state of a world of several replicas. What it points to is shared with
// other states until own… has made a copy.
type cluster struct {
	cfg  *ClusterConfig
	tick int
	// head is the newest revision in the store, recs its registry by incarnation, and last
	// the newest incarnation.
	head authz.Revision
	recs [maxLives + 1]record
	last int8
	rs   [maxReplicas]member
	hs   [maxHolders]*holder
	// effective are the revisions whose receipts somebody may have got.
	effective mask
	receipts  [maxCommits + 1]await
	// What may happen still.
	asks, renews, breaks, crashes, stops, fences, joins, puts int8

	ownsR [maxReplicas]bool
	ownsH [maxHolders]bool
	wrong string
}

// record is what the registry has of one incarnation.
type record struct {
	is               standing
	applied, settled authz.Revision
}

type standing uint8

const (
	absent standing = iota
	live
	departed
)

// member is one replica: a process, and what R8 has it remember.
type member struct {
	// g is the real machine. Its head is what the view has applied; nil until the view is
	// loaded. life counts the processes, from 1.
	g    *lease.Grantor
	up   bool
	life int8
	// inc is the incarnation that it believes to be, zero for none; joined when its join
	// has been answered.
	inc    int8
	joined bool
	put    put
	// may and next are puts that succeeded: the newest whose head the view has reached, and
	// the newest.
	may, next window
	// seen is when a departed record was first seen, plus one.
	seen [maxLives + 1]int
	// judged is the lowest revision, plus one, that a question was judged at which came in
	// after the receipt of a later one was effective, and has not been answered.
	judged authz.Revision
	// early is a list that was read too early, for FaultNewcomer, and whether there is one.
	early    [maxLives + 1]bool
	hasEarly bool
	// read is a read of the head under way, for R16, and check one that waits for it.
	read  read
	check check
}

// window is what a put that succeeded brings.
type window struct {
	ok   bool
	sent int            // when it was sent
	need authz.Revision // the head that it read
}

// put is a write of the registration under way.
type put struct {
	stage            stage
	joins            bool
	inc              int8
	at               int
	applied, settled authz.Revision
	head             authz.Revision
	refused          bool
}

type stage uint8

const (
	idle stage = iota
	sent
	stored // applied at the store; the answer is under way
)

// await is the receipt of one revision as its revoker sees the other replicas.
type await struct {
	on     bool
	by     int8
	listed bool
	// at is when it was committed, since when it was listed.
	at, since int
	peers     [maxLives + 1]peer
}

// peer is one incarnation on a receipt.
type peer struct {
	waits bool // it is not settled yet
	// heard is when something last counted as an answer, applied, plus one, when it was
	// first known that it has applied the revision; settled is how far it was.
	heard, applied int
	settled        authz.Revision
}

func (w *cluster) holderNow() lease.Instant {
	return lease.Instant(time.Minute).Add(time.Duration(w.tick) * holderTick)
}

func (w *cluster) grantorNow() lease.Instant {
	return lease.Instant(time.Hour).Add(time.Duration(w.tick) * grantorTick)
}

func (w *cluster) ownG(r int) *lease.Grantor {
	if !w.ownsR[r] && w.rs[r].g != nil {
		w.rs[r].g, w.ownsR[r] = w.rs[r].g.Clone(), true
	}
	return w.rs[r].g
}

func (w *cluster) ownH(i int) *holder {
	if !w.ownsH[i] {
		w.hs[i], w.ownsH[i] = w.hs[i].clone(), true
	}
	return w.hs[i]
}

func (w *cluster) mark(rev authz.Revision) lease.Mark { return lease.Mark{Epoch: 1, Revision: rev} }

// load makes the machine of a process whose view is loaded at a revision. It knows from
// the store what has changed before (L14).
func (w *cluster) load(d *drawn, r int, rev authz.Revision) {
	cfg := lease.GrantorConfig{Term: w.cfg.term(), Head: w.mark(rev), Fault: w.cfg.Grantor, Draw: func() uint64 { return uint64(d.next) }}
	for n := authz.Revision(1); n <= rev; n++ {
		cfg.Recent = append(cfg.Recent, lease.Change{Revision: n, Keys: theKey})
	}
	w.rs[r].g, w.ownsR[r] = lease.NewGrantor(cfg), true
}

func (m *member) view() authz.Revision { return m.g.Head().Revision }

// beginCluster is the first state: the replicas have just registered, and every holder
// has its first lease, of the first.
func beginCluster(cfg *ClusterConfig, d *drawn) *cluster {
	w := &cluster{
		cfg: cfg, asks: int8(cfg.Asks), renews: int8(cfg.Renews), breaks: int8(cfg.Breaks), crashes: int8(cfg.Crashes),
		stops: int8(cfg.Stops), fences: int8(cfg.Fences), joins: int8(cfg.Joins), puts: int8(cfg.Puts),
	}
	for r := range cfg.Replicas {
		if m := &w.rs[r]; !cfg.Late || r < cfg.Replicas-1 {
			w.last++
			m.up, m.life, m.inc, m.joined, m.may = true, 1, w.last, true, window{ok: true}
			w.recs[w.last].is = live
			w.load(d, r, 0)
		}
	}
	for i := range cfg.Holders {
		w.hs[i] = &holder{h: lease.NewHolder(lease.HolderConfig{Fault: cfg.Holder}), hellos: int8(cfg.Hellos) + 1}
		w.ownsH[i] = true
	}
	for i := range cfg.Holders {
		w.hello(i, 0, false)
		w.read(d, i, 0)
		w.pumpAll()
		for len(w.hs[i].streams[0].down) > 0 {
			w.deliver(i, 0)
		}
	}
	w.ownsR, w.ownsH = [maxReplicas]bool{}, [maxHolders]bool{}
	return w
}

// outdated gives a revision of the set after rev: all change the one key.
func (w *cluster) outdated(set mask, rev authz.Revision) (authz.Revision, bool) {
	for n := rev + 1; int(n) <= w.cfg.Commits; n++ {
		if set.has(n) {
			return n, true
		}
	}
	return 0, false
}

// live tells whether a stream's generation is one that a replica knows.
func (w *cluster) live(st *stream) bool {
	if st.gen == 0 || !w.reaches(st) {
		return false
	}
	_, ok := w.rs[st.to].g.Info(st.gen)
	return ok
}

// reaches tells whether the process that a stream goes to is still there.
func (w *cluster) reaches(st *stream) bool {
	m := &w.rs[st.to]
	return m.up && m.g != nil && m.life == st.life
}
