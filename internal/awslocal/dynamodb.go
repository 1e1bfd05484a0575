package awslocal

import "net/http"

// dynamoService is what the server needs of DynamoDB.
type dynamoService interface {
	http.Handler
	Close() error
}

func openDynamo(string, Options) (dynamoService, error) { return nil, nil } //nolint:nilnil // not there yet
