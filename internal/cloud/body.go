package cloud

import (
	"bytes"
	"io"
	"net/http"

	"github.com/ordersaga/ordersaga/internal/httpcall"
)

// whole is an HTTP client that hands request bodies to net/http in one piece.
// The SDK closes a request's body as soon as the answer's head arrives; on
// loopback that can be before net/http has looked for the body's end, and it
// then drops the connection in the middle of the answer. A body that needs no
// closing has no such race, and goes out in one write with the head.
//
// It follows no redirect. The SDK follows a 307 and a 308, with all that the
// request says, to wherever they point; what we use of AWS answers with none.
type whole struct {
	client *http.Client
}

func (w whole) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength < 0 || r.ContentLength > 1<<20 {
		return httpcall.Do(w.client, r)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if err := r.Body.Close(); err != nil {
		return nil, err
	}
	r = r.WithContext(r.Context()) // a shallow copy will do: the SDK makes a request for each try
	r.Body = io.NopCloser(bytes.NewReader(b))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
	return httpcall.Do(w.client, r)
}
