package sqs

import "time"

// AWS's limits, from
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
// and …/quotas-queues.html.
const (
	maxMessageBytes   = 1 << 20 // message and batch; 256 KiB until August 2025
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

// settling is how long a purge, and the deletion of a queue, take: none of the
// same queue comes after it sooner.
const settling = time.Minute

// sweepEvery bounds how often a queue is searched for expired messages; one
// that has expired is never delivered, it may only be counted for that long.
const sweepEvery = time.Second
