// Command intake-lambda is an AWS Lambda function on provided.al2023: it takes
// OrderPlaced events from SQS, for those who want no pollers. See
// internal/lambdas.
package main

import (
	"log"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/ordersaga/ordersaga/internal/lambdas"
)

func main() {
	intake, err := lambdas.NewIntake(os.Getenv, os.Stderr)
	if err != nil {
		log.Fatal(err)
	}
	lambda.Start(intake.Handle)
}
