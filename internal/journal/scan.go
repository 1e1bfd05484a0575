package journal

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// Damage is a stretch of a file that is not what was written.
type Damage struct {
	File   string // path
	Offset int64  // in bytes
	Length int64  // in bytes; 0 if something is missing at Offset
	Reason string
	// Torn is true if nothing valid follows. The last write before a crash looks
	// like that, and was never acknowledged.
	Torn bool

	first  bool // no valid batch is before it, in a file of the present version
	zeroed bool // it is zeros that may have been written ahead
}

// scanned describes the content of a file.
type scanned struct {
	version          byte
	end              int64  // of the last valid batch
	first, next      uint64 // sequence numbers: of the first batch, and after the last
	batches, records int64  // valid ones
	sealed           bool   // the last batch is empty
}

type scanner struct {
	path string
	file *os.File
	size int64
	buf  []byte
}

// scan reads a file from beginning to end. It calls record for every record of a
// valid batch, and damage for every invalid stretch, in order. It stops at an
// error of either.
func scan(path string, record func([]byte) error, damage func(Damage) error) (res scanned, err error) {
	f, err := os.Open(path)
	if err != nil {
		return res, fmt.Errorf("open journal file: %w", err)
	}
	defer func() { _ = f.Close() }() // read only
	info, err := f.Stat()
	if err != nil {
		return res, fmt.Errorf("read journal file: %w", err)
	}
	s := &scanner{path: path, file: f, size: info.Size()}
	pos, err := s.header(&res, damage)
	if err != nil || pos == 0 {
		return res, err
	}
	in := s.from(pos)
	for pos < s.size {
		payload, magic, seq, batchErr := s.batch(in, s.size-pos)
		least := res.next
		if batchErr == nil && res.batches > 0 && seq != res.next {
			batchErr = fmt.Errorf("sequence number is %d, expected %d", seq, res.next)
			if seq > res.next { // the batches before it are missing
				if err := damage(Damage{File: path, Offset: pos, Reason: batchErr.Error()}); err != nil {
					return res, err
				}
				batchErr = nil
			}
		}
		if batchErr != nil {
			at, err := s.find(pos+1, least)
			if err != nil {
				return res, err
			}
			d := Damage{
				File: path, Offset: pos, Length: s.size - pos, Reason: batchErr.Error(), Torn: at < 0,
				first: res.batches == 0 && res.version == version,
			}
			if d.Torn && res.version == version {
				d.zeroed, err = s.zeroed(pos)
				if err != nil {
					return res, err
				}
			}
			if !d.Torn {
				d.Length = at - pos
				d.Reason += fmt.Sprintf(", and acknowledged data follows at byte %d", at)
			}
			if err := damage(d); err != nil || d.Torn {
				return res, err
			}
			pos, in = at, s.from(at)
			// The batches between are reported with this damage.
			_, _, seq, err = s.batch(s.from(at), s.size-at)
			if err == nil {
				res.next = seq
			}
			continue
		}
		if res.batches == 0 {
			res.first = seq
		}
		res.sealed = len(payload) == 0
		pos += batchHeader + int64(len(payload))
		for len(payload) > 0 {
			var r []byte
			r, payload, err = nextRecord(payload, magic)
			if err == nil {
				err = record(r)
			}
			if err != nil {
				return res, fmt.Errorf("replay journal file %s, batch before byte %d: %w", path, pos, err)
			}
			res.records++
		}
		res.batches++
		res.next, res.end = seq+1, pos
	}
	return res, nil
}

// header reads a file's first bytes and returns where the batches begin, or 0 if
// the file's creation was cut short.
func (s *scanner) header(res *scanned, damage func(Damage) error) (int64, error) {
	head := make([]byte, fileHeader)
	if _, err := s.file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("read journal file %s: %w", s.path, err)
	}
	res.version = head[fileHeader-1]
	ours := bytes.Equal(head[:fileHeader-1], fileMagic[:fileHeader-1])
	_, magic, _, err := s.batch(s.from(fileHeader), s.size-fileHeader)
	started := err == nil // scan reports a first batch that is invalid
	fits := magic == batchMagic && res.version == version || magic == batchMagic1 && res.version == 1
	switch {
	case !started && s.size <= emptyFileSize && (!ours || s.size < fileHeader || res.version == version): // crash while creating it
		return 0, damage(Damage{File: s.path, Length: s.size, Reason: "the file's creation was cut short", Torn: true})
	case !started && ours && res.version != 1 && res.version != version:
		return 0, fmt.Errorf("journal file %s has format version %d, this program reads up to %d", s.path, res.version, version)
	case ours && (!started || fits):
		res.end = fileHeader
		return fileHeader, nil
	}
	res.version = version
	return fileHeader, damage(Damage{File: s.path, Length: fileHeader, Reason: "the file does not begin with a journal header"})
}

func (s *scanner) from(pos int64) *bufio.Reader {
	return bufio.NewReaderSize(io.NewSectionReader(s.file, pos, s.size-pos), 256<<10)
}

// batch reads and checks the batch at the start of in, which has left bytes to
// the end of the file. The payload is valid until the next call.
func (s *scanner) batch(in io.Reader, left int64) (payload []byte, magic uint32, seq uint64, err error) {
	if left < batchHeader {
		return nil, 0, 0, errors.New("batch header is cut off")
	}
	var head [batchHeader]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, 0, 0, fmt.Errorf("read batch: %w", err)
	}
	magic = binary.LittleEndian.Uint32(head[:])
	if magic != batchMagic && magic != batchMagic1 {
		return nil, 0, 0, errors.New("no batch starts here")
	}
	size := batchHeader + int64(binary.LittleEndian.Uint32(head[4:]))
	if size > left {
		return nil, 0, 0, fmt.Errorf("batch of %d bytes is cut off at %d", size, left)
	}
	if int64(cap(s.buf)) < size {
		s.buf = make([]byte, size)
	}
	b := s.buf[:size]
	copy(b, head[:])
	if _, err := io.ReadFull(in, b[batchHeader:]); err != nil {
		return nil, 0, 0, fmt.Errorf("read batch: %w", err)
	}
	if checksum(b) != binary.LittleEndian.Uint32(b[16:]) {
		return nil, 0, 0, errors.New("checksum does not match")
	}
	return b[batchHeader:], magic, binary.LittleEndian.Uint64(b[8:]), nil
}

// zeroed reports whether nothing but zeros follows pos, no more than are written ahead.
func (s *scanner) zeroed(pos int64) (bool, error) {
	if s.size-pos > int64(len(zeros)) {
		return false, nil
	}
	rest := make([]byte, s.size-pos)
	if _, err := s.file.ReadAt(rest, pos); err != nil {
		return false, fmt.Errorf("read journal file %s: %w", s.path, err)
	}
	return bytes.Equal(rest, zeros[:len(rest)]), nil
}

// find returns the position of the next valid batch whose sequence number is at
// least the given one, or -1.
func (s *scanner) find(pos int64, least uint64) (int64, error) {
	const common = "osj" // both magic numbers begin with it
	in := s.from(pos)
	for ; s.size-pos >= batchHeader; pos++ {
		peek, err := in.Peek(len(common) + 1)
		if err != nil {
			return 0, fmt.Errorf("read journal file %s: %w", s.path, err)
		}
		if string(peek[:len(common)]) == common {
			if _, _, seq, err := s.batch(io.NewSectionReader(s.file, pos, s.size-pos), s.size-pos); err == nil && seq >= least {
				return pos, nil
			}
		}
		if _, err := in.Discard(1); err != nil {
			return 0, fmt.Errorf("read journal file %s: %w", s.path, err)
		}
	}
	return -1, nil
}
