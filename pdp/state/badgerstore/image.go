package badgerstore

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"syscall"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/skl"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"golang.org/x/sync/errgroup"
)

// image is a Badger folder read without Badger and without changing it: the tables that
// the MANIFEST lists, every block of them checked, and the write-ahead files. Opening a
// store looks at one first, because Badger repairs without a word: it drops what follows
// damage, takes a missing file for an empty one, and deletes tables that it finds no mention
// of. The fsck is made of one, so that it shares no code with what it checks.
type image struct {
	tables []*table.Table
	wals   []wal
	// last is the version of the newest transaction, zero when there is none.
	last uint64
	// arena is the most memory that replaying one write-ahead file takes.
	arena int64
	// logs is what the write-ahead files hold.
	logs int64
	// empty lists files of no length, left by a crash between making or clearing a file and
	// what follows. Badger does not open a store that has one.
	empty []string
	// bytes is what the tables take on disk.
	bytes int64

	mapped [][]byte
}

// ours matches every name that Badger gives to a file. A name that is not one of these was
// put there by somebody or by a newer Badger.
var ours = regexp.MustCompile(`^(?:(\d{5,})\.mem|(\d{6,})\.sst|(\d{6,})\.vlog|MANIFEST|MANIFEST-REWRITE|KEYREGISTRY|REWRITE-KEYREGISTRY|DISCARD|LOCK)$`)

// openImage reads the folder dir. A folder that is not there or has no MANIFEST gives a nil
// image when there are no tables or logs either. The caller closes the image.
func openImage(dir string) (im *image, err error) {
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var tables, wals, values []string
	manifest := false
	for _, f := range files {
		m := ours.FindStringSubmatch(f.Name())
		switch {
		case m == nil || !f.Type().IsRegular():
			return nil, fmt.Errorf("%s is none of Badger's files", f.Name())
		case m[1] != "":
			wals = append(wals, f.Name())
		case m[2] != "":
			tables = append(tables, f.Name())
		case m[3] != "":
			values = append(values, f.Name())
		case f.Name() == badger.ManifestFilename:
			manifest = true
		}
	}
	if !manifest {
		if len(tables)+len(wals) > 0 {
			return nil, errors.New("the MANIFEST is missing; without it the tables beside it would be deleted")
		}
		return nil, nil
	}
	im = new(image)
	defer func() {
		if err != nil {
			im.close()
		}
	}()
	if err := im.readTables(dir, tables); err != nil {
		return nil, err
	}
	if err := im.readWALs(dir, wals); err != nil {
		return nil, err
	}
	if err := im.readValues(dir, values); err != nil {
		return nil, err
	}
	if _, err := badger.OpenKeyRegistry(badger.KeyRegistryOptions{Dir: dir, ReadOnly: true}); err != nil {
		return nil, fmt.Errorf("KEYREGISTRY: %w", err)
	}
	return im, nil
}

// readTables opens the tables of the MANIFEST. Files that it does not list are left over
// from a flush or compaction cut short, and Badger deletes them.
func (im *image) readTables(dir string, files []string) error {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if err != nil {
		return err
	}
	defer f.Close()
	manifest, _, err := badger.ReplayManifestFile(f, 0, badger.Options{})
	if err != nil {
		return fmt.Errorf("MANIFEST: %w", err)
	}
	ids := make([]uint64, 0, len(manifest.Tables))
	for id, t := range manifest.Tables {
		name := table.IDToFilename(id)
		if !slices.Contains(files, name) {
			return fmt.Errorf("%s is missing; the MANIFEST lists it", name)
		}
		if t.KeyID != 0 {
			return fmt.Errorf("%s is encrypted, which nothing of ours does", name)
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	im.tables = make([]*table.Table, len(ids))
	im.mapped = make([][]byte, len(ids))
	var group errgroup.Group
	group.SetLimit(2)
	for i, id := range ids {
		group.Go(func() (err error) {
			name := table.IDToFilename(id)
			if im.mapped[i], err = mapFile(filepath.Join(dir, name)); err != nil {
				return err
			}
			im.tables[i], err = openTable(im.mapped[i], id, manifest.Tables[id].Compression)
			if err != nil {
				return fmt.Errorf("%s is damaged: %w", name, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, t := range im.tables {
		im.last = max(im.last, t.MaxVersion())
		im.bytes += t.Size()
	}
	return nil
}

// openTable checks every block of a table. Badger's own code for that panics on some
// damage, and does so inside Open in a goroutine where nobody can catch it. A disk that cannot
// read is a fault of memory, since the file is mapped: here that can be caught too.
func openTable(data []byte, id uint64, compression options.CompressionType) (t *table.Table, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it cannot be read: %v", p)
		}
	}()
	if len(data) == 0 {
		return nil, errors.New("it is empty")
	}
	opts := &table.Options{Compression: compression, BlockSize: 4096, ReadOnly: true}
	if t, err = table.OpenInMemoryTable(data, id, opts); err != nil {
		return nil, err
	}
	return t, t.VerifyChecksum()
}

// readWALs reads the write-ahead files in order. Versions are dense over tables and files,
// since one goroutine makes all transactions, so that a file or table lost in between shows.
func (im *image) readWALs(dir string, files []string) error {
	number := func(name string) int {
		n, _ := strconv.Atoi(name[:len(name)-len(".mem")])
		return n
	}
	slices.SortFunc(files, func(a, b string) int { return cmp.Compare(number(a), number(b)) })
	torn := "" // The last file with something after its end.
	for _, name := range files {
		data, err := readSparse(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if len(data) < walHeader {
			im.empty = append(im.empty, name)
			continue
		}
		w, err := readWAL(data)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if torn != "" && w.last > 0 {
			return fmt.Errorf("%s is damaged: it ends in the middle of a transaction, and %s goes on after it", torn, name)
		}
		if w.torn {
			torn = name
		}
		if w.last == 0 {
			continue
		}
		if w.first > im.last+1 {
			return fmt.Errorf("transactions %d to %d are missing before %s: a file is lost or cut", im.last+1, w.first-1, name)
		}
		im.last = max(im.last, w.last)
		im.arena = max(im.arena, w.arena)
		im.logs += w.arena
		im.wals = append(im.wals, w)
	}
	return nil
}

// readValues looks at the files of the value log, which hold nothing: all our values are
// small enough to stay with their keys.
func (im *image) readValues(dir string, files []string) error {
	for _, name := range files {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if len(data) < walHeader {
			im.empty = append(im.empty, name)
		} else if binary.BigEndian.Uint64(data) != 0 || !zeros(data[walHeader:]) {
			return fmt.Errorf("%s is not empty: it is damaged, or was not written by this program", name)
		}
	}
	return nil
}

// scan calls fn with the newest version of every key that begins with prefix, in order,
// until it fails. Key and value are good until fn returns.
func (im *image) scan(prefix []byte, fn func(key, value []byte, version uint64) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("reading the tables failed: %v", p)
		}
	}()
	var sources []y.Iterator
	for _, w := range im.wals {
		list := skl.NewSkiplist(w.arena + 1<<20)
		for _, e := range w.entries {
			list.Put(y.KeyWithTs(e.key, e.version), y.ValueStruct{Meta: e.meta, Value: e.value})
		}
		sources = append(sources, list.NewUniIterator(false))
	}
	for _, t := range im.tables {
		sources = append(sources, t.NewIterator(table.NOCACHE))
	}
	if len(sources) == 0 {
		return nil
	}
	it := table.NewMergeIterator(sources, false)
	defer it.Close()
	var last []byte
	for it.Seek(y.KeyWithTs(prefix, math.MaxUint64)); it.Valid(); it.Next() {
		key := y.ParseKey(it.Key())
		if len(key) < len(prefix) || string(key[:len(prefix)]) != string(prefix) {
			break
		}
		if last != nil && string(last) == string(key) {
			continue // An older version.
		}
		last = append(last[:0], key...)
		switch v := it.Value(); {
		case v.Meta&metaPointer != 0:
			return fmt.Errorf("key %x has its value in the value log, where nothing of ours is", key)
		case v.Meta&metaDelete == 0:
			if err := fn(key, v.Value, y.ParseTs(it.Key())); err != nil {
				return err
			}
		}
	}
	return nil
}

// head reads the head record; ok is false in a store that has none yet.
func (im *image) head() (h head, ok bool, err error) {
	err = im.scan(headKey(), func(_, value []byte, version uint64) error {
		if version != im.last {
			return fmt.Errorf("the head record is of transaction %d, and the newest is %d: a file is lost or cut", version, im.last)
		}
		ok = true
		h, err = decodeHead(value)
		return err
	})
	return h, ok, err
}

// checkHistory follows the chain through all the history kept.
func (im *image) checkHistory(cc *chainChecker) error {
	var first, pack = cc.head.first, []byte(nil)
	chunks := 0
	flush := func() error {
		if chunks == 0 {
			return nil
		}
		err := cc.pack(first, chunks, pack)
		pack, chunks = pack[:0], 0
		return err
	}
	err := im.scan([]byte{prefixHistory}, func(key, value []byte, _ uint64) error {
		rev, chunk, ok := parseHistoryKey(key)
		if !ok {
			return fmt.Errorf("key %x is no key of history", key)
		}
		part, err := unseal(key, value)
		if err != nil {
			return fmt.Errorf("history at revision %d: %w", rev, err)
		}
		if chunk == 0 {
			if err := flush(); err != nil {
				return err
			}
			first = rev
		}
		if rev != first || chunk != chunks {
			return fmt.Errorf("part %d of the history at revision %d is missing", chunks, first)
		}
		pack, chunks = append(pack, part...), chunks+1
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err == nil {
		err = cc.done()
	}
	return err
}

// close lets go of the files. Nothing that came from the image may be used after it.
func (im *image) close() {
	if im == nil {
		return
	}
	for _, b := range im.mapped {
		if b != nil {
			syscall.Munmap(b)
		}
	}
	im.mapped, im.tables, im.wals = nil, nil, nil
}

// readSparse reads a file that is made as long as it can become and written from its start:
// what the file system has not given it yet is zeros, and is left out. Mapping it would be
// wrong: on a full disk some file systems cannot even read a hole through a map.
func readSparse(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	if hole := holeAt(f); hole > 0 {
		size = min(size, hole)
	}
	data := make([]byte, size)
	_, err = f.ReadAt(data, 0)
	return data, err
}

// mapFile gives the bytes of a file, to be unmapped by whoever got them; nil for an empty
// one.
func mapFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return nil, err
	}
	return syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
}
