// Package sqs is a local Amazon SQS: standard queues, kept in memory and
// journalled, over AWS JSON 1.0 and the query protocol.
//
// What it promises is what AWS promises, with these differences, all on the
// stricter or simpler side:
//   - messages come in the order they became visible, unless redelivered;
//   - PurgeQueue and DeleteQueue take effect at once, so that neither
//     PurgeQueueInProgress nor QueueDeletedRecently is ever answered;
//   - message move tasks end with the process; what they had not moved stays
//     where it was;
//   - FIFO queues, permissions and encryption keys are refused.
//
// Durability: a send, delete or visibility change is answered once the journal
// has it (it survives kill -9, not power loss). A receive is not waited for:
// should it be lost, the message is delivered again, as SQS allows.
//
// Limits are those of
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-quotas.html
package sqs
