// Command intake-lambda is an AWS Lambda function on provided.al2023. It receives
// OrderPlaced events from SQS and starts their sagas through the API, as an
// alternative to workers that poll the queue. See internal/lambda.
package main

import (
	"log"
	"os"

	awslambda "github.com/aws/aws-lambda-go/lambda"

	"github.com/ordersaga/ordersaga/internal/lambda"
)

func main() {
	intake, err := lambda.NewIntake(os.Getenv, os.Stderr)
	if err != nil {
		log.Fatal(err)
	}
	awslambda.Start(intake.Handle)
}
