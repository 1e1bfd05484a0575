package carriersim_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/carriersim"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/journal/journaltest"
	"github.com/ordersaga/ordersaga/internal/sqsconsumer"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

// outbox counts the messages that are sent while the disk works.
type outbox struct {
	sqsconsumer.SQS

	t    *testing.T
	disk *journaltest.Disk
	sent *atomic.Int64
}

func (o outbox) SendMessage(context.Context, *sqs.SendMessageInput, ...func(*sqs.Options)) (*sqs.SendMessageOutput, error) {
	if o.disk != nil && !o.disk.Works() {
		o.t.Error("the carrier has sent an answer to a request that is not on disk, want none")
	}
	o.sent.Add(1)
	return &sqs.SendMessageOutput{}, nil
}

// TestAnswersFollowTheRecordOnDisk checks that neither responses nor answers to shipment
// requests go out before the parcel is on disk, also for repeated requests.
func TestAnswersFollowTheRecordOnDisk(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	request := journaltest.Request{
		Method: http.MethodPost, Path: "/v1/shipment-events", Status: http.StatusOK, Text: "SUCCESS",
		Body: `{"type":"ShipmentRequested","shipmentId":"shp-o","orderId":"o"}`,
	}
	journaltest.ServerTest{
		Open: func(t *testing.T, dir string, fs journal.FS) journaltest.Server {
			t.Helper()
			disk, _ := fs.(*journaltest.Disk)
			c, err := carriersim.Open(carriersim.Options{Dir: dir, SQS: outbox{t: t, disk: disk, sent: &sent}, Logger: zerolog.Nop(), FS: fs})
			require.NoError(t, err)
			return journaltest.Server{Handler: c.Handler(), Health: "/readyz", Watch: c.Watch, Close: c.Close}
		},
		Change: request,
		Shows: []journaltest.Request{
			request, {Method: http.MethodGet, Path: "/v1/shipments?orderId=o", Status: http.StatusOK, Text: "trk-o"},
		},
	}.Run(t)
	t.Cleanup(func() {
		if sent.Load() == 0 {
			t.Error("the carrier has sent no answer at all, want one for each request on disk")
		}
	})
}
