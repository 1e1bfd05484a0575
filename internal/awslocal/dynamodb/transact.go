package dynamodb

import (
	"cmp"
	"errors"
	"slices"

	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb/attr"
	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// Limits of a transaction, in actions and bytes; see
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
const (
	maxActions          = 100
	maxTransactionBytes = 4 << 20
)

// transactionFactor is the number of times that a transaction reads or writes each of its
// items: once to prepare and once to commit; see
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html
const transactionFactor = 2

// action is an action of a transaction: exactly one field is set.
type action struct{ Put, Update, Delete, ConditionCheck *write }

func (s *Service) transactWrite(body, out []byte) ([]byte, error) {
	var in struct {
		TransactItems                                       []action
		ClientRequestToken                                  string
		ReturnConsumedCapacity, ReturnItemCollectionMetrics string
	}
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	if n := len(in.TransactItems); n < 1 || n > maxActions {
		return nil, errActions()
	}
	writes := make([]*prepared, len(in.TransactItems))
	seen := map[string]bool{}
	for i, a := range in.TransactItems {
		p, err := s.action(a)
		if err != nil {
			return nil, err
		}
		if seen[p.identity()] {
			return nil, validation("Transaction request cannot include multiple operations on one item")
		}
		seen[p.identity()] = true
		writes[i] = p
	}
	finish, repeated, err := s.tokens.begin(in.ClientRequestToken, body, s.opt.Now())
	if err != nil {
		return nil, err
	}
	if repeated {
		for _, p := range writes { // AWS reads the items for the response
			p.t.mu.RLock()
			p.units = transactionFactor * readUnits(p.t.get(p.key).Size(), true)
			p.t.mu.RUnlock()
		}
	} else {
		err = s.transaction(writes)
		finish(err == nil)
		if err != nil {
			return nil, err
		}
	}
	used := consumed{}
	for _, p := range writes {
		used[p.t.name] += p.units
	}
	return append(used.append(append(out, '{'), in.ReturnConsumedCapacity), '}'), nil
}

// errActions returns the error for too many actions, or none.
func errActions() error {
	return validation("1 validation error detected: Value at 'transactItems' failed to satisfy constraint: "+
		"Member must have length less than or equal to %d and greater than or equal to 1", maxActions)
}

// action validates an action of a transaction.
func (s *Service) action(a action) (*prepared, error) {
	kind, w, count := "", (*write)(nil), 0
	for _, c := range []struct {
		kind string
		w    *write
	}{{"Put", a.Put}, {"Update", a.Update}, {"Delete", a.Delete}, {"ConditionCheck", a.ConditionCheck}} {
		if c.w != nil {
			kind, w = c.kind, c.w
			count++
		}
	}
	if count != 1 {
		return nil, validation("TransactItems can only contain one of Check, Put, Update or Delete")
	}
	if kind == "Update" && w.UpdateExpression == nil {
		return nil, validation("1 validation error detected: UpdateExpression of an Update must not be null")
	}
	return s.prepare(kind, *w)
}

// lockTables locks the tables of a transaction in the order of their names, so that
// transactions cannot deadlock, and returns a function that unlocks them.
func lockTables(tables []*table, lock, unlock func(*table)) func() {
	slices.SortFunc(tables, func(a, b *table) int { return cmp.Compare(a.name, b.name) })
	tables = slices.Compact(tables)
	for _, t := range tables {
		lock(t)
	}
	return func() {
		for _, t := range tables {
			unlock(t)
		}
	}
}

// transaction makes all writes or none.
func (s *Service) transaction(writes []*prepared) error {
	var tables []*table
	for _, p := range writes {
		tables = append(tables, p.t)
	}
	if err := s.transactionFault("TransactWriteItems", tables, len(writes)); err != nil {
		return err
	}
	unlock := lockTables(tables, func(t *table) { t.mu.Lock() }, func(t *table) { t.mu.Unlock() })
	reasons := make([]reason, len(writes))
	var changes []change
	failed, size := false, 0
	for i, p := range writes {
		old := p.t.get(p.key)
		item, err := attr.Item(nil), p.checkCondition(old)
		if err == nil {
			item, err = p.result(old)
		}
		reasons[i] = reasonOf(err)
		failed = failed || err != nil
		size += item.Size()
		p.units = transactionFactor * writeUnits(max(old.Size(), item.Size()))
		if p.kind != "ConditionCheck" && (item != nil || old != nil) {
			changes = append(changes, change{t: p.t, table: p.t.name, key: p.key.with(p), item: item})
		}
	}
	if failed {
		unlock()
		return &cancelledError{reasons: reasons}
	}
	if size > maxTransactionBytes {
		unlock()
		return validation("Collection size exceeded: the items of a transaction can have 4 MB at most")
	}
	if len(changes) == 0 {
		unlock()
		return nil
	}
	err := s.commit(changes)
	unlock()
	return err
}

// transactionFault returns the injected error of a transaction with n actions. An injected
// conflict is a cancellation.
func (s *Service) transactionFault(op string, tables []*table, n int) error {
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.name
	}
	err := s.fault(op, names...)
	if e, ok := errors.AsType[*wire.Error](err); ok && e.Code == "TransactionConflictException" {
		reasons := make([]reason, n)
		for i := range reasons {
			reasons[i].code = "None"
		}
		reasons[0] = reason{code: "TransactionConflict", message: "Transaction is ongoing for the item"}
		return &cancelledError{reasons: reasons}
	}
	return err
}

// reasonOf returns the CancellationReason of an action that ended with err.
func reasonOf(err error) reason {
	if err == nil {
		return reason{code: "None"}
	}
	if f, ok := errors.AsType[*conditionFailedError](err); ok {
		return reason{code: "ConditionalCheckFailed", message: f.Error(), item: f.item}
	}
	r := reason{code: "ValidationError", message: err.Error()}
	if e, ok := errors.AsType[*wire.Error](err); ok {
		r.message = e.Message
	}
	return r
}

func (s *Service) transactGet(body, out []byte) ([]byte, error) {
	var in struct {
		TransactItems          []struct{ Get *read }
		ReturnConsumedCapacity string
	}
	if err := decode(body, &in); err != nil {
		return nil, err
	}
	if n := len(in.TransactItems); n < 1 || n > maxActions {
		return nil, errActions()
	}
	type got struct {
		t    *table
		key  record
		show func(attr.Item) attr.Item
	}
	var gets []got
	var tables []*table
	for _, item := range in.TransactItems {
		if item.Get == nil {
			return nil, validation("TransactItems must contain Get")
		}
		t, err := s.table(item.Get.TableName)
		if err != nil {
			return nil, err
		}
		key, err := t.primaryKey(item.Get.Key, true)
		if err != nil {
			return nil, err
		}
		p, b, err := s.projection(item.Get.ProjectionExpression, item.Get.ExpressionAttributeNames)
		if err != nil {
			return nil, err
		}
		show := func(i attr.Item) attr.Item { return i }
		if p != nil {
			show = func(i attr.Item) attr.Item { return p.Apply(i, b) }
		}
		gets, tables = append(gets, got{t: t, key: key, show: show}), append(tables, t)
	}
	if err := s.transactionFault("TransactGetItems", tables, len(gets)); err != nil {
		return nil, err
	}
	unlock := lockTables(tables, func(t *table) { t.mu.RLock() }, func(t *table) { t.mu.RUnlock() })
	items := make([]attr.Item, len(gets))
	for i, g := range gets {
		items[i] = g.t.get(g.key)
	}
	unlock()
	out = append(out, `{"Responses":[`...)
	for i, item := range items {
		if i > 0 {
			out = append(out, ',')
		}
		if item == nil {
			out = append(out, "{}"...)
			continue
		}
		out = append(out, `{"Item":`...)
		out = gets[i].show(item).AppendJSON(out, wire.AppendString)
		out = append(out, '}')
	}
	out = append(out, ']')
	if wantsCapacity(in.ReturnConsumedCapacity) {
		used := consumed{}
		for i, g := range gets {
			used[g.t.name] += transactionFactor * readUnits(items[i].Size(), true)
		}
		out = used.append(append(out, ','), in.ReturnConsumedCapacity)
	}
	return append(out, '}'), nil
}
