// Package awslocal provides a local AWS endpoint: SQS, SNS, DynamoDB and STS
// GetCallerIdentity on one port, with their state in a directory. aws-sdk-go-v2 and
// the aws command work with it unmodified.
//
// Signatures of requests are not verified, so it must listen on loopback only.
// Operations and parameters that it does not support are rejected with an error in
// AWS's format. docs/aws-fidelity.md lists what it supports.
package awslocal
