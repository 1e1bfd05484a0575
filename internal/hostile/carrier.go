package hostile

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/sqsconsumer"
)

// Carrier is the SQS client of the carrier simulator, which has the true records. Carrier changes
// the answers that the simulator sends.
type Carrier struct {
	sqsconsumer.SQS // the real client

	World   *World
	Answers string // URL of the queue of answers
}

// SendMessage sends the simulator's answer, or others in its place.
func (c Carrier) SendMessage(
	ctx context.Context, in *sqs.SendMessageInput, more ...func(*sqs.Options),
) (*sqs.SendMessageOutput, error) {
	var truth events.CarrierAnswer
	if *in.QueueUrl != c.Answers || json.Unmarshal([]byte(*in.MessageBody), &truth) != nil {
		return c.SQS.SendMessage(ctx, in, more...)
	}
	dice, lie := c.World.turn(c.World.Carrier, "carrier", truth.OrderID)
	if !lie {
		c.World.Note(Exchange{With: "carrier", Orders: []string{truth.OrderID}, Asked: truth.ShipmentID, Said: *in.MessageBody})
		return c.SQS.SendMessage(ctx, in, more...)
	}
	lies := c.lies(dice, truth)
	answers, after := lies[dice.IntN(len(lies))], time.Duration(0)
	if dice.IntN(3) == 0 {
		after = time.Duration(dice.IntN(400)) * time.Millisecond
	}
	for i, text := range answers {
		c.World.Note(Exchange{
			With: "carrier", Orders: OrdersIn(truth.OrderID + " " + cut(text)), Asked: truth.ShipmentID,
			Said: fmt.Sprintf("%d of %d, after %s: %s", i+1, len(answers), after, text), Truth: "it " + *in.MessageBody,
		})
		if after == 0 {
			if err := c.SendText(ctx, text); err != nil {
				return nil, err
			}
			continue
		}
		c.World.later(after, func() { _ = c.SendText(context.WithoutCancel(ctx), text) }) // an error means that the answer is lost
	}
	return &sqs.SendMessageOutput{}, nil
}

// SendText sends a text to the queue of answers.
func (c Carrier) SendText(ctx context.Context, text string) error {
	_, err := c.SQS.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &c.Answers, MessageBody: aws.String(text)})
	if err != nil {
		return fmt.Errorf("send %s: %w", cut(text), err)
	}
	return nil
}

// lies returns what can be sent in place of an answer. An empty list sends nothing.
func (c Carrier) lies(dice *rand.Rand, truth events.CarrierAnswer) [][]string {
	honest := text(truth)
	but := func(change func(*events.CarrierAnswer)) string {
		a := truth
		change(&a)
		return text(a)
	}
	opposite := but(func(a *events.CarrierAnswer) {
		if a.Type == refused {
			a.Type, a.TrackingID, a.Reason = dispatched, "trk-lie", ""
		} else {
			a.Type, a.TrackingID, a.Reason = refused, "", "changed its mind"
		}
	})
	foreign := func(kind string) string {
		return but(func(a *events.CarrierAnswer) { a.Type, a.ShipmentID, a.Reason = kind, "shp-foreign", "not yours" })
	}
	all := [][]string{
		{},
		{honest, honest, honest},
		{foreign(refused), honest},
		{honest, foreign(refused)},
		{foreign(dispatched), honest},
		{but(func(a *events.CarrierAnswer) { a.ShipmentID = "" }), honest},
		{but(func(a *events.CarrierAnswer) { a.OrderID = "s0-o0" }), honest},
		{"", "{}", html, "null", honest[:dice.IntN(len(honest))], honest},
		{but(func(a *events.CarrierAnswer) { a.Type = "ShipmentLost" }), honest},
		{but(func(a *events.CarrierAnswer) { a.Reason, a.TrackingID = long(dice), a.TrackingID+long(dice)[:60<<10] })},
		{but(func(a *events.CarrierAnswer) { a.Reason = "bad \xff\xfe" }), honest},
	}
	if truth.Type == dispatched {
		all = append(all, []string{honest, but(func(a *events.CarrierAnswer) { a.TrackingID += "-2" })})
	}
	if dice.IntN(3) == 0 { // with the right shipment id: which of the two is true cannot be known
		c.World.Deceive(truth.OrderID, "the carrier contradicts itself")
		return [][]string{{opposite, honest}, {honest, opposite}, {opposite, honest, opposite}}
	}
	return all
}

const (
	dispatched = "ShipmentDispatched"
	refused    = "ShipmentRefused"
)

func text(a events.CarrierAnswer) string {
	b, err := json.Marshal(a)
	if err != nil {
		panic(err) // it always has a JSON form
	}
	return string(b)
}
