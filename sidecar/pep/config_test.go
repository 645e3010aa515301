package pep

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jobward/jobward/internal/identity"
	"github.com/jobward/jobward/internal/lease"
	"github.com/jobward/jobward/pdp/authz"
)

// Doubt at the start is an error that says what to do.
func TestRefusesToStart(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad")
	if err := os.Mkdir(bad, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bad, markFile), []byte(`{"epoch":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := []string{"127.0.0.1:1"}
	for want, cfg := range map[string]Config{
		"where is the PDP":          {},
		"no address":                {Addresses: []string{"pdp"}, Development: true},
		"from other machines":       {Addresses: []string{"10.0.0.1:1"}, Development: true},
		"cannot be less than zero":  {Addresses: at, Development: true, MaxEntries: -1},
		"other times":               {Addresses: at, Development: true, Wait: -1},
		"no behaviour":              {Addresses: at, Development: true, Unavailable: 7},
		"printable ASCII":           {Addresses: at, Development: true, Name: "a b"},
		"goes without TLS":          {Addresses: at, Development: true, KeyFile: key},
		"CA file":                   {Addresses: at, TLS: TLS{CA: filepath.Join(dir, "none")}},
		"both a certificate":        {Addresses: at, TLS: TLS{Cert: "x"}},
		"not a key made by":         {Addresses: at, KeyFile: key},
		"bearer key cannot be read": {Addresses: at, KeyFile: filepath.Join(dir, "none")},
		"remove it if you are sure": {Addresses: at, Development: true, StateDir: bad},
		"state directory":           {Addresses: at, Development: true, StateDir: key},
		"version at most":           {Addresses: at, Development: true, Version: strings.Repeat("x", 200)},
	} {
		d, err := New(cfg)
		if err == nil {
			d.Close(context.Background())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%v tells a secret", err)
		}
	}
}

// TLS and a bearer key are read at the start, and nothing is dialled yet.
func TestStartsWithKey(t *testing.T) {
	text, _ := identity.NewKey()
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dialled := make(chan string, 100)
	d, err := New(Config{
		Addresses: []string{"pdp.example:7420", "unix:/run/pdp"}, KeyFile: key, MaxBackoff: time.Millisecond,
		Dial: func(_ context.Context, a string) (net.Conn, error) {
			select {
			case dialled <- a:
			default:
			}
			return nil, os.ErrNotExist
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for len(seen) < 2 {
		seen[<-dialled] = true
	}
	if !seen["pdp.example:7420"] || !seen["unix:/run/pdp"] {
		t.Errorf("%v", seen)
	}
	if err := d.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := d.Check(context.Background(), ask("j1", 1)); authz.KindOf(err) != authz.KindUnavailable {
		t.Errorf("after Close: %v", err)
	}
}

// Names are looked up here, and each address of a name is an endpoint.
func TestEndpoints(t *testing.T) {
	tr, err := newGRPC(&Config{Addresses: []string{"127.0.0.1:1", "localhost:2", "unix:/x"}, Development: true})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	got, err := tr.Endpoints(context.Background())
	if want := []string{"127.0.0.1:1", "localhost:2", "unix:/x"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	tr.cfg = &Config{Addresses: []string{"no.such.host.invalid:1"}}
	if got, err := tr.Endpoints(context.Background()); err == nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// R13: what was seen is there after a restart, whenever the process died.
func TestMarks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var m marks
	if err := m.open(dir); err != nil {
		t.Fatal(err)
	}
	if m.seen.Epoch != 0 {
		t.Errorf("%v", m.seen)
	}
	mark := lease.Mark{Epoch: 3, ID: [16]byte{1}, Revision: 9, Chain: [16]byte{2}, Seal: []byte("seal")}
	m.note(mark)
	if err := m.write(); err != nil {
		t.Fatal(err)
	}
	// A process that died while it wrote the next one.
	if err := os.WriteFile(filepath.Join(dir, markFile+".new"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	var other marks
	if err := other.open(dir); err == nil {
		t.Error("two share a directory")
	}
	m.lock.Close() // as the kernel does for one that was killed
	if err := other.open(dir); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(other.seen, mark) {
		t.Errorf("%+v, want %+v", other.seen, mark)
	}
	mark.Revision++
	other.note(mark)
	if err := other.close(); err != nil { // writes what is left
		t.Fatal(err)
	}
	if got, err := readMark(filepath.Join(dir, markFile)); err != nil || !reflect.DeepEqual(got, mark) {
		t.Errorf("%+v, %v", got, err)
	}
	if info, err := os.Stat(filepath.Join(dir, markFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}
