package dynamodb

import (
	"strconv"

	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb/attr"
	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb/expr"
	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// maxPageBytes is the size, in bytes, of the items that one page reads before filtering; see
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.Pagination.html
const maxPageBytes = 1 << 20

// listing is the input of Query and Scan.
type listing struct {
	TableName, IndexName      string
	KeyConditionExpression    *string
	FilterExpression          *string
	ProjectionExpression      *string
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues attr.Item
	ExclusiveStartKey         attr.Item
	Limit                     *int
	ScanIndexForward          *bool
	Select                    string
	ConsistentRead            bool
	Segment, TotalSegments    *int
	ReturnConsumedCapacity    string

	// The legacy parameters without expressions are rejected, not ignored.
	KeyConditions, QueryFilter, ScanFilter map[string]any
	AttributesToGet                        []string
}

// plan is a validated listing with its parsed expressions.
type plan struct {
	listing

	t          *table
	ix         *index // nil for the table itself
	key        *expr.Condition
	filter     *expr.Condition
	projection *expr.Projection
	bind       expr.Binding
}

// plan decodes and validates a Query or Scan.
func (s *Service) plan(op string, body []byte) (*plan, error) {
	p := &plan{}
	if err := decode(body, &p.listing); err != nil {
		return nil, err
	}
	if p.KeyConditions != nil || p.QueryFilter != nil || p.ScanFilter != nil || p.AttributesToGet != nil {
		return nil, validation("The local endpoint has no legacy conditional parameters; use expressions")
	}
	if err := s.fault(op, p.TableName); err != nil {
		return nil, err
	}
	var err error
	p.t, err = s.table(p.TableName)
	if err != nil {
		return nil, err
	}
	if p.IndexName != "" {
		p.ix = p.t.index(p.IndexName)
		if p.ix == nil {
			return nil, validation("The table does not have the specified index: %s", p.IndexName)
		}
		if p.ConsistentRead {
			return nil, validation("Consistent reads are not supported on global secondary indexes")
		}
	}
	if err := p.checkSelect(); err != nil {
		return nil, err
	}
	if p.Limit != nil && *p.Limit < 1 {
		return nil, validation("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: "+
			"Member must have value greater than or equal to 1", *p.Limit)
	}
	p.bind = expr.Binding{Names: p.ExpressionAttributeNames, Values: p.ExpressionAttributeValues}
	if err := p.parse(&s.parsed); err != nil {
		return nil, err
	}
	return p, nil
}

// parse parses the expressions and checks their placeholders.
func (p *plan) parse(c *cache) error {
	var uses expr.Uses
	var err error
	if p.KeyConditionExpression != nil {
		p.key, err = parsed(c, "KeyConditionExpression", *p.KeyConditionExpression, expr.ParseCondition)
		if err != nil {
			return err
		}
		uses.Add(p.key)
	}
	if p.FilterExpression != nil {
		p.filter, err = parsed(c, "FilterExpression", *p.FilterExpression, expr.ParseCondition)
		if err != nil {
			return err
		}
		uses.Add(p.filter)
	}
	if p.ProjectionExpression != nil {
		p.projection, err = parsed(c, "ProjectionExpression", *p.ProjectionExpression, expr.ParseProjection)
		if err != nil {
			return err
		}
		uses.Add(p.projection)
	}
	return uses.Check(p.bind)
}

// checkSelect checks that Select is possible with the projection and the index; see
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Query.html
func (p *plan) checkSelect() error {
	what := p.Select
	switch p.Select {
	case "":
		return nil
	case "SPECIFIC_ATTRIBUTES":
		if p.ProjectionExpression == nil {
			return validation("Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES")
		}
		return nil
	case "COUNT":
		what = "only the Count"
	case "ALL_PROJECTED_ATTRIBUTES":
		if p.ix == nil {
			return validation("ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName")
		}
	case "ALL_ATTRIBUTES":
		if p.ix != nil && p.ix.projection != "ALL" {
			return validation("One or more parameter values were invalid: Select type ALL_ATTRIBUTES is not supported "+
				"for global secondary index %s because its projection type is not ALL", p.IndexName)
		}
	default:
		return validation("1 validation error detected: Value '%s' at 'select' failed to satisfy constraint: "+
			"Member must satisfy enum value set: [SPECIFIC_ATTRIBUTES, COUNT, ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES]", p.Select)
	}
	if p.ProjectionExpression != nil {
		return validation("Cannot specify the ProjectionExpression when choosing to get %s", what)
	}
	return nil
}

// schema returns the schema of the index, or of the table.
func (p *plan) schema() schema {
	if p.ix != nil {
		return p.ix.schema
	}
	return p.t.schema
}

// tree returns the records of the index, or of the table.
func (p *plan) tree() *tree {
	if p.ix != nil {
		return p.ix.tree
	}
	return p.t.items
}

// start returns the record after which the page begins; nil for the first page.
func (p *plan) start() (*record, error) {
	if p.ExclusiveStartKey == nil {
		return nil, nil
	}
	names := map[string]bool{p.t.schema.hash: true, p.t.schema.rangeKey: true, p.schema().hash: true, p.schema().rangeKey: true}
	delete(names, "")
	for n := range names {
		if v, ok := p.ExclusiveStartKey[n]; !ok || v.Kind.String() != p.t.types()[n] {
			return nil, validation("The provided starting key is invalid: it has no valid %s", n)
		}
	}
	if len(p.ExclusiveStartKey) != len(names) {
		return nil, validation("The provided starting key is invalid")
	}
	primary, _ := p.t.schema.place(p.ExclusiveStartKey, "")
	if p.ix == nil {
		return &primary, nil
	}
	r, _ := p.ix.schema.place(p.ExclusiveStartKey, primary.hash+"\x00"+keyString(primary.rangeKey))
	return &r, nil
}

// page collects the items that a Query or Scan returns.
type page struct {
	plan    *plan
	items   []attr.Item
	scanned int     // records before filtering
	bytes   int     // their size
	last    *record // the last one; nil if there is none
	err     error   // of the filter
}

// add adds a record. It returns false when the page has ended.
func (g *page) add(r record) bool {
	p := g.plan
	// Check the limits before adding, not after: the record before may be the last one, and
	// then there is no next page.
	if (p.Limit != nil && g.scanned == *p.Limit) || g.bytes >= maxPageBytes {
		return false
	}
	g.scanned++
	g.bytes += r.item.Size()
	last := r
	g.last = &last
	item := r.item
	if p.ix != nil {
		item = p.ix.project(item, p.t.schema)
	}
	if p.filter != nil {
		ok, err := p.filter.Matches(item, p.bind)
		if err != nil {
			g.err = err
			return false
		}
		if !ok {
			return true
		}
	}
	if p.projection != nil {
		item = p.projection.Apply(item, p.bind)
	}
	g.items = append(g.items, item)
	return true
}

func (s *Service) query(body, out []byte) ([]byte, error) {
	p, err := s.plan("Query", body)
	if err != nil {
		return nil, err
	}
	if p.key == nil {
		return nil, validation("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
	}
	sch := p.schema()
	k, err := p.key.KeyCondition(p.bind, sch.hash, sch.rangeKey)
	if err != nil {
		return nil, err
	}
	// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Query.FilterExpression.html
	for _, name := range []string{sch.hash, sch.rangeKey} {
		if name != "" && p.filter != nil && p.filter.Mentions(p.bind, name) {
			return nil, validation("Filter Expression can only contain non-primary key attributes: Primary key attribute: %s", name)
		}
	}
	if k.Hash.Kind.String() != p.t.types()[sch.hash] {
		return nil, validation("One or more parameter values were invalid: Condition parameter type does not match schema type")
	}
	start, err := p.start()
	if err != nil {
		return nil, err
	}
	g := &page{plan: p}
	full := false // the page has ended before the last record
	hash := keyString(k.Hash)
	forward := p.ScanIndexForward == nil || *p.ScanIndexForward
	each := func(r record) bool {
		if r.hash != hash || pastRange(k, r.rangeKey, forward) {
			return false
		}
		if start != nil && !less(*start, r) && !less(r, *start) {
			return true
		}
		if k.Range != nil && !k.Range(r.rangeKey) {
			return true
		}
		if !g.add(r) {
			full = true
			return false
		}
		return true
	}
	p.t.mu.RLock()
	if forward {
		from := record{hash: hash}
		if k.Low != nil {
			from.rangeKey = *k.Low
		}
		if start != nil {
			from = *start
		}
		p.tree().Ascend(from, each)
	} else {
		from := record{hash: hash + "\x00"} // just after all records of this hash key
		if k.High != nil {
			from = record{hash: hash, rangeKey: *k.High, pk: "\xff"} // after all records of this range key
		}
		if start != nil {
			from = *start
		}
		p.tree().Descend(from, each)
	}
	p.t.mu.RUnlock()
	return g.response(out, full)
}

// pastRange reports whether neither this range key nor a later one can match.
func pastRange(k expr.Key, rangeKey attr.Value, forward bool) bool {
	bound := k.Low
	if forward {
		bound = k.High
	}
	if bound == nil {
		return false
	}
	c, ok := rangeKey.Compare(*bound)
	return ok && (forward && c > 0 || !forward && c < 0)
}

func (s *Service) scan(body, out []byte) ([]byte, error) {
	p, err := s.plan("Scan", body)
	if err != nil {
		return nil, err
	}
	if p.key != nil {
		return nil, validation("Scan takes no KeyConditionExpression")
	}
	if (p.Segment == nil) != (p.TotalSegments == nil) {
		return nil, validation(
			"The TotalSegments parameter is required but was not present in the request when Segment parameter is present")
	}
	if p.Segment != nil {
		segment, total := *p.Segment, *p.TotalSegments
		if total < 1 || total > 1_000_000 || segment < 0 || segment >= total {
			return nil, validation("The Segment parameter is zero-based and must be less than parameter TotalSegments: "+
				"Segment: %d is not less than TotalSegments: %d", segment, total)
		}
	}
	start, err := p.start()
	if err != nil {
		return nil, err
	}
	g := &page{plan: p}
	full := false
	from := record{}
	if start != nil {
		from = *start
	}
	p.t.mu.RLock()
	p.tree().Ascend(from, func(r record) bool {
		if start != nil && !less(*start, r) {
			return true
		}
		if p.Segment != nil && segment(r.hash, *p.TotalSegments) != *p.Segment {
			return true
		}
		if !g.add(r) {
			full = true
			return false
		}
		return true
	})
	p.t.mu.RUnlock()
	return g.response(out, full)
}

// response appends the response. full reports that there are more records.
func (g *page) response(out []byte, full bool) ([]byte, error) {
	if g.err != nil {
		return nil, g.err
	}
	p := g.plan
	// AWS returns a last key whenever the limit is reached, even if no record follows.
	full = full || (p.Limit != nil && g.scanned == *p.Limit)
	out = append(out, `{"Count":`...)
	out = strconv.AppendInt(out, int64(len(g.items)), 10)
	out = append(out, `,"ScannedCount":`...)
	out = strconv.AppendInt(out, int64(g.scanned), 10)
	if p.Select != "COUNT" {
		out = append(out, `,"Items":[`...)
		for i, item := range g.items {
			if i > 0 {
				out = append(out, ',')
			}
			out = item.AppendJSON(out, wire.AppendString)
		}
		out = append(out, ']')
	}
	if full && g.last != nil {
		key := primaryKeyOf(p.t, g.last.item)
		if p.ix != nil {
			for _, n := range []string{p.ix.schema.hash, p.ix.schema.rangeKey} {
				if v, ok := g.last.item[n]; ok {
					key[n] = v
				}
			}
		}
		out = append(out, `,"LastEvaluatedKey":`...)
		out = key.AppendJSON(out, wire.AppendString)
	}
	if wantsCapacity(p.ReturnConsumedCapacity) {
		out = append(out, `,"ConsumedCapacity":`...)
		out = appendCapacity(out, p.t.name, readUnits(g.bytes, p.ConsistentRead))
	}
	return append(out, '}'), nil
}
