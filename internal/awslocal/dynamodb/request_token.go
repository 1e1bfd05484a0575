package dynamodb

import (
	"hash/maphash"
	"sync"
	"time"
)

// tokenTTL is how long a client request token is valid after its first use; see
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
const tokenTTL = 10 * time.Minute

// tokens holds the client request tokens in use. They are not in the journal: the local
// endpoint drops them also when it restarts.
type tokens struct {
	mu     sync.Mutex
	seen   map[string]*tokenUse
	oldest []*tokenUse // in the order of their expiry
}

// tokenUse is a request with a token.
type tokenUse struct {
	token   string
	content uint64 // hash of the request
	expires time.Time
	done    chan struct{} // closed when the request has ended
	ok      bool          // the request succeeded; guarded by tokens.mu
}

// begin reserves a token; the caller must call finish with the outcome of the request.
// repeated is true if the same request has succeeded before. begin waits while the same
// request is in progress. A different request with the same token is an
// IdempotentParameterMismatchException.
func (k *tokens) begin(token string, body []byte, now time.Time) (finish func(ok bool), repeated bool, err error) {
	if token == "" {
		return func(bool) {}, false, nil
	}
	sum := contentHash(body)
	for {
		k.mu.Lock()
		k.expire(now)
		use, taken := k.seen[token]
		if !taken {
			use = &tokenUse{token: token, content: sum, expires: now.Add(tokenTTL), done: make(chan struct{})}
			k.seen[token] = use
			k.oldest = append(k.oldest, use)
			k.mu.Unlock()
			return func(ok bool) { k.finish(use, ok) }, false, nil
		}
		done := use.ok
		k.mu.Unlock()
		if use.content != sum {
			return nil, false, awsError("IdempotentParameterMismatchException",
				"The request uses the same client token as a previous, but non-identical request.")
		}
		if done {
			return func(bool) {}, true, nil
		}
		<-use.done // the same request is in progress
	}
}

// finish records the outcome of a request. If it failed, its token can be used again.
func (k *tokens) finish(use *tokenUse, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	use.ok = ok
	if !ok {
		delete(k.seen, use.token)
	}
	close(use.done)
}

// expire drops the tokens that are no longer valid. The caller holds mu.
func (k *tokens) expire(now time.Time) {
	for len(k.oldest) > 0 && now.After(k.oldest[0].expires) {
		if u := k.oldest[0]; k.seen[u.token] == u {
			delete(k.seen, u.token)
		}
		k.oldest[0] = nil
		k.oldest = k.oldest[1:]
	}
}

var contentSeed = maphash.MakeSeed()

// contentHash returns a hash of a valid JSON text that does not depend on white space or on the
// order of an object's members, because SDKs write maps in any order.
func contentHash(body []byte) uint64 {
	sum, _ := hashValue(body, 0)
	return sum
}

// mixHash combines two hashes; their order matters.
func mixHash(a, b uint64) uint64 {
	h := (a ^ b) * 0x9e3779b97f4a7c15
	return (h ^ h>>29) * 0xbf58476d1ce4e5b9
}

// hashValue returns the hash of the value at b[i], and the index after it.
func hashValue(b []byte, i int) (sum uint64, next int) {
	i = skipSeparators(b, i)
	if i >= len(b) {
		return 0, i
	}
	switch open := b[i]; open {
	case '{', '[':
		sum = mixHash(uint64(open), 1)
		for i = skipSeparators(b, i+1); i < len(b) && b[i] != '}' && b[i] != ']'; i = skipSeparators(b, i) {
			var v uint64
			if open == '[' {
				v, i = hashValue(b, i)
				sum = mixHash(sum, v) // depends on the order
				continue
			}
			var k uint64
			k, i = hashValue(b, i)
			v, i = hashValue(b, i)
			sum += mixHash(mixHash(k, 2), v) // does not depend on the order
		}
		return mixHash(sum, 3), i + 1
	case '"':
		end := i + 1
		for end < len(b) && b[end] != '"' {
			if b[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end+1, len(b))
		return maphash.Bytes(contentSeed, b[i:end]), end
	default:
		end := i
		for end < len(b) && b[end] != ',' && b[end] != '}' && b[end] != ']' && b[end] > ' ' {
			end++
		}
		return maphash.Bytes(contentSeed, b[i:end]), end
	}
}

// skipSeparators returns the index of the first byte at or after i that is not white space, a
// comma or a colon.
func skipSeparators(b []byte, i int) int {
	for i < len(b) && (b[i] <= ' ' || b[i] == ',' || b[i] == ':') {
		i++
	}
	return i
}
