// Command stock-lambda is an AWS Lambda function on provided.al2023: it takes
// StockAdjusted events from SQS. See internal/lambdas.
package main

import (
	"context"
	"log"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/ordersaga/ordersaga/internal/lambdas"
)

func main() {
	stock, err := lambdas.NewStock(context.Background(), os.Getenv, os.Stderr)
	if err != nil {
		log.Fatal(err)
	}
	lambda.Start(stock.Handle)
}
