package dynamodb

import (
	"hash/maphash"
	"sync"
	"time"
)

// tokenLife is how long DynamoDB remembers a client request token.
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
const tokenLife = 10 * time.Minute

// tokens remembers client request tokens. They are not journalled: AWS forgets
// them after ten minutes, the local endpoint also when it restarts.
type tokens struct {
	mu     sync.Mutex
	seen   map[string]*tokenUse
	oldest []*tokenUse // in the order they expire
}

type tokenUse struct {
	token   string
	content uint64
	expires time.Time
	done    chan struct{} // closed when the request has its outcome
	ok      bool
}

// begin claims a token. again is true if the request was done before.
func (k *tokens) begin(token string, body []byte, now time.Time) (finish func(ok bool), again bool, err error) {
	if token == "" {
		return func(bool) {}, false, nil
	}
	sum := contentOf(body)
	for {
		k.mu.Lock()
		k.expire(now)
		use, taken := k.seen[token]
		if !taken {
			use = &tokenUse{token: token, content: sum, expires: now.Add(tokenLife), done: make(chan struct{})}
			k.seen[token] = use
			k.oldest = append(k.oldest, use)
			k.mu.Unlock()
			return func(ok bool) { k.finish(use, ok) }, false, nil
		}
		done := use.ok
		k.mu.Unlock()
		if use.content != sum {
			return nil, false, awsError("IdempotentParameterMismatchException", "The request uses the same client token as a previous, but non-identical request.")
		}
		if done {
			return func(bool) {}, true, nil
		}
		<-use.done // the same request is under way
	}
}

func (k *tokens) finish(use *tokenUse, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if use.ok = ok; !ok { // what failed may be tried again under its token
		delete(k.seen, use.token)
	}
	close(use.done)
}

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

// contentOf sums up a valid JSON text so that the order of an object's members
// does not count: SDKs write maps in any order.
func contentOf(body []byte) uint64 {
	sum, _ := sumValue(body, 0)
	return sum
}

func mix(a, b uint64) uint64 {
	h := (a ^ b) * 0x9e3779b97f4a7c15
	return (h ^ h>>29) * 0xbf58476d1ce4e5b9
}

func sumValue(b []byte, i int) (sum uint64, next int) {
	i = skip(b, i)
	if i >= len(b) {
		return 0, i
	}
	switch open := b[i]; open {
	case '{', '[':
		sum = mix(uint64(open), 1)
		for i = skip(b, i+1); i < len(b) && b[i] != '}' && b[i] != ']'; i = skip(b, i) {
			var v uint64
			if open == '[' {
				v, i = sumValue(b, i)
				sum = mix(sum, v) // in order
				continue
			}
			var k uint64
			k, i = sumValue(b, i)
			v, i = sumValue(b, i)
			sum += mix(mix(k, 2), v) // in any order
		}
		return mix(sum, 3), i + 1
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

// skip passes over what only separates.
func skip(b []byte, i int) int {
	for i < len(b) && (b[i] <= ' ' || b[i] == ',' || b[i] == ':') {
		i++
	}
	return i
}
