package journal

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// On disk a file is an 8-byte header and then batches:
//
//	magic u32 | payload length u32 | sequence number u64 | CRC-32C u32 | payload
//
// little endian; the checksum covers length, sequence number and payload. The
// payload is records, each a uvarint length and its bytes. A batch is one
// write(2), and the next one is written only after the batch before is
// durable. Hence the rule that tells a torn end from corruption: a batch that
// does not check, with no valid later batch behind it, was never acknowledged;
// with one behind it, it was, and something has damaged it since.
const (
	fileHeader  = 8
	batchHeader = 20
	batchMagic  = 0x426a736f // "osjB"
	maxBatch    = 64 << 20
	version     = 1
)

var (
	fileMagic  = [fileHeader]byte{'o', 's', 'j', 'o', 'u', 'r', 'n', version}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// CorruptError reports damage before the end of a file.
type CorruptError struct {
	File   string
	Offset int64 // of the first batch that does not check
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal file %s is damaged at byte %d: %s; restore it from a backup", e.File, e.Offset, e.Reason)
}

func appendRecord(buf, record []byte) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(record)))
	return append(buf, record...)
}

func sealBatch(b []byte, seq uint64) {
	binary.LittleEndian.PutUint32(b[0:], batchMagic)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-batchHeader))
	binary.LittleEndian.PutUint64(b[8:], seq)
	binary.LittleEndian.PutUint32(b[16:], checksum(b))
}

func checksum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[4:16], castagnoli), castagnoli, b[batchHeader:])
}

// openBatch returns the payload and sequence number of the batch at the start
// of b, and the batch's length.
func openBatch(b []byte) (payload []byte, seq uint64, size int, err error) {
	if len(b) < batchHeader {
		return nil, 0, 0, errors.New("batch header is cut off")
	}
	if binary.LittleEndian.Uint32(b) != batchMagic {
		return nil, 0, 0, errors.New("no batch starts here")
	}
	size = batchHeader + int(binary.LittleEndian.Uint32(b[4:]))
	if size > len(b) {
		return nil, 0, 0, fmt.Errorf("batch of %d bytes is cut off at %d", size, len(b))
	}
	if checksum(b[:size]) != binary.LittleEndian.Uint32(b[16:]) {
		return nil, 0, 0, errors.New("checksum does not match")
	}
	return b[batchHeader:size], binary.LittleEndian.Uint64(b[8:]), size, nil
}

func eachRecord(payload []byte, fn func([]byte) error) error {
	for len(payload) > 0 {
		n, w := binary.Uvarint(payload)
		if w <= 0 || n > uint64(len(payload)-w) {
			return errors.New("record length is wrong inside a batch that checks")
		}
		if err := fn(payload[w : w+int(n)]); err != nil {
			return err
		}
		payload = payload[w+int(n):]
	}
	return nil
}

// scan replays one file and returns where its last good batch ends and the
// sequence number after it. rest is the number of bytes behind that.
func scan(path string, replay func([]byte) error) (end int64, nextSeq uint64, rest int64, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, 0, fmt.Errorf("read journal file: %w", err)
	}
	if len(data) < fileHeader || !bytes.Equal(data[:fileHeader-1], fileMagic[:fileHeader-1]) {
		if len(data) < fileHeader && bytes.HasPrefix(fileMagic[:], data) {
			return 0, 0, int64(len(data)), nil // died while creating the file
		}
		return 0, 0, 0, &CorruptError{File: path, Reason: "it does not begin as a journal file"}
	}
	if v := data[fileHeader-1]; v != version {
		return 0, 0, 0, fmt.Errorf("journal file %s has format version %d, this program reads %d", path, v, version)
	}
	pos, first := fileHeader, true
	for pos < len(data) {
		payload, seq, size, batchErr := openBatch(data[pos:])
		if batchErr == nil && !first && seq != nextSeq {
			batchErr = fmt.Errorf("sequence number is %d, expected %d", seq, nextSeq)
		}
		if batchErr != nil {
			if at := laterBatch(data[pos+1:], nextSeq); at >= 0 {
				return 0, 0, 0, &CorruptError{File: path, Offset: int64(pos),
					Reason: fmt.Sprintf("%v, and acknowledged data follows at byte %d", batchErr, pos+1+at)}
			}
			break
		}
		if err := eachRecord(payload, replay); err != nil {
			return 0, 0, 0, fmt.Errorf("replay journal file %s, batch at byte %d: %w", path, pos, err)
		}
		first, nextSeq = false, seq+1
		pos += size
	}
	return int64(pos), nextSeq, int64(len(data) - pos), nil
}

// laterBatch finds a valid batch in b with a sequence number above seq.
func laterBatch(b []byte, seq uint64) int {
	magic := binary.LittleEndian.AppendUint32(nil, batchMagic)
	for at := 0; ; at++ {
		i := bytes.Index(b[at:], magic)
		if i < 0 {
			return -1
		}
		at += i
		if _, s, _, err := openBatch(b[at:]); err == nil && s > seq {
			return at
		}
	}
}

type journalFile struct {
	name     string
	number   uint64
	snapshot bool
}

func logName(dir string, n uint64) string { return filepath.Join(dir, fmt.Sprintf("log-%016d", n)) }
func snapshotName(dir string, n uint64) string {
	return filepath.Join(dir, fmt.Sprintf("snapshot-%016d", n))
}

func listFiles(dir string) ([]journalFile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list journal: %w", err)
	}
	var files []journalFile
	for _, e := range entries {
		f := journalFile{name: e.Name()}
		kind, digits, _ := strings.Cut(e.Name(), "-")
		if _, err := fmt.Sscanf(digits, "%016d", &f.number); err != nil || strings.HasSuffix(digits, tmpSuffix) {
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

// recover replays the newest snapshot and the logs after it, and opens the
// last log for appending.
func (j *Journal) recover(replay func([]byte) error) error {
	files, err := listFiles(j.dir)
	if err != nil {
		return err
	}
	start := 0
	for i, f := range files {
		if f.snapshot {
			start = i // a snapshot gets its name only when it is complete
		}
	}
	files = files[start:]
	var end int64
	for i, f := range files {
		path := filepath.Join(j.dir, f.name)
		var next uint64
		var rest int64
		end, next, rest, err = scan(path, replay)
		if err != nil {
			return err
		}
		last := i == len(files)-1
		if rest > 0 {
			if f.snapshot || !last {
				return &CorruptError{File: path, Offset: end, Reason: "its end is missing"}
			}
			j.opt.Logger.Warn().Str("file", path).Int64("bytes", rest).
				Msg("cut off a torn end: the last write before a crash, never acknowledged")
		}
		if f.snapshot {
			j.snapBytes = end
		} else {
			j.segment, j.seq = f.number, max(next, j.seq)
			j.logBytes += end
		}
	}
	if j.segment == 0 {
		j.segment = 1
		if n := len(files); n > 0 {
			j.segment = files[n-1].number
		}
		end = 0
	}
	if end < fileHeader {
		f, err := createFile(logName(j.dir, j.segment))
		if err != nil {
			return err
		}
		j.file, j.offset = j.opt.Wrap(f), fileHeader
		return syncDir(j.dir)
	}
	f, err := os.OpenFile(logName(j.dir, j.segment), os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open journal for appending: %w", err)
	}
	j.file, j.offset = j.opt.Wrap(f), end
	if err := errors.Join(j.file.Truncate(end), j.file.Sync()); err != nil {
		return errors.Join(fmt.Errorf("cut off the torn end of %s: %w", j.file.Name(), err), j.file.Close())
	}
	return removeOlder(j.dir, files[0].number)
}

const tmpSuffix = ".tmp"

func writeSnapshot(dir string, n uint64, snapshot func(emit func([]byte) error) error) (size int64, err error) {
	path := snapshotName(dir, n)
	f, err := createFile(path + tmpSuffix)
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	var seq uint64
	buf := make([]byte, batchHeader, 1<<16)
	flush := func() error {
		sealBatch(buf, seq)
		seq++
		_, err := w.Write(buf)
		buf = buf[:batchHeader]
		return err
	}
	err = snapshot(func(record []byte) error {
		buf = appendRecord(buf, record)
		if len(buf) < 1<<16 {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	info, statErr := f.Stat()
	if err = errors.Join(err, statErr, f.Close()); err == nil {
		err = os.Rename(path+tmpSuffix, path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("write snapshot %s: %w", path, err), removeIfThere(path+tmpSuffix))
	}
	return info.Size(), nil
}

func createFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create journal file: %w", err)
	}
	if _, err := f.Write(fileMagic[:]); err != nil {
		return nil, errors.Join(fmt.Errorf("create journal file %s: %w", path, err), f.Close())
	}
	return f, nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes created, renamed and removed names durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open directory to sync it: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
