package snspublisher

// Limits of a batch, for tests.
const (
	MaxInBatch      = maxInBatch
	MaxBytesInBatch = maxBytesInBatch
)
