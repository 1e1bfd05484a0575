package orderstore

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"

	"github.com/ordersaga/ordersaga/internal/paging"
)

// Level is the ledger of one SKU, in units. Available + Reserved + Sold always equals
// Received, and none of them is ever negative.
type Level struct {
	SKU       string `dynamodbav:"sku" json:"sku"`
	Available int64  `dynamodbav:"available" json:"available"`
	Reserved  int64  `dynamodbav:"reserved" json:"reserved"`
	Sold      int64  `dynamodbav:"sold" json:"sold"`
	Received  int64  `dynamodbav:"received" json:"received"`

	Counts int64 `dynamodbav:"counts,omitempty" json:"-"` // how many stocktakes there were; see Version
}

// MaxLevel limits the available units of one SKU.
const MaxLevel = 1_000_000_000_000

// Version identifies the stock on hand: it changes with each delivery, sale and
// stocktake. Reserved units are still on hand, so a reservation does not change it.
func (l Level) Version() string { return fmt.Sprintf("%d-%d-%d", l.Received, l.Sold, l.Counts) }

// NewSKU is the version to count a SKU against that has no level yet.
const NewSKU = ""

// GetLevel reads the level of one SKU. The error is ErrNotFound if it has none.
func (s *Store) GetLevel(ctx context.Context, sku string) (Level, error) {
	found, err := s.getItem(ctx, s.tables.Stock, "sku", sku)
	if err != nil {
		return Level{}, fmt.Errorf("read the stock of %s: %w", sku, err)
	}
	return decodeLevel(found)
}

// ListLevels returns a page of up to limit levels after cursor, in no order. An empty
// next means that it is the last page.
func (s *Store) ListLevels(ctx context.Context, cursor string, limit int) (levels []Level, next string, err error) {
	items, next, err := s.scan(ctx, s.tables.Stock, "sku", cursor, limit)
	if err != nil {
		return nil, "", err
	}
	for _, found := range items {
		l, err := decodeLevel(found)
		if err != nil {
			return nil, "", err
		}
		levels = append(levels, l)
	}
	return levels, next, nil
}

func decodeLevel(found item) (l Level, err error) {
	err = attributevalue.UnmarshalMap(found, &l)
	return l, wrap(err, "decode the stock of %s", keyOf(found))
}

// Ledger is the result of checking I1, "never oversold", over all SKUs.
type Ledger struct {
	SKUs       int      `json:"skus"`
	Units      Units    `json:"units"`
	Violations []string `json:"violations"` // what contradicts "never oversold"

	Levels map[string]Level `json:"-"` // by SKU
}

// Units are sums over all SKUs, in units.
type Units struct {
	Available int64 `json:"available"`
	Reserved  int64 `json:"reserved"`
	Sold      int64 `json:"sold"`
	Received  int64 `json:"received"`
}

// CheckLedger reads every SKU and reports where the ledger does not add up.
func (s *Store) CheckLedger(ctx context.Context) (Ledger, error) {
	l := Ledger{Violations: []string{}, Levels: map[string]Level{}}
	read := func(cursor string) ([]Level, string, error) { return s.ListLevels(ctx, cursor, 500) }
	for levels, err := range paging.Pages("the list of stock", read, nil) {
		if err != nil {
			return l, err
		}
		for _, v := range levels {
			l.SKUs++
			l.Levels[v.SKU] = v
			l.Units.Available += v.Available
			l.Units.Reserved += v.Reserved
			l.Units.Sold += v.Sold
			l.Units.Received += v.Received
			if v.Available < 0 || v.Reserved < 0 || v.Sold < 0 || v.Available+v.Reserved+v.Sold != v.Received {
				l.Violations = append(l.Violations, fmt.Sprintf("%s: available %d + reserved %d + sold %d, received %d",
					v.SKU, v.Available, v.Reserved, v.Sold, v.Received))
			}
		}
	}
	return l, nil
}
