package dynamodb

import (
	"cmp"
	"hash/fnv"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/btree"

	"github.com/ordersaga/ordersaga/internal/awslocal/dynamodb/attr"
)

// schema names the key attributes of a table or index.
type schema struct{ hash, rangeKey string } // rangeKey is "" if there is none

// record is a stored item with its key in a table or index.
type record struct {
	hash     string     // hash key, as text
	rangeKey attr.Value // of kind None if there is none
	pk       string     // in an index: the primary key as text, which makes its keys unique
	item     attr.Item
}

// less orders records by hash key, range key and primary key.
func less(a, b record) bool {
	if c := strings.Compare(a.hash, b.hash); c != 0 {
		return c < 0
	}
	if a.rangeKey.Kind != b.rangeKey.Kind { // a record without range key sorts before all others
		return a.rangeKey.Kind < b.rangeKey.Kind
	}
	if c, ok := a.rangeKey.Compare(b.rangeKey); ok && c != 0 {
		return c < 0
	}
	return a.pk < b.pk
}

// tree holds records in key order. It has no lock of its own: the table's mu guards it.
type tree = btree.BTreeG[record]

func newTree() *tree { return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true}) }

// index is a global secondary index.
type index struct {
	name       string
	schema     schema
	projection string   // ALL, KEYS_ONLY or INCLUDE
	include    []string // the attributes of INCLUDE
	tree       *tree
}

// table is a table with its indexes. mu guards the fields below it, def, and the replacement
// of shape. The other fields never change.
type table struct {
	name    string
	def     definition
	schema  schema
	shape   atomic.Pointer[shape]
	created time.Time

	mu    sync.RWMutex
	items *tree
	bytes int64
	ttl   string // the TTL attribute; "" if TTL is disabled
}

// shape holds what UpdateTable replaces as a whole. It is read without mu, because requests
// are validated before their tables are locked.
type shape struct {
	types   map[string]string // S, N or B by attribute name
	indexes []*index
}

func (t *table) types() map[string]string { return t.shape.Load().types }
func (t *table) indexes() []*index        { return t.shape.Load().indexes }

func newTable(d definition, created time.Time) *table {
	t := &table{name: d.TableName, schema: schemaOf(d.KeySchema), created: created, items: newTree(), ttl: d.TTL}
	t.redefine(d)
	return t
}

// redefine gives the table the definition d. It builds the indexes that are new and keeps
// those that have not changed. The caller holds mu for writing.
func (t *table) redefine(d definition) {
	next := &shape{types: map[string]string{}}
	for _, a := range d.AttributeDefinitions {
		next.types[a.AttributeName] = a.AttributeType
	}
	for _, g := range d.GlobalSecondaryIndexes {
		ix := &index{
			name: g.IndexName, schema: schemaOf(g.KeySchema), projection: cmp.Or(g.Projection.ProjectionType, "ALL"),
			include: g.Projection.NonKeyAttributes, tree: newTree(),
		}
		// Compare the whole definition: during a replay, the index may be a later one of the
		// same name.
		unchanged := slices.ContainsFunc(t.def.GlobalSecondaryIndexes, func(o indexDefinition) bool { return reflect.DeepEqual(o, g) })
		if unchanged {
			ix = t.index(g.IndexName)
		} else {
			t.items.Scan(func(r record) bool {
				if in, ok := ix.schema.place(r.item, r.hash+"\x00"+keyString(r.rangeKey)); ok && in.matchesTypes(ix.schema, next.types) {
					ix.tree.Set(in)
				}
				return true
			})
		}
		next.indexes = append(next.indexes, ix)
	}
	t.def = d
	t.shape.Store(next)
}

// matchesTypes reports whether an item that is older than the index belongs in it. An item
// whose key attributes have another type, or are empty, does not.
func (r record) matchesTypes(s schema, types map[string]string) bool {
	for _, n := range []string{s.hash, s.rangeKey} {
		if v := r.item[n]; n != "" && (v.Kind.String() != types[n] || v.Str == "") {
			return false
		}
	}
	return true
}

// schemaOf returns the schema of a KeySchema.
func schemaOf(keys []keyElement) schema {
	var s schema
	for _, k := range keys {
		if k.KeyType == "HASH" {
			s.hash = k.AttributeName
		} else {
			s.rangeKey = k.AttributeName
		}
	}
	return s
}

// primaryKeyOf returns the primary key of an item of the table.
func primaryKeyOf(t *table, item attr.Item) attr.Item {
	k := attr.Item{t.schema.hash: item[t.schema.hash]}
	if t.schema.rangeKey != "" {
		k[t.schema.rangeKey] = item[t.schema.rangeKey]
	}
	return k
}

// keyString returns a key attribute as text that identifies its type and value.
func keyString(v attr.Value) string { return v.Kind.String() + v.Str }

// place returns the item's record in a table or index. The boolean is false if the item lacks a
// key attribute: then it is not in the index, because indexes are sparse.
func (s schema) place(item attr.Item, pk string) (record, bool) {
	h, ok := item[s.hash]
	if !ok {
		return record{}, false
	}
	r := record{hash: keyString(h), pk: pk, item: item}
	if s.rangeKey != "" {
		r.rangeKey, ok = item[s.rangeKey]
		if !ok {
			return record{}, false
		}
	}
	return r, true
}

// primaryKey validates the primary key of an item, or with exact of a request's Key, and
// returns its record.
func (t *table) primaryKey(item attr.Item, exact bool) (record, error) {
	names := []string{t.schema.hash}
	if t.schema.rangeKey != "" {
		names = append(names, t.schema.rangeKey)
	}
	if exact && len(item) != len(names) {
		return record{}, validation("The provided key element does not match the schema")
	}
	for _, n := range names {
		v, ok := item[n]
		switch {
		case !ok && exact:
			return record{}, validation("The provided key element does not match the schema")
		case !ok:
			return record{}, validation("One or more parameter values were invalid: Missing the key %s in the item", n)
		case v.Kind.String() != t.types()[n]:
			if exact {
				return record{}, validation("The provided key element does not match the schema")
			}
			return record{}, validation("One or more parameter values were invalid: "+
				"Type mismatch for key %s expected: %s actual: %s", n, t.types()[n], v.Kind)
		case v.Str == "":
			return record{}, validation("One or more parameter values are not valid. "+
				"The AttributeValue for a key attribute cannot contain an empty string value. Key: %s", n)
		}
		limit := maxRangeKeyBytes
		if n == t.schema.hash {
			limit = maxHashKeyBytes
		}
		if len(v.Str) > limit {
			return record{}, validation("One or more parameter values were invalid: "+
				"Size of key %s has exceeded the maximum size limit of %d bytes", n, limit)
		}
	}
	r, _ := t.schema.place(item, "")
	return r, nil
}

// DynamoDB's limits on an item, including the names of its attributes, and on key attributes;
// see https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
const (
	maxItemBytes     = 400 << 10
	maxHashKeyBytes  = 2048
	maxRangeKeyBytes = 1024
)

// checkItem rejects an item that is too large, or that has a key attribute of an index with
// the wrong type.
func (t *table) checkItem(item attr.Item) error {
	if item.Size() > maxItemBytes {
		return validation("Item size has exceeded the maximum allowed size")
	}
	for _, ix := range t.indexes() {
		for _, n := range []string{ix.schema.hash, ix.schema.rangeKey} {
			v, ok := item[n]
			if !ok || n == "" {
				continue
			}
			if v.Kind.String() != t.types()[n] {
				return validation("One or more parameter values were invalid: "+
					"Type mismatch for Index Key %s Expected: %s Actual: %s IndexName: %s", n, t.types()[n], v.Kind, ix.name)
			}
			if v.Str == "" {
				return validation("One or more parameter values are not valid. "+
					"A value specified for a secondary index key is not supported. "+
					"The AttributeValue for a key attribute cannot contain an empty string value. IndexName: %s, IndexKey: %s", ix.name, n)
			}
		}
	}
	return nil
}

// get returns the item with that key, or nil. The caller holds mu.
func (t *table) get(key record) attr.Item {
	r, ok := t.items.Get(key)
	if !ok {
		return nil
	}
	return r.item
}

// set stores an item under a key, or deletes it if item is nil. The caller holds mu for
// writing.
func (t *table) set(key record, item attr.Item) {
	pk := key.hash + "\x00" + keyString(key.rangeKey)
	old, existed := t.items.Get(key)
	if existed {
		t.bytes -= int64(old.item.Size())
		for _, ix := range t.indexes() {
			if r, ok := ix.schema.place(old.item, pk); ok {
				ix.tree.Delete(r)
			}
		}
	}
	if item == nil {
		t.items.Delete(key)
		return
	}
	key.item = item
	t.items.Set(key)
	t.bytes += int64(item.Size())
	for _, ix := range t.indexes() {
		if r, ok := ix.schema.place(item, pk); ok {
			ix.tree.Set(r)
		}
	}
}

// index returns the index of that name, or nil.
func (t *table) index(name string) *index {
	all := t.indexes()
	i := slices.IndexFunc(all, func(ix *index) bool { return ix.name == name })
	if i < 0 {
		return nil
	}
	return all[i]
}

// project returns the attributes of an item that the index contains.
func (ix *index) project(item attr.Item, primary schema) attr.Item {
	if ix.projection == "ALL" {
		return item
	}
	out := attr.Item{}
	keep := append([]string{primary.hash, primary.rangeKey, ix.schema.hash, ix.schema.rangeKey}, ix.include...)
	for _, n := range keep {
		if v, ok := item[n]; ok {
			out[n] = v
		}
	}
	return out
}

// segment returns the segment of a parallel scan that a hash key belongs to.
func segment(hash string, total int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(hash)) // a hash.Hash never returns an error
	return int(h.Sum32() % uint32(total))
}
