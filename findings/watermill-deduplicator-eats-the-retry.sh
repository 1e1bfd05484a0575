#!/usr/bin/env bash
# github.com/ThreeDotsLabs/watermill v1.5.1, middleware.Deduplicator: a message that
# failed once is a duplicate of itself; its retry is dropped and called a success.
#
# The key is noted before the message is sent or handled, and stays noted if that
# fails. One would expect that only what went through counts as seen, for a message is
# delivered until it is acknowledged, and a Publish that failed can be called again.
# Seen, on a publisher whose broker is away for one call: the first Publish gives the
# error, the second gives nil, and nothing is sent. Seen, in a router whose handler fails
# once: the message comes again, is acknowledged, and is never handled.
#
# Needs Go and the Go module proxy. Ends with status 0 if that is still so.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
printf 'module example.com/events\n\ngo 1.26\n\nrequire github.com/ThreeDotsLabs/watermill v1.5.1\n' >go.mod
cat >main.go <<'GO'
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
)

type broker struct {
	message.Publisher
	calls, sent int
}

func (b *broker) Publish(_ string, messages ...*message.Message) error {
	if b.calls++; b.calls == 1 {
		return errors.New("the broker is away")
	}
	b.sent += len(messages)
	return nil
}

func main() {
	b := &broker{}
	pub, err := new(middleware.Deduplicator).PublisherDecorator()(b)
	must(err)
	paid := message.NewMessage("1", []byte("o-1"))
	fmt.Println("publish:", pub.Publish("paid", paid))
	err = pub.Publish("paid", paid)
	fmt.Println("publish again:", err, "- messages sent:", b.sent)

	for _, dedup := range []bool{false, true} {
		router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
		must(err)
		if dedup {
			router.AddMiddleware(new(middleware.Deduplicator).Middleware)
		}
		queue := gochannel.NewGoChannel(gochannel.Config{}, nil)
		tries, shipped := 0, 0
		router.AddConsumerHandler("ship", "orders", queue, func(*message.Message) error {
			if tries++; tries == 1 {
				return errors.New("the database is away")
			}
			shipped++
			return nil
		})
		go router.Run(context.Background())
		<-router.Running()
		must(queue.Publish("orders", message.NewMessage("2", []byte("o-2"))))
		time.Sleep(2 * time.Second)
		fmt.Printf("deduplicator %t: handler called %d times, shipped %d times\n", dedup, tries, shipped)
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod tidy 2>tidy.log || { cat tidy.log; exit 1; }
go run . | tee seen
diff seen - <<'WANT' || { echo "no longer so"; exit 1; }
publish: the broker is away
publish again: <nil> - messages sent: 0
deduplicator false: handler called 2 times, shipped 1 times
deduplicator true: handler called 1 times, shipped 0 times
WANT
