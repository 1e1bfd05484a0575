package sqs

import "time"

// AWS's limits; see
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
// and …/quotas-queues.html.
const (
	maxMessageBytes   = 1 << 20 // of a message, and of a batch; 256 KiB until August 2025
	minMessageLimit   = 1 << 10
	maxBatchEntries   = 10
	maxReceive        = 10
	maxAttributes     = 10
	maxInFlight       = 120_000
	maxDelay          = 900    // seconds
	maxWait           = 20     // seconds
	maxVisibility     = 43_200 // seconds, counted from the receive
	minRetention      = 60
	maxRetention      = 1_209_600
	defaultRetention  = 345_600
	defaultVisibility = 30
	maxReceiveCount   = 1_000
	maxTags           = 50
	maxMoveRate       = 500
	maxListed         = 1_000
)

// coolDown is the time after PurgeQueue in which the queue cannot be purged again, and
// the time after DeleteQueue in which no queue of that name can be created; see
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_PurgeQueue.html
const coolDown = time.Minute

// sweepEvery is the least time between two searches of a queue for expired messages.
// An expired message is never delivered; until the next sweep it is only counted.
const sweepEvery = time.Second
