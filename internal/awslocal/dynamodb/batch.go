package dynamodb

import (
	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb/attr"
	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// Limits on the items of a batch. Unlike AWS, the local endpoint never leaves an item
// unprocessed; see
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html
const (
	maxBatchWrite = 25
	maxBatchGet   = 100
)

func (s *Service) batchWrite(body, out []byte) ([]byte, error) {
	var in struct {
		RequestItems map[string][]struct {
			PutRequest    *struct{ Item attr.Item }
			DeleteRequest *struct{ Key attr.Item }
		}
		ReturnConsumedCapacity, ReturnItemCollectionMetrics string
	}
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	var writes []*prepared
	seen := map[string]bool{}
	for name, list := range in.RequestItems {
		if err := s.fault("BatchWriteItem", name); err != nil {
			return nil, err
		}
		for _, r := range list {
			kind, w := "Put", write{TableName: name}
			switch {
			case r.PutRequest != nil && r.DeleteRequest == nil:
				w.Item = r.PutRequest.Item
			case r.DeleteRequest != nil && r.PutRequest == nil:
				kind, w.Key = "Delete", r.DeleteRequest.Key
			default:
				return nil, validation("Supplied AttributeValue has more than one datatypes set, " +
					"must contain exactly one of PutRequest and DeleteRequest")
			}
			p, err := s.prepare(kind, w)
			if err != nil {
				return nil, err
			}
			if seen[p.identity()] {
				return nil, validation("Provided list of item keys contains duplicates")
			}
			seen[p.identity()] = true
			writes = append(writes, p)
		}
	}
	if len(writes) == 0 || len(writes) > maxBatchWrite {
		return nil, validation("Too many items requested for the BatchWriteItem call, or none: %d, at most %d", len(writes), maxBatchWrite)
	}
	used := consumed{}
	for _, p := range writes { // each has its own record, because a batch is not a transaction
		item, err := p.result(nil)
		if err != nil {
			return nil, err
		}
		p.t.mu.Lock()
		used[p.t.name] += writeUnits(max(p.t.get(p.key).Size(), item.Size()))
		err = s.commit([]change{{t: p.t, table: p.t.name, key: p.key.with(p), item: item}})
		p.t.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
	out = append(out, `{"UnprocessedItems":{}`...)
	if wantsCapacity(in.ReturnConsumedCapacity) {
		out = used.append(append(out, ','), in.ReturnConsumedCapacity)
	}
	return append(out, '}'), nil
}

// identity returns a text that identifies the item of a write.
func (p *prepared) identity() string {
	return p.t.name + "\x00" + p.key.hash + "\x00" + keyString(p.key.rangeKey)
}

func (s *Service) batchGet(body, out []byte) ([]byte, error) {
	var in struct {
		RequestItems map[string]struct {
			Keys                     []attr.Item
			ProjectionExpression     *string
			ExpressionAttributeNames map[string]string
			ConsistentRead           bool
		}
		ReturnConsumedCapacity string
	}
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	total, used := 0, consumed{}
	out = append(out, `{"Responses":{`...)
	firstTable := true
	for name, r := range in.RequestItems {
		if err := s.fault("BatchGetItem", name); err != nil {
			return nil, err
		}
		if !firstTable {
			out = append(out, ',')
		}
		firstTable = false
		out = wire.AppendString(out, name)
		out = append(out, ":["...)
		seen := map[string]bool{}
		first := true
		for _, key := range r.Keys {
			total++
			item, t, err := s.fetch(read{
				TableName: name, Key: key,
				ProjectionExpression: r.ProjectionExpression, ExpressionAttributeNames: r.ExpressionAttributeNames,
			})
			if err != nil {
				return nil, err
			}
			k, _ := t.schema.place(key, "")
			id := k.hash + "\x00" + keyString(k.rangeKey)
			if seen[id] {
				return nil, validation("Provided list of item keys contains duplicates")
			}
			seen[id] = true
			used[t.name] += readUnits(item.Size(), r.ConsistentRead)
			if item == nil {
				continue
			}
			if !first {
				out = append(out, ',')
			}
			first = false
			out = item.AppendJSON(out, wire.AppendString)
		}
		out = append(out, ']')
	}
	if total == 0 || total > maxBatchGet {
		return nil, validation("Too many items requested for the BatchGetItem call, or none: %d, at most %d", total, maxBatchGet)
	}
	out = append(out, `},"UnprocessedKeys":{}`...)
	if wantsCapacity(in.ReturnConsumedCapacity) {
		out = used.append(append(out, ','), in.ReturnConsumedCapacity)
	}
	return append(out, '}'), nil
}
