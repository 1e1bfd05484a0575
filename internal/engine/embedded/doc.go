// Package embedded is the durable engine for one machine. It implements
// durabletask-go's backend.Backend with live state in memory and a journal on
// disk.
//
// Every change is one journal record, applied to memory in the order of the
// log. A record's effects leave the process only once the record is durable:
// only then does an activity start, a call return, a watcher wake. The log is
// ordered, so later changes may proceed in memory meanwhile: their records
// cannot become durable earlier. After a crash the state on disk is therefore a
// prefix of the log, and nothing newer was ever visible outside.
//
// Nothing polls: new work, timers and watchers are woken.
//
// Where to look:
//
//	engine.go      Open, Run, Close
//	backend.go     starts and events: what the SDK calls
//	loop.go        runs turns and activities
//	turns.go       their beginning and end: what they change
//	messages.go    what a turn sends to other instances
//	stalled.go     turns that this program cannot run
//	replay.go      restores waiting instances at the start
//	instance.go    one workflow instance; docs/engine.md has the diagram of its states
//	compact.go     its encoded form in memory
//	record.go      the content of a journal record, format 3
//	timers.go      durable timers
//	management.go  status, watch, purge, rerun, list, history
//	snapshot.go    the snapshot for the journal's compaction
//	archiving.go   ended instances move to disk; archive.go is their file
//	counters.go    the numbers behind Stats; assert.go has the invariants
//	metrics.go     sizes of the files, and violated invariants
//	repair.go      verifying and repairing the files; scrub.go erases from them
//	grpcserver.go  the gRPC endpoint for durable-task clients
package embedded
