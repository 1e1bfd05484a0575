// Package journal is a durable, append-only log of opaque records with
// checksums and group commit. State machines that live in memory (the embedded
// engine, the local AWS services) write each change to a journal before they
// acknowledge it, and read it back when they start.
//
// Records must be absolute ("key K is now V", "key K is gone"), not relative
// ("add 1"): a snapshot is taken while appends go on, so a record may be
// replayed on a snapshot that has it already.
package journal
