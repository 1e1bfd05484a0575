// Package awslocal is a local AWS endpoint: SQS, SNS, DynamoDB and STS
// GetCallerIdentity on one port, durable in a directory. aws-sdk-go-v2 and the
// aws command work with it unmodified. Requests may be signed; signatures are
// not checked, so it must listen on loopback only.
//
// What it doesn't know it refuses with AWS's own error shape.
package awslocal
