package devenv_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/ordersaga/ordersaga/internal/devenv"
	"github.com/ordersaga/ordersaga/internal/intake"
	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestDemoOfOneOrder has no malformed message.
func TestDemoOfOneOrder(t *testing.T) {
	s := testkit.NewSystem(t, nil, nil)
	s.SetStock(t, devenv.Catalogue())
	for seed := range uint64(3) {
		var out bytes.Buffer
		require.NoError(t, devenv.Demo{Orders: 1, Seed: seed, Out: &out}.Run(t.Context(), s.Worker, s.Simulators))
		got := out.String()
		if !strings.Contains(got, "1 sagas: 90% had ended after") || !strings.Contains(got, ", all after ") || strings.Contains(got, "NaN") {
			t.Errorf("seed %d: output = %q, want the line about 1 sagas, without NaN", seed, got)
		}
	}
}

// TestDemoIgnoresOlderSagas runs the demo beside a saga that still waits for its
// approval.
func TestDemoIgnoresOlderSagas(t *testing.T) {
	s := testkit.NewSystem(t, nil, nil)
	s.SetStock(t, devenv.Catalogue())
	old := order.Order{
		OrderID: "old", CustomerID: "c", Currency: "EUR", Payment: order.Payment{Token: "tok_ok"},
		Lines: []order.Line{{SKU: "SKU-1", Quantity: 1, UnitPrice: 200_000}},
	}
	_, _, err := intake.Starter{Orders: s.Store, Sagas: s.Parts.Engine, Terms: s.Worker.Terms}.Start(t.Context(), old)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	require.NoError(t, devenv.Demo{Orders: 15, Out: io.Discard}.Run(ctx, s.Worker, s.Simulators))
	rec, err := s.Store.Get(t.Context(), "old")
	require.NoError(t, err)
	if rec.Status != order.StatusAwaitingApproval {
		t.Errorf("status of the older order = %s, want %s", rec.Status, order.StatusAwaitingApproval)
	}
}

// TestDemoIgnoresOlderDeadLetters verifies that the demo does not count dead letters
// that were in the queue before.
func TestDemoIgnoresOlderDeadLetters(t *testing.T) {
	s := testkit.NewSystem(t, nil, nil)
	s.SetStock(t, devenv.Catalogue())
	for range 12 { // more than one receive returns
		_, err := s.Parts.Cloud.SQS.SendMessage(t.Context(), &sqs.SendMessageInput{
			QueueUrl: &s.Parts.Resources.OrderDLQ, MessageBody: aws.String("from another day"),
		})
		require.NoError(t, err)
	}
	var out bytes.Buffer
	require.NoError(t, devenv.Demo{Orders: 15, Out: &out}.Run(t.Context(), s.Worker, s.Simulators))
	if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), "malformed or invalid 2 dead letter") {
		t.Errorf("output = %q, want 2 dead letters", out.String())
	}
}
