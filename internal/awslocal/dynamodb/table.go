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

// schema is the key of a table or index.
type schema struct{ hash, rng string } // rng "" if there is none

// record is one stored item with its place in an index.
type record struct {
	hash string     // hash key, as text
	rng  attr.Value // range key, or none
	pk   string     // primary key as text: makes index entries distinct
	item attr.Item
}

func less(a, b record) bool {
	if c := strings.Compare(a.hash, b.hash); c != 0 {
		return c < 0
	}
	if a.rng.Kind != b.rng.Kind { // one of them is the place before the first
		return a.rng.Kind < b.rng.Kind
	}
	if c, ok := a.rng.Compare(b.rng); ok && c != 0 {
		return c < 0
	}
	return a.pk < b.pk
}

// tree keeps records in key order. It does no locking: its table does.
type tree = btree.BTreeG[record]

func newTree() *tree { return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true}) }

type index struct {
	name       string
	schema     schema
	projection string   // ALL, KEYS_ONLY, INCLUDE
	include    []string // of INCLUDE
	tree       *tree
}

// table is a table and its indexes. mu guards items, def and ttl, and that shape
// is replaced; the rest never changes.
type table struct {
	name    string
	def     definition
	schema  schema
	shape   atomic.Pointer[shape]
	created time.Time

	mu    sync.RWMutex
	items *tree
	bytes int64
	ttl   string // attribute, "" if off
}

// shape is what UpdateTable replaces as a whole: requests are checked against it
// before they have their tables' locks.
type shape struct {
	types   map[string]string // attribute name: S, N or B
	indexes []*index
}

func (t *table) types() map[string]string { return t.shape.Load().types }
func (t *table) indexes() []*index        { return t.shape.Load().indexes }

func newTable(d definition, created time.Time) *table {
	t := &table{name: d.TableName, schema: schemaOf(d.KeySchema), created: created, items: newTree(), ttl: d.TTL}
	t.redefine(d)
	return t
}

// redefine gives the table the indexes of d, filled, and keeps those that it has
// already; mu is held for writing.
func (t *table) redefine(d definition) {
	now := &shape{types: map[string]string{}}
	for _, a := range d.AttributeDefinitions {
		now.types[a.AttributeName] = a.AttributeType
	}
	for _, g := range d.GlobalSecondaryIndexes {
		ix := &index{
			name: g.IndexName, schema: schemaOf(g.KeySchema), projection: cmp.Or(g.Projection.ProjectionType, "ALL"),
			include: g.Projection.NonKeyAttributes, tree: newTree(),
		}
		// One of that name may be another one since: as in a journal.
		if old := t.shape.Load(); old != nil && slices.ContainsFunc(t.def.GlobalSecondaryIndexes, func(o indexDefinition) bool { return reflect.DeepEqual(o, g) }) {
			ix = t.index(g.IndexName)
		} else {
			t.items.Scan(func(r record) bool {
				if in, ok := ix.schema.place(r.item, r.hash+"\x00"+keyText(r.rng)); ok && in.fits(ix.schema, now.types) {
					ix.tree.Set(in)
				}
				return true
			})
		}
		now.indexes = append(now.indexes, ix)
	}
	t.def = d
	t.shape.Store(now)
}

// fits is for an item that was there before the index: one whose keys have
// another type, or are empty, stays out of it.
func (r record) fits(s schema, types map[string]string) bool {
	for _, n := range []string{s.hash, s.rng} {
		if v := r.item[n]; n != "" && (v.Kind.String() != types[n] || v.Str == "") {
			return false
		}
	}
	return true
}

func schemaOf(keys []keyElement) schema {
	var s schema
	for _, k := range keys {
		if k.KeyType == "HASH" {
			s.hash = k.AttributeName
		} else {
			s.rng = k.AttributeName
		}
	}
	return s
}

func keyText(v attr.Value) string { return v.Kind.String() + v.Str }

// place is where an item belongs in an index; ok is false if it lacks the key
// (indexes are sparse).
func (s schema) place(item attr.Item, pk string) (record, bool) {
	h, ok := item[s.hash]
	if !ok {
		return record{}, false
	}
	r := record{hash: keyText(h), pk: pk, item: item}
	if s.rng != "" {
		if r.rng, ok = item[s.rng]; !ok {
			return record{}, false
		}
	}
	return r, true
}

// key checks an item's or request's primary key.
func (t *table) key(item attr.Item, exact bool) (record, error) {
	names := []string{t.schema.hash}
	if t.schema.rng != "" {
		names = append(names, t.schema.rng)
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
			return record{}, validation("One or more parameter values were invalid: Type mismatch for key %s expected: %s actual: %s", n, t.types()[n], v.Kind)
		case v.Str == "":
			return record{}, validation("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: %s", n)
		}
		// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
		if limit := map[bool]int{true: 2048, false: 1024}[n == t.schema.hash]; len(v.Str) > limit {
			return record{}, validation("One or more parameter values were invalid: Size of key %s has exceeded the maximum size limit of %d bytes", n, limit)
		}
	}
	r, _ := t.schema.place(item, "")
	return r, nil
}

// maxItem is DynamoDB's limit on an item, in bytes, names included.
const maxItem = 400 << 10

// check refuses items that are too large or whose index keys have the wrong
// type.
func (t *table) check(item attr.Item) error {
	if item.Size() > maxItem {
		return validation("Item size has exceeded the maximum allowed size")
	}
	for _, ix := range t.indexes() {
		for _, n := range []string{ix.schema.hash, ix.schema.rng} {
			v, ok := item[n]
			if !ok || n == "" {
				continue
			}
			if v.Kind.String() != t.types()[n] {
				return validation("One or more parameter values were invalid: Type mismatch for Index Key %s Expected: %s Actual: %s IndexName: %s", n, t.types()[n], v.Kind, ix.name)
			}
			if v.Str == "" {
				return validation("One or more parameter values are not valid. A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot contain an empty string value. IndexName: %s, IndexKey: %s", ix.name, n)
			}
		}
	}
	return nil
}

func (t *table) get(key record) attr.Item {
	r, ok := t.items.Get(key)
	if !ok {
		return nil
	}
	return r.item
}

// set stores an item, or removes it if item is nil; mu is held for writing.
func (t *table) set(key record, item attr.Item) {
	pk := key.hash + "\x00" + keyText(key.rng)
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

func (t *table) index(name string) *index {
	all := t.indexes()
	i := slices.IndexFunc(all, func(ix *index) bool { return ix.name == name })
	if i < 0 {
		return nil
	}
	return all[i]
}

// visible is the part of an item that the index projects.
func (ix *index) visible(item attr.Item, primary schema) attr.Item {
	if ix.projection == "ALL" {
		return item
	}
	out := attr.Item{}
	keep := append([]string{primary.hash, primary.rng, ix.schema.hash, ix.schema.rng}, ix.include...)
	for _, n := range keep {
		if v, ok := item[n]; ok {
			out[n] = v
		}
	}
	return out
}

// segment spreads hash keys over the segments of a parallel scan.
func segment(hash string, total int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(hash)) // never fails, says hash.Hash
	return int(h.Sum32() % uint32(total))
}
