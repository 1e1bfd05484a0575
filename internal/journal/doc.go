// Package journal is a durable, append-only log of opaque records with
// checksums and group commit. State machines that are kept in memory (the
// embedded engine, the local AWS services) write each change to a journal
// before they acknowledge it, and replay the journal when they start.
//
// Records must be absolute ("key K is now V", "key K is deleted"), not
// relative ("add 1"). A snapshot is taken while appends continue, so a record
// may be replayed on top of a snapshot that already contains it.
//
// Where to look:
//
//	journal.go      Open, Append, Close
//	groupcommit.go  the writer: many records, one write, one fsync
//	compaction.go   snapshots and new log files
//	recover.go      replay at start, and the cut of a torn end
//	format.go       the bytes of a file; scan.go reads and checks them
//	inspect.go      reading and repairing the journal of a stopped process
package journal
