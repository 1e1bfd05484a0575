// Package containers tests the whole system in containers. Dapr's control plane,
// Redis, payment, carrier, an AWS endpoint, and each worker and sidecar run in
// their own containers. The tests use only SNS, SQS and HTTP, except for the
// initial stock and the final checks. docs/testing.md describes how to run one
// scenario.
package containers
