package partition

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	jobwardv1 "github.com/jobward/jobward/gen/jobward/v1"
	"github.com/jobward/jobward/test/etcd"
)

// of is how many there are of each: members of etcd, PDPs and sidecars.
const of = 3

// replicas are three PDPs on an etcd of three members, and three sidecars that know all PDPs. Each has a machine of its own: the members 0 to 2, the
// PDPs 3 to 5, the sidecars 6 to 8. Tests reach PDPs and sidecars by Unix sockets, which no partition touches.
type replicas struct {
	t     *testing.T
	mesh  *mesh
	etcd  *etcd.Cluster
	pdps  []*pdp
	sides []*side
}

func pdpAt(i int) int  { return of + i }
func sideAt(i int) int { return 2*of + i }

var (
	members  = []int{0, 1, 2}
	allPDPs  = []int{pdpAt(0), pdpAt(1), pdpAt(2)}
	allSides = []int{sideAt(0), sideAt(1), sideAt(2)}
)

// except gives all but one.
func except(all []int, not int) (others []int) {
	for _, i := range all {
		if i != not {
			others = append(others, i)
		}
	}
	return others
}

// newReplicas starts them; more are flags of all PDPs.
func newReplicas(t *testing.T, more ...string) *replicas {
	t.Helper()
	m := newMesh(t, 3*of)
	r := &replicas{t: t, mesh: m}
	var hosts, endpoints, addrs []string
	for i := range of {
		hosts = append(hosts, m.ip(i).String())
		endpoints = append(endpoints, fmt.Sprintf("%v:2379", m.ip(i)))
		addrs = append(addrs, fmt.Sprintf("%v:7420", m.ip(pdpAt(i))))
	}
	r.etcd = etcd.Start(t, etcd.Options{Hosts: hosts, Wrap: func(i int) []string { return []string{"nsenter", "--net=" + m.machines[i]} }})
	proofs := newProofs(t, m.ips(allPDPs...)...)
	store := []string{"--store=etcd://" + strings.Join(endpoints, ",") + "/jobward", "--etcd-insecure", "--etcd-timeout=1s", "--replica-fence=1s"}
	for i := range of {
		d := newPDP(t, plant{}, more...)
		d.ns, d.store = m.machines[pdpAt(i)], append(store, fmt.Sprint("--replica-name=pdp-", i), "--peer-address="+addrs[i])
		if i == 0 { // in development mode, which makes the sample world
			d.args = []string{"--grpc-addr=" + d.at + ",127.0.0.1:7420"}
			d.start()
			d.end(t, syscall.SIGTERM)
		}
		d.args = []string{"--grpc-addr=" + d.at + ",0.0.0.0:7420", "--tls-cert-file=" + proofs.file("pdp.pem"), "--tls-key-file=" + proofs.file("pdp.key"),
			"--tls-client-ca-file=" + proofs.file("ca.pem"), "--callers-file=" + proofs.file("callers.yaml"),
			"--peer-cert-file=" + proofs.file("peer.pem"), "--peer-key-file=" + proofs.file("peer.key")}
		d.conn = dial(t, d.at, proofs.hammer)
		d.begin()
		r.pdps = append(r.pdps, d)
	}
	for i := range of {
		r.pdps[i].answers()
		s := newSide(t, fmt.Sprint("side-", i), strings.Join(addrs, ","), plant{}, "--trust-socket-mode", "--pdp-ca-file="+proofs.file("ca.pem"),
			"--pdp-cert-file="+proofs.file("sidecar.pem"), "--pdp-key-file="+proofs.file("sidecar.key"), "--pdp-server-name=localhost")
		s.ns = m.machines[sideAt(i)]
		s.start()
		r.sides = append(r.sides, s)
	}
	return r
}

// hammer asks sidecars and PDPs, and issues and revokes at all PDPs. It does not ask yet.
func (r *replicas) hammer(rnd *rand.Rand) *hammer {
	h := newHammer(r.t, rnd.Uint64(), r.pdps[0], r.sides...)
	h.pdps = r.pdps
	for i, d := range r.pdps {
		h.asked = append(h.asked, door{name: fmt.Sprint("pdp-", i), conns: []*grpc.ClientConn{d.conn}, pdp: true})
	}
	h.shots, h.hits, h.patienceOfReceipts = h.shots[:max(len(h.shots)*3/10, len(h.asked)*3)], append(h.hits, h.hits...), 6*time.Second
	return h
}

// recorder keeps histories of one list, since the hammer wants the other to stay as it is.
func (r *replicas) recorder() *recorder {
	rec := newRecorder(r.t, r.pdps[0], r.sides...)
	rec.pdps, rec.targets, rec.waits = r.pdps, rec.targets[1:], 6*time.Second
	return rec
}

// verdicts asks every sidecar and every PDP once, all at one time.
func (r *replicas) verdicts(token string) (all [2 * of]verdict) {
	var asking sync.WaitGroup
	for i := range all {
		conn := r.conn(i)
		asking.Go(func() { all[i] = r.verdict(conn, token) })
	}
	asking.Wait()
	return all
}

// conn is to a sidecar or, after those, a PDP.
func (r *replicas) conn(i int) *grpc.ClientConn {
	if i < of {
		return r.sides[i].conns[0]
	}
	return r.pdps[i-of].conn
}

func (r *replicas) verdict(conn *grpc.ClientConn, token string) verdict {
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
	defer cancel()
	resp, err := jobwardv1.NewDecisionServiceClient(conn).Check(ctx, question(token, api))
	return judge(resp.GetDecision(), err)
}

// recovers waits until every PDP answers, and every sidecar from its cache, about a fresh job; and until each PDP makes one.
func (r *replicas) recovers(h *hammer) {
	r.t.Helper()
	for i, d := range r.pdps {
		var j *job
		eventually(r.t, fmt.Sprintf("a fresh job at PDP %d", i), func() bool { j = h.issueAt(i); return j != nil }, d.log.Tail)
		j.keep()
		for k, d := range r.pdps {
			eventually(r.t, fmt.Sprintf("an answer of PDP %d about a job of PDP %d", k, i), func() bool { return r.verdict(d.conn, j.token) == allowed }, d.log.Tail)
		}
		if i == of-1 {
			for _, s := range r.sides {
				s.holds(j.token)
			}
		}
	}
}

// lost asks every PDP about every job, when all is over: a job whose Issue returned and that nobody revoked is alive, and one that a call has revoked
// is dead, whatever the receipt said. It gives the number of jobs, and what is not so.
func (r *replicas) lost(h *hammer) (jobs int, wrong []string) {
	var mu sync.Mutex
	var asking sync.WaitGroup
	for i, d := range r.pdps {
		for part := range 4 {
			asking.Go(func() {
				for n := part; n < len(h.jobs); n += 4 {
					j := h.jobs[n]
					v := r.verdict(d.conn, j.token)
					for tries := 0; v == undecided && tries < 20; tries++ {
						time.Sleep(50 * time.Millisecond)
						v = r.verdict(d.conn, j.token)
					}
					want := "either"
					switch calling := j.calling.Load(); {
					case j.acked.Load():
						want = dead.String()
					case calling == 0 || calling == never:
						want = allowed.String()
					}
					if v != dead && v != allowed || want != "either" && want != v.String() {
						mu.Lock()
						wrong = append(wrong, fmt.Sprintf("%s, issued at %v, is %v at PDP %d and should be %s", j.id, time.Duration(j.made), v, i, want))
						mu.Unlock()
					}
				}
			})
		}
	}
	asking.Wait()
	return len(h.jobs), wrong
}
