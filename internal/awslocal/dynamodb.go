package awslocal

import (
	"net/http"

	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb"
)

// dynamoService is what the server needs of DynamoDB.
type dynamoService interface {
	http.Handler
	Close() error
}

func openDynamo(dir string, o Options) (dynamoService, error) {
	s, err := dynamodb.Open(dir, dynamodb.Options{Region: o.Region, AccountID: o.AccountID, Logger: o.Logger, CompactAfter: o.CompactAfter})
	if err != nil {
		return nil, err // not s: a nil *Service in the interface would look alive
	}
	return s, nil
}
