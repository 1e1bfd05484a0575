package cloud

import (
	"bytes"
	"io"
	"net/http"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/ordersaga/ordersaga/internal/httpcall"
)

// newHTTPClient returns the SDK's HTTP client with our timeout and connection pool. Long
// polls last 20 s and nothing else takes longer, hence the timeout of 30 s. A busy worker
// must be able to keep its connections: with the default of ten idle ones per host, most
// requests under load would open a new one.
func newHTTPClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithTimeout(30 * time.Second).WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost = 256
		t.MaxIdleConns = 512
	})
}

// maxBuffered is the size of the largest request body that bufferedClient buffers, in
// bytes. Larger ones are streamed.
const maxBuffered = 1 << 20

// bufferedClient is an HTTP client that passes request bodies to net/http as buffers that
// need no closing. The SDK closes a request's body as soon as the response header arrives.
// On loopback that can be before net/http has looked for the end of the body, and it then
// drops the connection in the middle of the response. A buffer has no such race, and is
// sent in one write with the header.
//
// It follows no redirect. The SDK follows 307 and 308, with the whole request, to any
// address; no AWS service that we use responds with one.
type bufferedClient struct {
	client *http.Client
}

// Do sends a request. A redirect is an *httpcall.RedirectedError.
func (w bufferedClient) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength < 0 || r.ContentLength > maxBuffered {
		return httpcall.Do(w.client, r)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if err := r.Body.Close(); err != nil {
		return nil, err
	}
	r = r.WithContext(r.Context()) // a shallow copy is enough: the SDK creates a request for each attempt
	r.Body = io.NopCloser(bytes.NewReader(b))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
	return httpcall.Do(w.client, r)
}
