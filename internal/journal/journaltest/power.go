// Package journaltest simulates a disk that loses power, for tests of journals.
package journaltest

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ordersaga/ordersaga/internal/journal"
)

// Power is a journal.FS that writes to the real disk and tracks what would
// survive a power cut: bytes only once their file is synced, names only once
// their directory is. It is stricter than real file systems: unsynced writes may
// survive in part and out of order. It is safe for concurrent use.
type Power struct {
	journal.Disk

	// Also, if not nil, adds to the directory to what a cut leaves of files that are not
	// written through this one. Meanwhile every other method waits.
	Also func(to string) error

	mu     sync.Mutex
	now    map[string]*inode // by path; of directories, nil
	synced map[string]*inode
}

type inode struct {
	synced  []byte
	pending []change
}

// change is a write, or a truncation to offset at.
type change struct {
	at   int64
	data []byte // nil: truncate
}

// NewPower returns a disk on which everything now in root is durable.
func NewPower(root string) (*Power, error) {
	p := &Power{now: map[string]*inode{}}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			p.now[path] = nil
			return err
		}
		b, err := os.ReadFile(path) //nolint:gosec // the directory is the test's own
		p.now[path] = &inode{synced: b}
		return err
	})
	p.synced = maps.Clone(p.now)
	return p, err
}

// Mkdir implements journal.FS.
func (p *Power) Mkdir(dir string) error {
	p.name(dir, nil)
	return p.Disk.Mkdir(dir)
}

func (p *Power) name(path string, n *inode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now[path] = n
}

// Create implements journal.FS.
func (p *Power) Create(path string) (journal.File, error) {
	n := &inode{}
	p.name(path, n)
	f, err := p.Disk.Create(path)
	return &file{File: f, p: p, n: n}, err
}

// Open implements journal.FS.
func (p *Power) Open(path string) (journal.File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, err := p.Disk.Open(path)
	return &file{File: f, p: p, n: p.now[path]}, err
}

// Rename implements journal.FS.
func (p *Power) Rename(from, to string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now[to] = p.now[from]
	delete(p.now, from)
	return p.Disk.Rename(from, to)
}

// Remove implements journal.FS.
func (p *Power) Remove(path string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.now, path)
	return p.Disk.Remove(path)
}

// SyncDir implements journal.FS.
func (p *Power) SyncDir(dir string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for path := range p.synced {
		if _, still := p.now[path]; filepath.Dir(path) == dir && !still {
			delete(p.synced, path)
		}
	}
	for path, n := range p.now {
		if filepath.Dir(path) == dir {
			p.synced[path] = n
		}
	}
	return nil // the real disk keeps its power, so a real sync would gain nothing
}

type file struct {
	journal.File
	p *Power
	n *inode
}

func (f *file) change(c change) {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	f.n.pending = append(f.n.pending, c)
}

// WriteAt implements io.WriterAt.
func (f *file) WriteAt(b []byte, at int64) (int, error) {
	f.change(change{at: at, data: slices.Clone(b)})
	return f.File.WriteAt(b, at)
}

// Truncate implements journal.File.
func (f *file) Truncate(size int64) error {
	f.change(change{at: size})
	return f.File.Truncate(size)
}

// Sync implements journal.File. As with a real one there is time to lose power
// before it is done.
func (f *file) Sync() error {
	time.Sleep(200 * time.Microsecond)
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	for _, c := range f.n.pending {
		f.n.synced = c.apply(f.n.synced)
	}
	f.n.pending = nil
	return nil
}

func (c change) apply(b []byte) []byte {
	if c.data == nil {
		if n := c.at - int64(len(b)); n > 0 {
			return append(b, make([]byte, n)...)
		}
		return b[:c.at]
	}
	if n := c.at + int64(len(c.data)) - int64(len(b)); n > 0 {
		b = append(b, make([]byte, n)...)
	}
	copy(b[c.at:], c.data)
	return b
}

// survivor returns what rng leaves of a file with unsynced writes.
func (n *inode) survivor(rng *rand.Rand) []byte {
	b := slices.Clone(n.synced)
	for _, c := range n.pending {
		switch rng.IntN(4) {
		case 0: // lost
		case 1:
			b = c.apply(b)
		case 2: // torn
			if c.data != nil {
				c.data = c.data[:rng.IntN(len(c.data)+1)]
				b = c.apply(b)
			}
		default: // some sectors, in any order
			const sector = 512
			for from := 0; from < len(c.data); from += sector {
				if rng.IntN(2) == 0 {
					b = change{at: c.at + int64(from), data: c.data[from:min(from+sector, len(c.data))]}.apply(b)
				}
			}
		}
	}
	return b
}

// Cut writes to the directory to what a power cut at this moment could leave of
// root. The disk itself keeps running, so one run can be cut at many moments.
func (p *Power) Cut(rng *rand.Rand, root, to string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	paths := maps.Clone(p.synced)
	maps.Copy(paths, p.now)
	var errs []error
	for _, path := range slices.Sorted(maps.Keys(paths)) { // a directory sorts before its content
		from := p.synced
		if was, is := p.synced[path], p.now[path]; was != is || !both(p.synced, p.now, path) {
			from = []map[string]*inode{p.synced, p.now}[rng.IntN(2)]
		}
		n, there := from[path]
		rel, err := filepath.Rel(root, path)
		if err != nil || !there || rel == "." {
			continue
		}
		if n == nil {
			err = os.Mkdir(filepath.Join(to, rel), 0o700)
		} else if err = os.WriteFile(filepath.Join(to, rel), n.survivor(rng), 0o600); errors.Is(err, fs.ErrNotExist) {
			err = nil // its directory is lost
		}
		errs = append(errs, err)
	}
	if p.Also != nil {
		errs = append(errs, p.Also(to))
	}
	return errors.Join(errs...)
}

func both(a, b map[string]*inode, path string) bool {
	_, inA := a[path]
	_, inB := b[path]
	return inA && inB
}
