// Package embedded is the durable engine for one machine: durabletask-go's
// backend.Backend over live state in memory and a journal on disk.
//
// Every change is one journal record, applied to memory in the order of the
// log. A record's effects leave the process (an activity starts, a client is
// answered, a watcher is told) only when the record is durable. Since the log
// is ordered, what builds on a change may proceed in memory before: its own
// record cannot become durable earlier. So after a crash the state on disk is
// a state that was, and nothing outside has seen a later one.
//
// Nothing polls: new work, timers and watchers are woken.
package embedded
