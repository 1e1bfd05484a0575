package dynamodb

import (
	"slices"

	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb/attr"
	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb/expr"
	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// write is the input of PutItem, UpdateItem, DeleteItem and of an action of a transaction.
type write struct {
	TableName                           string
	Item                                attr.Item // of a Put
	Key                                 attr.Item // of the others
	UpdateExpression                    *string
	ConditionExpression                 *string
	ExpressionAttributeNames            map[string]string
	ExpressionAttributeValues           attr.Item
	ReturnValues                        string
	ReturnValuesOnConditionCheckFailure string
	ReturnConsumedCapacity              string
	// ReturnItemCollectionMetrics has no effect: it applies only to tables with local
	// secondary indexes.
	ReturnItemCollectionMetrics string

	// The legacy parameters without expressions are rejected, not ignored.
	Expected, AttributeUpdates map[string]any
}

// prepared is a validated write with its parsed expressions.
type prepared struct {
	write

	kind      string // Put, Update, Delete, ConditionCheck
	t         *table
	key       record
	condition *expr.Condition
	update    *expr.Update
	bind      expr.Binding
	units     float64 // capacity units that it has used in a transaction
}

// prepare validates a write.
func (s *Service) prepare(kind string, w write) (*prepared, error) {
	if w.Expected != nil || w.AttributeUpdates != nil {
		return nil, validation("The local endpoint has no legacy conditional parameters (Expected, AttributeUpdates); use expressions")
	}
	t, err := s.table(w.TableName)
	if err != nil {
		return nil, err
	}
	p := &prepared{
		write: w, kind: kind, t: t, bind: expr.Binding{Names: w.ExpressionAttributeNames, Values: w.ExpressionAttributeValues},
	}
	var uses expr.Uses
	if w.ConditionExpression != nil {
		p.condition, err = parsed(&s.parsed, "ConditionExpression", *w.ConditionExpression, expr.ParseCondition)
		if err != nil {
			return nil, err
		}
		uses.Add(p.condition)
	} else if kind == "ConditionCheck" {
		return nil, validation("1 validation error detected: ConditionExpression of a ConditionCheck must not be null")
	}
	if w.UpdateExpression != nil {
		p.update, err = parsed(&s.parsed, "UpdateExpression", *w.UpdateExpression, expr.ParseUpdate)
		if err != nil {
			return nil, err
		}
		uses.Add(p.update)
	}
	if err := uses.Check(p.bind); err != nil {
		return nil, err
	}
	if kind == "Put" {
		p.key, err = t.primaryKey(w.Item, false)
		if err != nil {
			return nil, err
		}
		p.key.item = primaryKeyOf(t, w.Item)
		return p, t.checkItem(w.Item)
	}
	p.key, err = t.primaryKey(w.Key, true)
	if err != nil {
		return nil, err
	}
	if p.update != nil {
		for _, a := range p.update.Attributes(p.bind) {
			if a == t.schema.hash || a == t.schema.rangeKey {
				return nil, validation("One or more parameter values were invalid: "+
					"Cannot update attribute %s. This attribute is part of the key", a)
			}
		}
	}
	return p, nil
}

// checkCondition returns a *conditionFailedError if the old item does not meet the condition.
func (p *prepared) checkCondition(old attr.Item) error {
	if p.condition == nil {
		return nil
	}
	ok, err := p.condition.Matches(old, p.bind)
	if err != nil || ok {
		return err
	}
	f := &conditionFailedError{}
	if p.ReturnValuesOnConditionCheckFailure == "ALL_OLD" {
		f.item = old
	}
	return f
}

// result returns the item after the write; nil if there is none.
func (p *prepared) result(old attr.Item) (attr.Item, error) {
	switch p.kind {
	case "Put":
		return p.Item, nil
	case "Delete":
		return nil, nil
	case "ConditionCheck":
		return old, nil
	}
	if old == nil {
		old = p.Key // an update of a missing item creates it
	}
	if p.update == nil {
		return old, nil
	}
	item, err := p.update.Apply(old, p.bind)
	if err != nil {
		return nil, err
	}
	return item, p.t.checkItem(item)
}

// writeOne serves an operation with one write. returns lists the operation's ReturnValues
// besides NONE.
func (s *Service) writeOne(op, kind string, body, out []byte, returns ...string) ([]byte, error) {
	var w write
	if err := decode(body, &w); err != nil {
		return nil, err
	}
	if err := s.fault(op, w.TableName); err != nil {
		return nil, err
	}
	if w.ReturnValues != "" && w.ReturnValues != "NONE" && !slices.Contains(returns, w.ReturnValues) {
		return nil, validation("Return values set to invalid value")
	}
	p, err := s.prepare(kind, w)
	if err != nil {
		return nil, err
	}
	p.t.mu.Lock()
	old := p.t.get(p.key)
	err = p.checkCondition(old)
	var item attr.Item
	if err == nil {
		item, err = p.result(old)
	}
	if err != nil {
		p.t.mu.Unlock()
		return nil, err
	}
	if item == nil && old == nil { // a deletion of a missing item
		p.t.mu.Unlock()
		return p.response(out, old, item)
	}
	err = s.commit([]change{{t: p.t, table: p.t.name, key: p.key.with(p), item: item}})
	p.t.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return p.response(out, old, item)
}

// with returns the record with the attributes of its key, which the journal needs for a
// deletion.
func (r record) with(p *prepared) record {
	if p.kind != "Put" {
		r.item = p.Key
	}
	return r
}

// response appends the response of a single write.
func (p *prepared) response(out []byte, old, item attr.Item) ([]byte, error) {
	var returned attr.Item
	switch p.ReturnValues {
	case "ALL_OLD":
		returned = old
	case "ALL_NEW":
		returned = item
	case "UPDATED_OLD", "UPDATED_NEW":
		from := old
		if p.ReturnValues == "UPDATED_NEW" {
			from = item
		}
		returned = attr.Item{}
		if p.update != nil {
			for _, a := range p.update.Attributes(p.bind) {
				if v, ok := from[a]; ok {
					returned[a] = v
				}
			}
		}
	}
	out = append(out, '{')
	if len(returned) > 0 {
		out = append(out, `"Attributes":`...)
		out = returned.AppendJSON(out, wire.AppendString)
	}
	if wantsCapacity(p.ReturnConsumedCapacity) {
		if len(returned) > 0 {
			out = append(out, ',')
		}
		out = append(out, `"ConsumedCapacity":`...)
		out = appendCapacity(out, p.t.name, writeUnits(max(old.Size(), item.Size())))
	}
	return append(out, '}'), nil
}

func (s *Service) putItem(body, out []byte) ([]byte, error) {
	return s.writeOne("PutItem", "Put", body, out, "ALL_OLD")
}

func (s *Service) deleteItem(body, out []byte) ([]byte, error) {
	return s.writeOne("DeleteItem", "Delete", body, out, "ALL_OLD")
}

func (s *Service) updateItem(body, out []byte) ([]byte, error) {
	return s.writeOne("UpdateItem", "Update", body, out, "ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW")
}

// read is the input of GetItem, and of an entry of BatchGetItem and TransactGetItems.
type read struct {
	TableName                string
	Key                      attr.Item
	ProjectionExpression     *string
	ExpressionAttributeNames map[string]string
	ConsistentRead           bool
	ReturnConsumedCapacity   string
	AttributesToGet          []string
}

// projection parses a ProjectionExpression, which may be nil.
func (s *Service) projection(text *string, names map[string]string) (*expr.Projection, expr.Binding, error) {
	b := expr.Binding{Names: names}
	if text == nil {
		return nil, b, nil
	}
	p, err := parsed(&s.parsed, "ProjectionExpression", *text, expr.ParseProjection)
	if err != nil {
		return nil, b, err
	}
	var uses expr.Uses
	uses.Add(p)
	return p, b, uses.Check(b)
}

// fetch returns the item that r reads, or nil, and its table.
func (s *Service) fetch(r read) (attr.Item, *table, error) {
	if r.AttributesToGet != nil {
		return nil, nil, validation("The local endpoint has no legacy parameter AttributesToGet; use ProjectionExpression")
	}
	t, err := s.table(r.TableName)
	if err != nil {
		return nil, nil, err
	}
	key, err := t.primaryKey(r.Key, true)
	if err != nil {
		return nil, nil, err
	}
	p, b, err := s.projection(r.ProjectionExpression, r.ExpressionAttributeNames)
	if err != nil {
		return nil, nil, err
	}
	t.mu.RLock()
	item := t.get(key)
	t.mu.RUnlock()
	if item != nil && p != nil {
		item = p.Apply(item, b)
	}
	return item, t, nil
}

func (s *Service) getItem(body, out []byte) ([]byte, error) {
	var r read
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	if err := s.fault("GetItem", r.TableName); err != nil {
		return nil, err
	}
	item, t, err := s.fetch(r)
	if err != nil {
		return nil, err
	}
	out = append(out, '{')
	if item != nil {
		out = append(out, `"Item":`...)
		out = item.AppendJSON(out, wire.AppendString)
	}
	if wantsCapacity(r.ReturnConsumedCapacity) {
		if item != nil {
			out = append(out, ',')
		}
		out = append(out, `"ConsumedCapacity":`...)
		out = appendCapacity(out, t.name, readUnits(item.Size(), r.ConsistentRead))
	}
	return append(out, '}'), nil
}
