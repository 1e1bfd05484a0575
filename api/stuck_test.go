package api_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
	"github.com/ordersaga/ordersaga/internal/testkit"
)

// TestStuckFilterFindsSagasThatNeedAttention: the filter finds sagas that need attention at
// once, and sagas without progress after a while. It leaves out sagas that may wait.
func TestStuckFilterFindsSagasThatNeedAttention(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.place(newOrder("waits-for-a-person", expensive), "AWAITING_APPROVAL")
	c.place(newOrder("waits-for-the-carrier", shipTo("SILENT")), "PAID")
	c.place(newOrder("done", nil), "COMPLETED")
	c.place(newOrder("refund-fails", func(o *order.Order) { o.Payment.Token = "tok_refund_down"; shipTo("REFUSE")(o) }), "NEEDS_ATTENTION")
	var lost order.Order
	if err := json.Unmarshal([]byte(newOrder("never-begun", nil)), &lost); err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	if _, _, err := c.Store.Accept(t.Context(), lost); err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	type page struct {
		Sagas []struct{ OrderID, Status, Step, LastError string }
		Next  string
	}
	list := func(query string) (p page) {
		t.Helper()
		c.get("/v1/sagas?stuck=true"+query).json(t, &p)
		return p
	}
	if p := list("&status=NEEDS_ATTENTION"); len(p.Sagas) != 1 || p.Sagas[0].OrderID != "refund-fails" ||
		!strings.Contains(p.Sagas[0].Step, "charge") || p.Sagas[0].LastError == "" {
		t.Errorf("page = %+v, want only refund-fails, at step charge, with a last error", p)
	}
	// Half a percent of five and a half minutes is what a step may take here.
	testkit.Eventually(t, "both are found", func() error {
		if p := list(""); len(p.Sagas) != 2 || p.Sagas[0].OrderID != "never-begun" || p.Sagas[1].OrderID != "refund-fails" {
			return errors.New(c.get("/v1/sagas?stuck=true").body)
		}
		return nil
	})
	first := list("&limit=1")
	if len(first.Sagas) != 1 || first.Next == "" {
		t.Fatalf("first page = %+v, want 1 saga and a cursor", first)
	}
	if second := list("&limit=1&cursor=" + first.Next); len(second.Sagas) != 1 || second.Sagas[0].OrderID != "refund-fails" {
		t.Errorf("second page = %+v, want only refund-fails", second)
	}
	if p := list("&customer=nobody"); len(p.Sagas) != 0 {
		t.Errorf("page of a customer without orders = %+v, want no saga", p)
	}
	if a := c.get("/metrics"); a.status != http.StatusOK || !strings.Contains(a.body,
		`ordersaga_sagas_stuck{status="NEEDS_ATTENTION",step="needs attention: charge"} 1`+"\n") ||
		!strings.Contains(a.body, `ordersaga_sagas_stuck{status="PENDING",step=""} 1`+"\n") {
		t.Errorf("metrics: status = %d, body = %s, want status %d, 1 saga stuck at charge and 1 PENDING", a.status, a.body, http.StatusOK)
	}
}

// TestStuckFilterFindsAnOrderWhoseRecordIsGone: the record of an order whose charge is being
// retried is deleted. The order comes from its saga's input.
func TestStuckFilterFindsAnOrderWhoseRecordIsGone(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.place(newOrder("lost", func(o *order.Order) { o.Payment.Token = "tok_down" }), "RESERVED")
	_, err := c.Clients.DynamoDB.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{
		TableName: aws.String("orders"), Key: map[string]types.AttributeValue{"orderId": &types.AttributeValueMemberS{Value: "lost"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it is stuck", func() error {
		var p struct {
			Sagas []struct {
				OrderID, Status, Reason, RuntimeStatus string
				Total                                  int64
			}
		}
		a := c.get("/v1/sagas?stuck=true")
		a.json(t, &p)
		if len(p.Sagas) != 1 || p.Sagas[0].OrderID != "lost" || p.Sagas[0].Status != "NEEDS_ATTENTION" || p.Sagas[0].Total != 200 ||
			!strings.Contains(p.Sagas[0].Reason, "the order's record was gone") || p.Sagas[0].RuntimeStatus != "RUNNING" {
			return errors.New(a.body)
		}
		return nil
	})
	c.until("lost", "FAILED") // compensated: nothing was shipped
}
