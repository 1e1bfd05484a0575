package main

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// TestDevContinuesADataDirectoryOfAnOlderVersion: testdata/72b77bd is what `dev` of
// that commit has written, without the lock files: the engine's state and the
// journals of the local AWS endpoint and of the simulators. The order "ended" is
// completed. The order "approval" waits for an approval, with a deadline that has
// passed an hour later; it is cancelled here, as by the deadline.
func TestDevContinuesADataDirectoryOfAnOlderVersion(t *testing.T) {
	data := t.TempDir()
	require.NoError(t, os.CopyFS(data, os.DirFS("testdata/72b77bd")))
	verify := func(when string) {
		t.Helper()
		if status, out, stderr := ordersaga(t, "data", "verify", "--data-dir", data); status != 0 || strings.Count(out, "OK: ") != 6 {
			t.Errorf("data verify %s: status %d, want 0 and six directories that are OK\n%s\n%s", when, status, out, stderr)
		}
	}
	verify("before")

	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, devArgs("--data-dir", data), w, io.Discard)
		_ = w.Close()
	}()
	api := between(t, readUntil(t, r, "/v1/sagas/o-1043"), "API        ", " ")
	go func() { _, _ = io.Copy(io.Discard, r) }()

	require.NoError(t, sagaIs(api, "ended", "COMPLETED"))
	order := func(id string) string {
		return `{"orderId":"` + id + `","customerId":"c-7","currency":"EUR",` +
			`"lines":[{"sku":"SKU-1","quantity":1,"unitPrice":1999}],"payment":{"token":"tok_ok"}}`
	}
	post(t, api+"/v1/orders", order("ended")) // a repetition, which is accepted without effect
	post(t, api+"/v1/orders", order("new"))
	if sagaIs(api, "approval", "AWAITING_APPROVAL") == nil {
		post(t, api+"/v1/sagas/approval/cancel", "{}")
	}
	for id, want := range map[string]string{"new": "COMPLETED", "approval": "CANCELLED", "ended": "COMPLETED"} {
		require.EventuallyNoError(t, "order "+id+" is "+want, 20*time.Second, func() error { return sagaIs(api, id, want) })
	}
	stop()
	if status := <-ended; status != 0 {
		t.Errorf("dev ended with status %d, want 0", status)
	}
	verify("after")
}
