package orderstore

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/ordersaga/ordersaga/internal/order"
)

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func num(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

func encodeContent(o order.Order) (string, error) {
	b, err := json.Marshal(o.WithoutToken())
	if err != nil {
		return "", fmt.Errorf("encode order %s: %w", o.OrderID, err)
	}
	return string(b), nil
}

func decodeContent(s string) (order.Order, error) {
	var o order.Order
	if err := json.Unmarshal([]byte(s), &o); err != nil {
		return o, fmt.Errorf("decode stored order: %w", err)
	}
	return o, nil
}

func decodeRecord(item map[string]types.AttributeValue) (Record, error) {
	var r Record
	if err := attributevalue.UnmarshalMap(item, &r); err != nil {
		return r, fmt.Errorf("decode order record: %w", err)
	}
	return r.filled(), nil
}

// filled sets the fields that are kept in another form in the table. A value
// that cannot be read stays zero: the record is still worth showing.
func (r Record) filled() Record {
	if o, err := decodeContent(r.Content); err == nil {
		r.Lines, r.ShipTo = o.Lines, o.ShipTo
		r.Shipping, r.Tax, r.Discount = o.Shipping, o.Tax, o.Discount
	}
	r.CreatedAt, _ = time.Parse(TimeFormat, r.Created)
	r.UpdatedAt, _ = time.Parse(TimeFormat, r.Updated)
	return r
}
