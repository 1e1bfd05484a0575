// Command stock-lambda is an AWS Lambda function on provided.al2023. It applies
// StockAdjusted events from SQS to the stock table. See internal/lambda.
package main

import (
	"context"
	"log"
	"os"

	awslambda "github.com/aws/aws-lambda-go/lambda"

	"github.com/ordersaga/ordersaga/internal/lambda"
)

func main() {
	stock, err := lambda.NewStock(context.Background(), os.Getenv, os.Stderr)
	if err != nil {
		log.Fatal(err)
	}
	awslambda.Start(stock.Handle)
}
