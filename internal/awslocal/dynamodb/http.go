package dynamodb

import (
	"context"
	"errors"
	"hash/crc32"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

const targetPrefix = "DynamoDB_20120810."

// ServeHTTP serves one request of the AWS JSON 1.0 protocol.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), targetPrefix)
	handle, ok := operations[op]
	if !ok {
		wire.WriteJSONError(w, &wire.Error{
			Shape: "com.amazon.coral.service#UnknownOperationException", Code: "UnknownOperationException",
			Message: "The local endpoint has no operation " + op + ".",
		})
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
	res, err := s.run(r.Context(), handle, body, (*out)[:0])
	if err != nil {
		writeError(w, err)
		return
	}
	*out = res
	writeBody(w, http.StatusOK, res)
	s.journal.CompactIfNeeded(s.snapshot)
}

// run runs an operation, and waits until everything that its result may show is durable: an
// item that was read, or because of which a condition failed, too.
func (s *Service) run(ctx context.Context, handle operation, body, out []byte) ([]byte, error) {
	if err := s.journal.WaitForSpace(ctx); err != nil {
		return nil, err
	}
	out, err := handle(s, body, out)
	if notDurable := s.journal.WaitAll(ctx); notDurable != nil {
		return nil, notDurable
	}
	return out, err
}

// decode decodes a request. It rejects unknown parameters: a response that ignores one would
// answer a different request.
func decode(body []byte, into any) error {
	err := wire.DecodeStrictJSON(body, into)
	if unknown, ok := errors.AsType[*wire.UnknownFieldError](err); ok {
		return validation("The local endpoint has no parameter %s here", unknown.Name)
	}
	return err
}

// writeBody writes a response with the checksum that DynamoDB's clients verify.
func writeBody(w http.ResponseWriter, status int, b []byte) {
	h := w.Header()
	h["Content-Type"] = jsonType
	h["X-Amz-Crc32"] = []string{strconv.FormatUint(uint64(crc32.ChecksumIEEE(b)), 10)}
	h["Content-Length"] = []string{strconv.Itoa(len(b))}
	w.WriteHeader(status)
	_, _ = w.Write(b) // fails only if the client has disconnected
}

var jsonType = []string{"application/x-amz-json-1.0"}

// operation serves a request: it decodes body, appends the response to out and returns it.
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

// fault returns the injected error of an operation, if there is one.
func (s *Service) fault(op string, tables ...string) error {
	if s.opt.Fault == nil {
		return nil
	}
	return s.opt.Fault(op, tables)
}

// cache holds parsed expressions by kind and text. A program usually has few. If it builds
// values into its expressions it has many; the cache is then emptied when it is full.
type cache struct {
	mu sync.RWMutex
	m  map[string]any
}

// cacheSize is the largest number of expressions in a cache.
const cacheSize = 4096

// parsed returns the parsed expression, from the cache if it is there. kind is the name of the
// parameter with the expression.
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
