package devenv

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/lambda"
	"github.com/ordersaga/ordersaga/internal/orderstore"
	"github.com/ordersaga/ordersaga/internal/snspublisher"
	"github.com/ordersaga/ordersaga/internal/sqsconsumer"
)

// consumeStockEvents applies stock events until ctx ends, as cmd/stock-lambda does
// in AWS. It creates the topics, the queue and the table first. A consumer of this
// process receives the messages in place of Lambda.
func (d Dev) consumeStockEvents(ctx context.Context, o cloud.Options) error {
	clients, err := cloud.New(ctx, o)
	if err != nil {
		return err
	}
	adjuster := orderstore.NewAdjuster(orderstore.New(clients.DynamoDB, orderstore.TablesWithPrefix(""), nil), "")
	levels, err := clients.SNS.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String(lambda.TopicStockLevels)})
	if err != nil {
		err = fmt.Errorf("create topic %s: %w", lambda.TopicStockLevels, err)
	} else {
		err = adjuster.CreateTable(ctx)
	}
	var q cloud.Queue
	if err == nil {
		_, q, err = clients.EnsureTopicQueue(ctx, lambda.TopicStockEvents, lambda.QueueStockEvents, events.TypeStockAdjusted)
	}
	if ctx.Err() != nil {
		err = nil // stopped during its start: no failure
	}
	if err != nil || q.URL == "" {
		return err
	}
	stock := lambda.Stock{
		Ledger: adjuster, Levels: snspublisher.New(clients.SNS, *levels.TopicArn), LowBelow: lambda.LowStockBelow, Logger: d.Logger,
	}
	return sqsconsumer.New(sqsconsumer.Options{
		SQS: clients.SQS, QueueURL: q.URL, DLQURL: q.DeadURL, Logger: d.Logger, Receivers: 1,
		Handle: func(ctx context.Context, m events.Message) error { return permanent(stock.Message(ctx, m)) },
	}).Run(ctx)
}

// permanent marks errors that no retry can repair, so that the consumer moves the
// message to the dead-letter queue at once, with the reason. In AWS, SQS retries
// such a message first and records no reason. There a retry of a refused
// adjustment may succeed; here the dead letter has to be redriven.
func permanent(err error) error {
	_, invalid := errors.AsType[*events.InvalidStockError](err)
	_, refused := errors.AsType[*orderstore.RefusedError](err)
	if invalid || refused || errors.Is(err, orderstore.ErrEventConflict) {
		return &sqsconsumer.PermanentError{Reason: err}
	}
	return err
}
