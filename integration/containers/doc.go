// Package containers tests the whole system on container boundaries: Dapr's
// control plane, Redis, workers with a sidecar each, payment, carrier and an
// AWS endpoint, each in a container of its own, driven through SNS, SQS and
// HTTP only. docs/testing.md says how to run one scenario of it.
package containers
