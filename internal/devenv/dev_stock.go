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

// stock runs what cmd/stock-lambda is in AWS, fed by a consumer of ours: it
// makes its topics, queue and table, and takes stock events until ctx ends.
func (d Dev) stock(ctx context.Context, o cloud.Options) error {
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
		err = nil // told to stop before it was up
	}
	if err != nil || q.URL == "" {
		return err
	}
	f := lambda.Stock{Ledger: adjuster, Levels: snspublisher.New(clients.SNS, *levels.TopicArn), LowBelow: lambda.LowStockBelow, Logger: d.Logger}
	return sqsconsumer.New(sqsconsumer.Options{
		SQS: clients.SQS, QueueURL: q.URL, DLQURL: q.DeadURL, Logger: d.Logger, Receivers: 1,
		Handle: func(ctx context.Context, m events.Message) error { return hopeless(f.Message(ctx, m)) },
	}).Run(ctx)
}

// hopeless marks errors that no repetition can mend. In AWS they take some turns
// before they are dead letters, and have no reason with them; what is refused
// may come right there, and has to be put back here.
func hopeless(err error) error {
	_, invalid := errors.AsType[*events.InvalidStockError](err)
	_, refused := errors.AsType[*orderstore.RefusedError](err)
	if invalid || refused || errors.Is(err, orderstore.ErrEventConflict) {
		return &sqsconsumer.PermanentError{Reason: err}
	}
	return err
}
