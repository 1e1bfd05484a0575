package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// journalFile is one file of a journal. A journal consists of snapshot-N, which
// has everything that happened before log-N, and the logs from N on. Without a
// snapshot it consists of the logs from 1 on.
type journalFile struct {
	name     string
	number   uint64
	snapshot bool
}

const tmpSuffix = ".tmp"

// markName is a file that names the newest log, or an earlier one. It is written
// once that log is durable. It separates a lost log from one that never existed,
// and an emptied log from one whose creation was cut short.
const markName = "newest"

// readMark returns the number of the log that the mark names, or 0 without a mark.
func readMark(dir string) (n uint64, err error) {
	b, err := os.ReadFile(filepath.Join(dir, markName))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read journal: %w", err)
	}
	if _, err := fmt.Sscanf(string(b), "log-%016d\n", &n); err != nil || n == 0 {
		return 0, &CorruptError{File: filepath.Join(dir, markName), Reason: "the file names no log"}
	}
	return n, nil
}

func writeMark(fs FS, dir string, n uint64) error {
	path := filepath.Join(dir, markName)
	f, err := fs.Create(path + tmpSuffix)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.WriteAt([]byte(filepath.Base(logName("", n))+"\n"), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fs.Rename(path+tmpSuffix, path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), removeIfThere(fs, path+tmpSuffix))
	}
	return fs.SyncDir(dir)
}

func logName(dir string, n uint64) string { return filepath.Join(dir, fmt.Sprintf("log-%016d", n)) }

func snapshotName(dir string, n uint64) string {
	return filepath.Join(dir, fmt.Sprintf("snapshot-%016d", n))
}

// listFiles returns the files of a journal in the order of replay.
func listFiles(dir string) ([]journalFile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list journal: %w", err)
	}
	var files []journalFile
	for _, e := range entries {
		f := journalFile{name: e.Name()}
		kind, digits, _ := strings.Cut(e.Name(), "-")
		if _, err := fmt.Sscanf(digits, "%016d", &f.number); err != nil || len(digits) != 16 {
			continue
		}
		switch kind {
		case "log":
		case "snapshot":
			f.snapshot = true
		default:
			continue
		}
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b journalFile) int {
		if a.number != b.number {
			return int(a.number) - int(b.number)
		}
		return strings.Compare(b.name, a.name) // snapshot N before log N
	})
	return files, nil
}

// current leaves out the files that a snapshot has replaced. A crash during
// compaction can leave them behind.
func current(files []journalFile) []journalFile {
	start := 0
	for i, f := range files {
		if f.snapshot {
			start = i // a snapshot gets its name only when it is complete
		}
	}
	return files[start:]
}

// createFile creates a file without records and syncs its content, but not its
// name: that takes a SyncDir.
func createFile(fs FS, path string, seq uint64) (File, error) {
	f, err := fs.Create(path)
	if err != nil {
		return nil, fmt.Errorf("create journal file: %w", err)
	}
	_, err = f.WriteAt(emptyFile(seq), 0)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create journal file %s: %w", path, err), f.Close())
	}
	return f, nil
}

// writeSnapshot writes snapshot n under a temporary name and renames it once it
// is durable, so that a snapshot with its final name is always complete.
func writeSnapshot(fs FS, dir string, n uint64, snapshot func(emit func([]byte) error) error) (size int64, err error) {
	path := snapshotName(dir, n)
	f, err := createFile(fs, path+tmpSuffix, 0)
	if err != nil {
		return 0, errors.Join(err, removeIfThere(fs, path+tmpSuffix))
	}
	seq, size, synced := uint64(1), int64(emptyFileSize), int64(0)
	buf := make([]byte, batchHeader, 1<<18)
	flush := func() error {
		sealBatch(buf, seq)
		_, err := f.WriteAt(buf, size)
		size += int64(len(buf))
		seq++
		buf = buf[:batchHeader]
		if err == nil && size-synced > 4<<20 { // the log's fsyncs must not queue behind more
			synced, err = size, f.Sync()
		}
		return err
	}
	err = snapshot(func(record []byte) error {
		buf = appendRecord(buf, record)
		if len(buf) < 1<<17 {
			return nil
		}
		return flush()
	})
	if err == nil && len(buf) > batchHeader {
		err = flush()
	}
	if err == nil {
		err = flush() // the empty batch that marks the end
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fs.Rename(path+tmpSuffix, path)
	}
	if err == nil {
		err = fs.SyncDir(dir)
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("write snapshot %s: %w", path, err), removeIfThere(fs, path+tmpSuffix))
	}
	return size, nil
}

// leftovers returns the names of files that a crash has left behind and that
// nothing reads: unfinished ones, and those that a snapshot has replaced. Nothing
// may be writing to the journal meanwhile.
func leftovers(dir string) (names []string, err error) {
	files, err := listFiles(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files[:len(files)-len(current(files))] {
		names = append(names, f.name)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list journal: %w", err)
	}
	for _, e := range entries {
		if name, unfinished := strings.CutSuffix(e.Name(), tmpSuffix); unfinished && (isSnapshot(name) || name == markName) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// removeLeftovers deletes the leftovers of a journal.
func removeLeftovers(fs FS, dir string) error {
	names, err := leftovers(dir)
	errs := []error{err}
	for _, name := range names {
		errs = append(errs, fs.Remove(filepath.Join(dir, name)))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove compacted files: %w", err)
	}
	return nil
}

func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
