// Package sns is a local Amazon SNS: standard topics with SQS subscriptions,
// raw delivery and filter policies, over the query protocol.
//
// A Publish is answered once the message is durable in every queue it goes to.
// Deliveries are in process and are not retried: one that the queue refuses
// (it is gone, or the message is too large for it) goes to the subscription's
// RedrivePolicy queue if it has one, and is logged otherwise.
//
// Envelopes carry a constant where AWS puts its signature: nothing local could
// verify a real one. Other protocols than sqs, FIFO topics, platform endpoints
// and SMS are refused.
//
// Limits: https://docs.aws.amazon.com/general/latest/gr/sns.html
package sns
