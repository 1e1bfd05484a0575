package dynamodb

import (
	"errors"
	"hash/crc32"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

const targetPrefix = "DynamoDB_20120810."

// ServeHTTP answers one request of the AWS JSON 1.0 protocol.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), targetPrefix)
	handle, ok := operations[op]
	if !ok {
		wire.WriteJSONError(w, &wire.Error{Shape: "com.amazon.coral.service#UnknownOperationException", Code: "UnknownOperationException",
			Message: "The local endpoint has no operation " + op + "."})
		return
	}
	in := wire.GetBuffer()
	defer wire.PutBuffer(in)
	body, err := wire.ReadBody(w, r, (*in)[:0])
	if err != nil {
		writeError(w, err)
		return
	}
	*in = body
	out := wire.GetBuffer()
	defer wire.PutBuffer(out)
	res, err := handle(s, body, (*out)[:0])
	if err != nil {
		writeError(w, err)
		return
	}
	*out = res
	writeBody(w, http.StatusOK, res)
	s.journal.CompactIfNeeded(s.snapshot)
}

// decode reads a request. A parameter that is not known here is refused, for
// to leave it out would be to answer another question.
func decode(body []byte, into any) error {
	err := wire.DecodeStrictJSON(body, into)
	if unknown, ok := errors.AsType[*wire.UnknownFieldError](err); ok {
		return validation("The local endpoint has no parameter %s here", unknown.Name)
	}
	return err
}

// writeBody adds the checksum that DynamoDB's clients verify.
func writeBody(w http.ResponseWriter, status int, b []byte) {
	h := w.Header()
	h["Content-Type"] = jsonType
	h["X-Amz-Crc32"] = []string{strconv.FormatUint(uint64(crc32.ChecksumIEEE(b)), 10)}
	h["Content-Length"] = []string{strconv.Itoa(len(b))}
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client may be gone; nobody is left to tell
}

var jsonType = []string{"application/x-amz-json-1.0"}

// operation answers a request body, appending the answer to out.
type operation func(s *Service, body, out []byte) ([]byte, error)

var operations = map[string]operation{
	"CreateTable": (*Service).createTable, "DescribeTable": (*Service).describeTable,
	"DeleteTable": (*Service).deleteTable, "ListTables": (*Service).listTables,
	"UpdateTable":      (*Service).updateTable,
	"UpdateTimeToLive": (*Service).updateTTL, "DescribeTimeToLive": (*Service).describeTTL,
	"GetItem": (*Service).getItem, "PutItem": (*Service).putItem,
	"UpdateItem": (*Service).updateItem, "DeleteItem": (*Service).deleteItem,
	"Query": (*Service).query, "Scan": (*Service).scan,
	"BatchGetItem": (*Service).batchGet, "BatchWriteItem": (*Service).batchWrite,
	"TransactWriteItems": (*Service).transactWrite, "TransactGetItems": (*Service).transactGet,
}

func (s *Service) fault(op string, tables ...string) error {
	if s.opt.Fault == nil {
		return nil
	}
	return s.opt.Fault(op, tables)
}

// cache keeps parsed expressions by their text. A program has few; one that
// builds values into them has many, and then the cache starts over.
type cache struct {
	mu sync.RWMutex
	m  map[string]any
}

const cacheSize = 4096

func parsed[T any](c *cache, kind, text string, parse func(string) (T, error)) (T, error) {
	key := kind + "\x00" + text
	c.mu.RLock()
	v, ok := c.m[key].(T)
	c.mu.RUnlock()
	if ok {
		return v, nil
	}
	v, err := parse(text)
	if err != nil {
		return v, inExpression(kind, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || len(c.m) >= cacheSize {
		c.m = map[string]any{}
	}
	c.m[key] = v
	return v, nil
}
