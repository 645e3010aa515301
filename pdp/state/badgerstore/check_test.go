package badgerstore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/jobward/jobward/pdp/authz"
	"github.com/jobward/jobward/pdp/state"
)

// sink takes nothing.
type sink struct{}

func (sink) Reset()                            {}
func (sink) Load(state.Record, authz.Revision) {}
func (sink) Loaded(state.Mark, authz.Stamp)    {}
func (sink) Apply([]state.Change)              {}

// storeToTamper makes a closed store with 20 groups, the history of 25 changes and 5 events.
func storeToTamper(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s, err := Open(context.Background(), Options{Dir: dir, Ballast: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Attach(context.Background(), sink{}); err != nil {
		t.Fatal(err)
	}
	for i := range 25 {
		b := state.Batch{Puts: []state.Record{&state.Group{ID: authz.GroupID(1 + i%20), Name: fmt.Sprint(i)}}}
		if i%5 == 0 {
			b.Events = []state.Event{{Stamp: authz.Stamp(i + 1), Data: []byte("e")}}
		}
		if _, err := s.Commit(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tamper changes a store behind its back, with Badger, so that all files are whole. The head
// is stored again, as every transaction does.
func tamper(t *testing.T, dir string, fn func(txn *badger.Txn, h *head) error) {
	t.Helper()
	db, err := badger.OpenManaged(badger.DefaultOptions(filepath.Join(dir, badgerName)).WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	last := db.MaxVersion()
	txn := db.NewTransactionAt(last, true)
	h := getHead(t, txn)
	if err := fn(txn, &h); err != nil {
		t.Fatal(err)
	}
	if err := txn.Set(headKey(), h.encode(nil)); err != nil {
		t.Fatal(err)
	}
	if err := txn.CommitAt(last+1, nil); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(dir, badgerName, "LOCK"))
}

func getHead(t *testing.T, txn *badger.Txn) (h head) {
	t.Helper()
	item, err := txn.Get(headKey())
	if err != nil {
		t.Fatal(err)
	}
	if err := item.Value(func(v []byte) error { h, err = decodeHead(v); return err }); err != nil {
		t.Fatal(err)
	}
	return h
}

func putGroup(txn *badger.Txn, id authz.GroupID, mod authz.Revision, name string) error {
	g := &state.Group{ID: id, Name: name}
	body := state.AppendRecord(nil, g)
	return txn.Set(appendRecordKey(nil, g.Key()), appendRecord(nil, mod, state.Sum(g.Key(), mod, body), body))
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name string
		fn   func(txn *badger.Txn, h *head) error
		want []string
		// loads says that a PDP can do with it: what is wrong is not what decisions rest on.
		loads bool
	}{
		{"nothing", func(*badger.Txn, *head) error { return nil }, nil, true},
		{"a key of nobody's", func(txn *badger.Txn, _ *head) error { return txn.Set([]byte("zzz"), []byte("x")) }, []string{"none of ours"}, true},
		{"a record gone", func(txn *badger.Txn, _ *head) error { return txn.Delete(appendRecordKey(nil, state.GroupKey(3))) },
			[]string{"group 3 was stored at revision 23 and is missing", "19 records of kind group, and the head counts 20"}, false},
		{"a record too many", func(txn *badger.Txn, _ *head) error { return putGroup(txn, 99, 25, "x") },
			[]string{"group 99 was changed at revision 25, and history does not say so", "21 records"}, false},
		{"an old record", func(txn *badger.Txn, _ *head) error { return putGroup(txn, 3, 3, "2") },
			[]string{"group 3 is as of revision 3, and history says that revision 23 stored another"}, true},
		{"another record", func(txn *badger.Txn, _ *head) error { return putGroup(txn, 3, 23, "other") },
			[]string{"history says that revision 23 stored another"}, true},
		{"a record of the future", func(txn *badger.Txn, _ *head) error { return putGroup(txn, 3, 26, "x") },
			[]string{"changed at revision 26, and the head is at 25"}, false},
		{"a record with a bad sum", func(txn *badger.Txn, _ *head) error {
			return txn.Set(appendRecordKey(nil, state.GroupKey(3)), []byte("nonsense"))
		}, []string{"group 3: its checksum does not fit"}, false},
		{"a record that no one can read", func(txn *badger.Txn, _ *head) error {
			key, body := state.GroupKey(3), []byte{9, 9}
			return txn.Set(appendRecordKey(nil, key), appendRecord(nil, 23, state.Sum(key, 23, body), body))
		}, []string{"encoding version 9"}, false},
		{"a wrong count", func(_ *badger.Txn, h *head) error { h.counts[state.KindUser]++; return nil },
			[]string{"0 records of kind user, and the head counts 1"}, false},
		{"an event of nobody's", func(txn *badger.Txn, _ *head) error {
			key, value, _ := appendPack(nil, []storedEvent{{state.EventID{Stamp: 5, Seq: 99}, 1, nil}})
			return txn.Set(key, value)
		}, []string{"is not where it belongs"}, true},
		{"a bad event", func(txn *badger.Txn, _ *head) error {
			return txn.Set(appendEventKey(nil, state.EventID{Stamp: 1, Seq: 1}), []byte("nonsense"))
		}, []string{"its checksum does not fit"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := storeToTamper(t)
			tamper(t, dir, c.fn)
			expect(t, dir, c.want)
			s, err := Open(context.Background(), Options{Dir: dir, Ballast: -1})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := s.Attach(context.Background(), sink{}); (err == nil) != c.loads {
				t.Errorf("loading: %v", err)
			}
		})
	}
}

// expect checks the report on a store: exactly these problems, and among them each of the
// words.
func expect(t *testing.T, dir string, want []string) {
	t.Helper()
	r, err := Check(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Problems) != len(want) {
		t.Errorf("%d problems, want %d:\n%v", len(r.Problems), len(want), r)
	}
	for _, words := range want {
		if !strings.Contains(r.String(), words) {
			t.Errorf("nothing about %q:\n%v", words, r)
		}
	}
}

// TestOpenRefusesTamperedHistory has files that are all whole, and a history or a head that do
// not hang together: that is seen before Badger opens them.
func TestOpenRefusesTamperedHistory(t *testing.T) {
	for _, c := range []struct {
		name string
		fn   func(txn *badger.Txn, h *head) error
		want string
	}{
		{"a change gone", func(txn *badger.Txn, _ *head) error { return txn.Delete(appendHistoryKey(nil, 7, 0)) },
			"history goes on at revision 8 where 7 belongs"},
		{"the last change gone", func(txn *badger.Txn, _ *head) error { return txn.Delete(appendHistoryKey(nil, 25, 0)) },
			"history ends before revision 25"},
		{"all changes gone", func(txn *badger.Txn, _ *head) error {
			for i := range 25 {
				if err := txn.Delete(appendHistoryKey(nil, authz.Revision(i+1), 0)); err != nil {
					return err
				}
			}
			return nil
		}, "history ends before revision 1"},
		{"another change", func(txn *badger.Txn, _ *head) error {
			c := state.Change{Revision: 7, Actor: "mallory", Keys: []state.Key{state.GroupKey(7)}}
			key := appendHistoryKey(nil, 7, 0)
			return txn.Set(key, seal(key, append(sealed(nil), state.AppendChange(make([]byte, 16), &c, []uint32{1})...)))
		}, "the chain checksum before revision 7 does not fit"},
		{"a bad change", func(txn *badger.Txn, _ *head) error { return txn.Set(appendHistoryKey(nil, 7, 0), []byte("nonsense")) },
			"history at revision 7: its checksum does not fit"},
		{"a head behind", func(_ *badger.Txn, h *head) error { h.mark.Revision = 24; return nil }, "it is at epoch 1 revision 24"},
		{"a head ahead", func(_ *badger.Txn, h *head) error { h.mark.Revision = 26; return nil }, "history ends before revision 26, and the head is at 26"},
		{"another chain", func(_ *badger.Txn, h *head) error { h.mark.Chain[0]++; return nil }, "MARK says that it had come to"},
		{"another epoch", func(_ *badger.Txn, h *head) error { h.mark.Epoch.ID[0]++; return nil }, "belongs to another history"},
		{"another start", func(_ *badger.Txn, h *head) error { h.first = 5; return nil }, "history goes on at revision 1 where 5 belongs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := storeToTamper(t)
			tamper(t, dir, c.fn)
			_, err := Open(context.Background(), Options{Dir: dir, Ballast: -1})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			r, err := Check(context.Background(), dir)
			if err != nil || !strings.Contains(r.String(), c.want) {
				t.Errorf("the report has nothing about %q: %v\n%v", c.want, err, r)
			}
		})
	}
}
