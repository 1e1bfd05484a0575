// Package sns implements a local Amazon SNS: standard topics with SQS subscriptions, raw
// delivery and filter policies, over the query protocol.
//
// A Publish returns when the message is durable in every queue that it goes to.
// Deliveries are in process and are not retried. If a queue rejects a message, because
// it was deleted or the message is too large, the message goes to the queue of the
// subscription's RedrivePolicy. Without one it is logged and dropped.
//
// Envelopes have a constant in place of AWS's signature, because no local client could
// verify a real one. Protocols other than sqs, FIFO topics, platform endpoints and SMS
// are rejected.
//
// For the limits see https://docs.aws.amazon.com/general/latest/gr/sns.html
package sns
