package badgerstore

import "log/slog"

// Options are the settings of a store. Only Dir is needed.
type Options struct {
	// Dir is the folder of the store. It is made when it is not there. One process at a
	// time can have it.
	Dir string
	// Logger takes what there is to tell; nil is silence.
	Logger *slog.Logger
	// Memtable is the size of the table in memory that Badger fills before it writes a
	// file, in bytes. There can be three at a time. Zero is 32 MiB, the least that takes a
	// batch as large as state.MaxBatchBytes; with less, large batches are refused.
	Memtable int64
	// History is how many changes are kept at least; zero is 10,000, and so is less.
	History int
	// Reserve is the space that is left on the disk, in bytes, beside what Badger may need
	// next; batches that are not urgent are refused when less is free. Zero is 64 MiB,
	// negative is none.
	Reserve int64
	// Ballast is the size of a file that takes space away as long as there is enough, and
	// makes room for urgent batches when there is not. Zero is 64 MiB, negative is none.
	Ballast int64
	// Fault is for tests; see [Fault].
	Fault Fault
	// Free is for tests: it stands in for asking the system what is free on the disk.
	Free func() (int64, error)
}

const (
	defaultMemtable = 32 << 20
	defaultReserve  = 64 << 20
	minHistory      = 10_000
	// valueThreshold is Badger's largest; every value of ours is smaller.
	valueThreshold = 1 << 20
)

func (o *Options) fill() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Memtable == 0 {
		o.Memtable = defaultMemtable
	}
	o.History = max(o.History, minHistory)
	for _, size := range []*int64{&o.Reserve, &o.Ballast} {
		if *size == 0 {
			*size = defaultReserve
		}
		*size = max(*size, 0)
	}
}
