package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A file is an 8-byte header followed by batches:
//
//	magic u32 | payload length u32 | sequence number u64 | CRC-32C u32 | payload
//
// little endian; the checksum covers length, sequence number and payload. The
// payload is records:
//
//	length uvarint | CRC-32C u32, seeded with the magic number | bytes
//
// A batch is one write(2), and the next one is written only after the batch
// before is durable. This rule separates a torn end from corruption. An invalid
// batch with no valid batch after it was never acknowledged. An invalid batch
// with a valid one after it was acknowledged, and has been damaged since. For
// that case each record has its own checksum: the rest of a damaged batch can
// be saved.
//
// After the last batch of a log there may be up to a mebibyte of zeros, which the next
// batches replace.
//
// Every file begins with an empty batch, so that its place in the sequence can
// be checked. A snapshot also ends with one, so that a missing end is detected.
//
// Version 1 had neither the empty batches nor the records' checksums. It is
// still read, and replaced by the first compaction.
const (
	fileHeader    = 8
	batchHeader   = 20
	batchMagic1   = 0x426a736f // "osjB"
	batchMagic    = 0x436a736f // "osjC"
	maxBatch      = 64 << 20
	version       = 2
	emptyFileSize = fileHeader + batchHeader // length of a file without records
)

var (
	fileMagic  = [fileHeader]byte{'o', 's', 'j', 'o', 'u', 'r', 'n', version}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// CorruptError reports damage before the end of a file: acknowledged data is
// lost or unreadable.
type CorruptError struct {
	File   string // path
	Offset int64  // of the first invalid batch, in bytes
	Reason string
}

// Error implements error.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal file %s is damaged at byte %d: %s; restore it from a backup", e.File, e.Offset, e.Reason)
}

func appendRecord(buf, record []byte) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(record)))
	buf = binary.LittleEndian.AppendUint32(buf, recordChecksum(record))
	return append(buf, record...)
}

// recordChecksum is seeded with the magic number. With the usual seed, runs of
// zeros and 0xffffffff 0xffffffff would be valid records, and protobuf and holes
// in files are full of those.
func recordChecksum(record []byte) uint32 {
	return crc32.Update(batchMagic, castagnoli, record)
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

// emptyFile returns the content of a file without records.
func emptyFile(seq uint64) []byte {
	b := make([]byte, emptyFileSize)
	copy(b, fileMagic[:])
	sealBatch(b[fileHeader:], seq)
	return b
}

// nextRecord splits the first record off the payload of a valid batch with the
// given magic number.
func nextRecord(payload []byte, magic uint32) (record, rest []byte, err error) {
	n, w := binary.Uvarint(payload)
	if magic != batchMagic1 {
		w += 4
	}
	if w <= 0 || w > len(payload) || n > uint64(len(payload)-w) {
		return nil, nil, errors.New("record length is wrong inside a batch with a valid checksum")
	}
	return payload[w : w+int(n)], payload[w+int(n):], nil
}

// maxSalvage bounds the size of a record whose place is not known: most of what
// looks like a length there is not one.
const maxSalvage = 64 << 10

// salvage finds the valid records in a damaged stretch; lost are the fragments
// between them.
func salvage(b []byte) (records, lost [][]byte) {
	from, known := 0, true // known: a record begins at pos, because a valid one ends there
	for pos := 0; pos < len(b); {
		n, w := binary.Uvarint(b[pos:])
		at := pos + w + 4
		if w <= 0 || n == 0 || at > len(b) || n > uint64(len(b)-at) || !known && n > maxSalvage ||
			recordChecksum(b[at:at+int(n)]) != binary.LittleEndian.Uint32(b[pos+w:]) {
			pos, known = pos+1, false
			continue
		}
		if pos > from {
			lost = append(lost, b[from:pos])
		}
		records = append(records, b[at:at+int(n)])
		pos, known = at+int(n), true
		from = pos
	}
	if from < len(b) {
		lost = append(lost, b[from:])
	}
	return records, lost
}
