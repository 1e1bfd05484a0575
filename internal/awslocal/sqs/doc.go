// Package sqs implements a local Amazon SQS: standard queues in memory, backed by a
// journal, over AWS JSON 1.0 and the query protocol.
//
// It guarantees what AWS guarantees, with these differences, all of them stricter or
// simpler:
//   - messages are delivered in the order in which they became visible, except for
//     redeliveries;
//   - PurgeQueue and DeleteQueue take effect at once. Like AWS it still rejects a
//     second purge of a queue, or a new queue with a deleted queue's name, for 60 s;
//   - message move tasks end with the process. Messages that were not moved by then
//     stay in their queue;
//   - FIFO queues, permissions and encryption keys are rejected.
//
// Durability: a send, delete or visibility change returns after the journal has
// written it to the operating system, so it survives kill -9 but not a power failure.
// A receive does not wait for its record. If that is lost, the message is delivered
// again, as SQS allows.
//
// Limits are those of
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-quotas.html
package sqs
