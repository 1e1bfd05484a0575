// Package worker runs the production process: engine, intake, reconciler, API
// and console. It imports no simulator. Worker is a struct of settings: Open
// connects it to its dependencies, and Run returns when its context has ended
// and everything it started has stopped.
package worker

import (
	"net"
	"path/filepath"
	"time"

	"github.com/dapr/durabletask-go/task"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/activities/payment"
	"github.com/ordersaga/ordersaga/internal/auth"
	"github.com/ordersaga/ordersaga/internal/cloud"
	"github.com/ordersaga/ordersaga/internal/journal"
	"github.com/ordersaga/ordersaga/internal/reconcile"
	"github.com/ordersaga/ordersaga/workflows"
)

// Worker has the settings of one production process. Validate lists the settings
// that have no usable zero value. Call Open once, then Run or Close; do not change
// or copy the settings after Open.
type Worker struct {
	// DataDir is the folder for the embedded engine's files and its state's id. ""
	// keeps everything in memory.
	DataDir string
	// Fsync is when the embedded engine syncs its journal to disk. The zero value
	// is the journal's default.
	Fsync journal.Sync
	// Retention is how long the embedded engine keeps ended sagas readable; 0 means
	// a week.
	Retention time.Duration
	// AWS selects the region, the endpoint and the credentials of every AWS client.
	AWS cloud.Options
	// TablePrefix begins the names of the DynamoDB tables; "" adds none.
	TablePrefix string
	// PaymentURL is the base URL of the payment provider, http or https.
	PaymentURL string
	// PaymentTimeout limits one call of the payment provider. It must be positive.
	PaymentTimeout time.Duration
	// PaymentKey is the payment provider's API key; "" sends none, unless Dapr's
	// secret store has PaymentKeySecret.
	PaymentKey string
	// Installation is the name under which the provider has this system's orders.
	// It must never change for the same tables.
	Installation payment.Installation
	// Dapr makes Dapr the engine and the transport to the carrier; nil selects the
	// embedded engine.
	Dapr *Dapr
	// Terms are the rules that new sagas are started with.
	Terms workflows.Terms
	// MaxLive limits the sagas that intake starts: those that have not ended,
	// without the ones that await an operator or the carrier (engine.Stats). It must
	// be positive. The reconciler may use the same capacity at the same moment; for
	// several workers see sagaCounter.capacity.
	MaxLive int
	// NoIntake leaves the order queue to other consumers, which start sagas through
	// the API.
	NoIntake bool
	// NoSagas leaves queues and sagas to the workers that have the same app id on
	// Dapr: this process serves their API and console, and runs the reconciler.
	NoSagas bool
	// ReconcileEvery is the interval between the reconciler's runs; 0 disables them.
	ReconcileEvery time.Duration
	// ReconcileGrace is how long an order may be unchanged before the reconciler
	// checks it; 0 means reconcile.DefaultGrace.
	ReconcileGrace time.Duration
	// ShutdownTimeout limits how long Run takes after its context has ended. It must
	// be positive.
	ShutdownTimeout time.Duration
	// Listener accepts connections to the API and the console. Run closes it.
	Listener net.Listener
	// EngineListener accepts durable-task clients; nil disables them. It must be on
	// loopback, and is valid only with the embedded engine: a sidecar has its own port.
	EngineListener net.Listener
	// ForceOwnership takes the sagas of these orders away from another embedded
	// worker, which then shuts down. False refuses to start while another owns them.
	ForceOwnership bool
	// OwnershipCheckInterval is how often an embedded worker verifies that it still
	// owns the sagas; 0 means 15 s.
	OwnershipCheckInterval time.Duration
	// Auth authenticates users of the API and the console; nil lets every client
	// that reaches them do everything.
	Auth *auth.Issuer
	// PublicURL is where browsers find the console, if not on loopback. Without
	// Auth, a worker on loopback rejects requests for any other host name.
	PublicURL string
	// RateLimit is how many requests per second one client of the API may make; 0
	// disables the limit.
	RateLimit int
	// Logger receives the worker's log. The zero value discards it.
	Logger zerolog.Logger
	// Register adds workflows and activities beside the order saga's; nil adds none.
	Register func(*task.TaskRegistry) error

	parts   Parts
	metrics metrics
	owner   *ownership        // of the sagas, with the embedded engine
	unpaid  *reconcile.Unpaid // shared by the reconciler's runs
	stalled *reconcile.Stalled
	sagas   *sagaCounter // of all workers, on Dapr
}

// Dapr has the address of the worker's sidecar and the names of its components.
type Dapr struct {
	// GRPC is the sidecar's gRPC address, host:port.
	GRPC string
	// Token is the sidecar's DAPR_API_TOKEN; "" sends none.
	Token string
	// HTTP is the base URL of the sidecar's HTTP API.
	HTTP string
	// PubSub is the component that publishes shipment requests and notifications.
	PubSub string
	// PaymentApp is the app id of the payment provider, called through service
	// invocation in place of PaymentURL; "" calls the URL.
	PaymentApp string
	// Secrets is the secret store that has PaymentKeySecret; "" reads none.
	Secrets string
	// ConnectTimeout limits how long Open waits for the sidecar; see dapr.Options.
	ConnectTimeout time.Duration
	// CanaryEvery is the interval between canary workflows; see dapr.Options.
	CanaryEvery time.Duration
	// RestartSidecar lets the worker restart an unhealthy sidecar; see dapr.Options.
	RestartSidecar bool
}

// PaymentKeySecret is the name under which a secret store has the payment
// provider's API key.
const PaymentKeySecret = "ordersaga/payment-api-key"

// Folder returns the path of a folder of a data directory, or "" if dataDir is "":
// then nothing is kept on disk.
func Folder(dataDir, name string) string {
	if dataDir == "" {
		return ""
	}
	return filepath.Join(dataDir, name)
}
