package dynamodb

import (
	"slices"

	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb/attr"
	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb/expr"
	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// write is the common form of PutItem, UpdateItem, DeleteItem and of the
// actions of a transaction.
type write struct {
	TableName                           string
	Item                                attr.Item // Put
	Key                                 attr.Item
	UpdateExpression                    *string
	ConditionExpression                 *string
	ExpressionAttributeNames            map[string]string
	ExpressionAttributeValues           attr.Item
	ReturnValues                        string
	ReturnValuesOnConditionCheckFailure string
	ReturnConsumedCapacity              string
	// ReturnItemCollectionMetrics has something to tell of tables with local
	// secondary indexes only.
	ReturnItemCollectionMetrics string

	// The old, expressionless forms; refused, not ignored.
	Expected, AttributeUpdates map[string]any
}

// prepared is a write that has been checked and parsed.
type prepared struct {
	write

	kind      string // Put, Update, Delete, ConditionCheck
	t         *table
	key       record
	condition *expr.Condition
	update    *expr.Update
	bind      expr.Binding
	units     float64 // that it has consumed in a transaction
}

func (s *Service) prepare(kind string, w write) (*prepared, error) {
	if w.Expected != nil || w.AttributeUpdates != nil {
		return nil, validation("The local endpoint has no legacy conditional parameters (Expected, AttributeUpdates); use expressions")
	}
	t, err := s.table(w.TableName)
	if err != nil {
		return nil, err
	}
	p := &prepared{write: w, kind: kind, t: t, bind: expr.Binding{Names: w.ExpressionAttributeNames, Values: w.ExpressionAttributeValues}}
	var uses expr.Uses
	if w.ConditionExpression != nil {
		if p.condition, err = parsed(&s.parsed, "ConditionExpression", *w.ConditionExpression, expr.ParseCondition); err != nil {
			return nil, err
		}
		uses.Add(p.condition)
	} else if kind == "ConditionCheck" {
		return nil, validation("1 validation error detected: ConditionExpression of a ConditionCheck must not be null")
	}
	if w.UpdateExpression != nil {
		if p.update, err = parsed(&s.parsed, "UpdateExpression", *w.UpdateExpression, expr.ParseUpdate); err != nil {
			return nil, err
		}
		uses.Add(p.update)
	}
	if err := uses.Check(p.bind); err != nil {
		return nil, err
	}
	if kind == "Put" {
		if p.key, err = t.key(w.Item, false); err != nil {
			return nil, err
		}
		p.key.item = keyOf(t, w.Item)
		return p, t.check(w.Item)
	}
	if p.key, err = t.key(w.Key, true); err != nil {
		return nil, err
	}
	if p.update != nil {
		for _, a := range p.update.Attributes(p.bind) {
			if a == t.schema.hash || a == t.schema.rng {
				return nil, validation("One or more parameter values were invalid: Cannot update attribute %s. This attribute is part of the key", a)
			}
		}
	}
	return p, nil
}

// holds evaluates the condition.
func (p *prepared) holds(old attr.Item) error {
	if p.condition == nil {
		return nil
	}
	ok, err := p.condition.Matches(old, p.bind)
	if err != nil || ok {
		return err
	}
	f := &conditionFailed{}
	if p.ReturnValuesOnConditionCheckFailure == "ALL_OLD" {
		f.item = old
	}
	return f
}

// result is the item after the write; nil if there is none.
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
		old = p.Key // an update creates the item
	}
	if p.update == nil {
		return old, nil
	}
	item, err := p.update.Apply(old, p.bind)
	if err != nil {
		return nil, err
	}
	return item, p.t.check(item)
}

// single runs one write.
func (s *Service) single(op, kind string, body, out []byte, returns ...string) ([]byte, error) {
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
	err = p.holds(old)
	var item attr.Item
	if err == nil {
		item, err = p.result(old)
	}
	if err != nil {
		p.t.mu.Unlock()
		return nil, err
	}
	if item == nil && old == nil { // nothing to delete
		p.t.mu.Unlock()
		return p.answer(out, old, item)
	}
	commit, err := s.commit([]change{{t: p.t, table: p.t.name, key: p.key.with(p), item: item}})
	p.t.mu.Unlock()
	if err == nil {
		err = commit.Wait()
	}
	if err != nil {
		return nil, err
	}
	return p.answer(out, old, item)
}

// with gives a key record the key attributes, which a deletion's journal entry
// is made of.
func (r record) with(p *prepared) record {
	if p.kind != "Put" {
		r.item = p.Key
	}
	return r
}

func (p *prepared) answer(out []byte, old, item attr.Item) ([]byte, error) {
	var shown attr.Item
	switch p.ReturnValues {
	case "ALL_OLD":
		shown = old
	case "ALL_NEW":
		shown = item
	case "UPDATED_OLD", "UPDATED_NEW":
		from := old
		if p.ReturnValues == "UPDATED_NEW" {
			from = item
		}
		shown = attr.Item{}
		if p.update != nil {
			for _, a := range p.update.Attributes(p.bind) {
				if v, ok := from[a]; ok {
					shown[a] = v
				}
			}
		}
	}
	out = append(out, '{')
	if len(shown) > 0 {
		out = append(out, `"Attributes":`...)
		out = shown.AppendJSON(out, wire.AppendString)
	}
	if capacityWanted(p.ReturnConsumedCapacity) {
		if len(shown) > 0 {
			out = append(out, ',')
		}
		out = append(out, `"ConsumedCapacity":`...)
		out = appendCapacity(out, p.t.name, writeUnits(max(old.Size(), item.Size())))
	}
	return append(out, '}'), nil
}

func (s *Service) putItem(body, out []byte) ([]byte, error) {
	return s.single("PutItem", "Put", body, out, "ALL_OLD")
}

func (s *Service) deleteItem(body, out []byte) ([]byte, error) {
	return s.single("DeleteItem", "Delete", body, out, "ALL_OLD")
}

func (s *Service) updateItem(body, out []byte) ([]byte, error) {
	return s.single("UpdateItem", "Update", body, out, "ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW")
}

// read is the common form of GetItem and of the entries of batch and
// transaction gets.
type read struct {
	TableName                string
	Key                      attr.Item
	ProjectionExpression     *string
	ExpressionAttributeNames map[string]string
	ConsistentRead           bool
	ReturnConsumedCapacity   string
	AttributesToGet          []string
}

func (s *Service) projection(text *string, names map[string]string, more ...*expr.Condition) (*expr.Projection, expr.Binding, error) {
	b := expr.Binding{Names: names}
	if text == nil {
		return nil, b, nil
	}
	p, err := parsed(&s.parsed, "ProjectionExpression", *text, expr.ParseProjection)
	if err != nil || len(more) > 0 {
		return p, b, err
	}
	var uses expr.Uses
	uses.Add(p)
	return p, b, uses.Check(b)
}

func (s *Service) fetch(r read) (attr.Item, *table, error) {
	if r.AttributesToGet != nil {
		return nil, nil, validation("The local endpoint has no legacy parameter AttributesToGet; use ProjectionExpression")
	}
	t, err := s.table(r.TableName)
	if err != nil {
		return nil, nil, err
	}
	key, err := t.key(r.Key, true)
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
	if capacityWanted(r.ReturnConsumedCapacity) {
		if item != nil {
			out = append(out, ',')
		}
		out = append(out, `"ConsumedCapacity":`...)
		out = appendCapacity(out, t.name, readUnits(item.Size(), r.ConsistentRead))
	}
	return append(out, '}'), nil
}
