package main

import "github.com/alecthomas/kong"

// The groups in which flags and commands are listed by --help.
const (
	groupEngine   = "engine"
	groupDapr     = "dapr"
	groupAWS      = "aws"
	groupPayment  = "payment"
	groupOrders   = "orders"
	groupRepair   = "repair"
	groupAccess   = "access"
	groupNetwork  = "network"
	groupDemo     = "demo"
	groupOther    = "other"
	groupLogging  = "logging"
	groupOperate  = "operate"
	groupRun      = "run"
	groupSimulate = "simulate"
	groupVerify   = "verify"
)

// helpGroups are the headings of --help, by the key in a group tag.
func helpGroups() []kong.Group {
	return []kong.Group{
		{Key: groupRun, Title: "Run a system:"},
		{Key: groupOperate, Title: "Operate a running system through its API:"},
		{Key: groupVerify, Title: "Verify, repair and measure:"},
		{Key: groupSimulate, Title: "Simulators for development and tests:"},
		{Key: groupOther, Title: "Other commands:"},
		{Key: groupNetwork, Title: "API, console and ports:"},
		{Key: groupOrders, Title: "Orders:"},
		{Key: groupPayment, Title: "Payment provider:"},
		{Key: groupAWS, Title: "AWS:"},
		{Key: groupEngine, Title: "Embedded engine:"},
		{Key: groupDapr, Title: "Dapr (only with --engine dapr):"},
		{Key: groupRepair, Title: "Reconciler and shutdown:"},
		{Key: groupAccess, Title: "Access:"},
		{Key: groupDemo, Title: "Demo:"},
		{Key: groupLogging, Title: "Logging:"},
	}
}

// helpTexts are the texts that are too long for a struct tag, by the name that
// the tag has as ${name}.
func helpTexts() kong.Vars {
	return kong.Vars{
		"shutdown_timeout": shutdownTimeout.String(),

		"dev_help": "Run everything in one process on loopback. Needs no Docker, no cloud and no sidecar. " +
			"dev always waits for the carrier, for at most 1 minute, and requires approval above 1,000.00 in any currency.",
		"reconcile_help": "Find and repair orders, reservations and charges that do not match. Changes data.",
		"reconcile_offline_help": "Run the reconciler in this process, on the state of a worker that is stopped. " +
			"Without it only --api, --api-token and the logging flags are allowed.",
		"check_help": "Read-only: verify that nothing was oversold, charged or shipped twice, or left reserved. Stop traffic first. " +
			"Reads the orders and stock tables, the payment provider's charges and the carrier's shipments.",
		"terminate_help": "Stop a saga at once. The reconciler then compensates its order. " +
			"If the shipment was already requested, the order needs attention instead.",
		"resolve_help": "Resolve a saga that needs attention: retry (default), skip, mark as done by hand, or compensate.",

		"anywhere_help": "Allow an address that is not loopback. There is no authentication.",
		"fsync_help": "When a saga event counts as durable: group (concurrent events share one fsync), always (one fsync each), " +
			"off (survives a crash of the process, not of the machine).",
		"engine_listen_help": "Loopback address on which the embedded engine serves durable-task clients (gRPC). " +
			"Off by default. With --engine dapr, use the sidecar's gRPC port.",
		"force_ownership_help": "Replace another embedded worker whose state you do not have, after its disk or machine was lost. " +
			"If that worker still runs, it shuts down. Its sagas restart from the orders table. --take-over is the old name.",
		"installation_help": "Prefix of the order ids at the payment provider (NAME:ID), for installations that share an account there, " +
			"such as staging and production. At most 32 characters of a-z, 0-9 and -. " +
			"Stored in the orders table at the first start; a different name is rejected afterwards.",
		"retention_help": "How long the embedded engine keeps the histories of ended sagas. Orders are kept permanently. " +
			"With Dapr, set this in its configuration.",
		"max_live_help": "Maximum number of sagas in progress; further orders stay in the queue. " +
			"Sagas that wait to retry a step count. Sagas that wait for an operator or the carrier do not. " +
			"The reconciler may restart up to the same number in addition. " +
			"With Dapr the limit is for all workers together, and can be exceeded briefly.",
		"approval_above_help": "Orders above this total wait for approval: one limit per currency in major units (EUR=1000.00), " +
			"and * for all others. Without *, every order in a currency that is not listed waits. Default: 0, no order waits.",
		"await_carrier_help": "Wait for the carrier's answer before an order is COMPLETED. " +
			"With --no-await-carrier an order is COMPLETED when its shipment is requested. A later refusal still refunds it.",
		"patience_help":    "How long a failing compensation or shipping step is retried before the saga needs attention.",
		"pace_help":        "Factor on all pauses between retries, except those that the payment provider asks for. For tests and demos.",
		"no_intake_help":   "Do not consume the order queue. Other clients, such as the intake function, start sagas through the API.",
		"canary_help":      "Interval between canary sagas, which prove that Dapr makes progress. /readyz reports the result. 0: never.",
		"no_sagas_help":    "Serve only the API, the console and the reconciler. Workers with the same Dapr app id run the sagas.",
		"keep_stuck_help":  "Do not shut down a sidecar that runs no sagas. By default it is shut down so that it restarts.",
		"payment_app_help": "Dapr app id of the payment provider, called by service invocation instead of --payment-url. Empty: call the URL.",
		"secrets_help":     "Secret store component with the payment provider's API key, unless --payment-key is set. Empty: none.",
		"rate_limit_help": "Most requests per second, averaged over ten seconds, per signed-in user, or per client address if not signed in. " +
			"0: no limit.",
		"components_help": "Directory with Dapr's components and configuration.yaml, instead of the built-in components/local. " +
			"It must include the state store; --state is then not allowed.",
		"state_address_help": "Address of the state store: host:port for redis, a connection string for postgresql.",
		"open_sidecars_help": "Start sidecars without an API token, as the Dapr CLI and dashboards need. " +
			"Any program on this machine, and any web page open in a browser on it, can then control them.",
		"max_body_help": "Largest message that the workers' sidecars accept, in MiB, 4 to 64. A saga whose history is larger is stalled.",

		"public_url_help": "URL of the console as users see it. Register it with /console/signed-in appended as a redirect URL at the issuer. " +
			"Without an issuer, a worker on loopback accepts requests only for localhost and this host.",
		"open_help": "Disable authentication, also on addresses that are not loopback. " +
			"Only for private networks, or behind a proxy that authenticates.",
		"roles_claim_help": "Claim with the roles viewer, shop and operator. Dots descend into objects, as in realm_access.roles.",
		"client_id_help":   "Client id of the console at the issuer, for sign-in with a browser. Without it only bearer tokens are accepted.",

		"status_help": "Only orders with one of these statuses, separated by commas, such as NEEDS_ATTENTION.",
		"runtime_status_help": "Only orders whose saga has one of these statuses in the workflow engine, separated by commas, " +
			"such as SUSPENDED or TERMINATED. NONE: open orders without a saga. " +
			"COMPLETED, FAILED and TERMINATED read every order that the other filters select, so also set --since.",
		"action_help": "retry: retry the stuck step. skip: go on without it. resolve: it was done by hand; go on after it. " +
			"compensate: give up and compensate the order; not possible while it is being compensated.",

		"load_skus": "SKU-1,SKU-2,SKU-3,SKU-4,SKU-5,SKU-6,SKU-7,SKU-8,SKU-9,SKU-10",
		"mix_help": "Shares of the kinds of orders, for dev's simulators: ok, twice (sent twice), flaky and lost (payment that recovers), " +
			"declined, short (of stock), refused (by the carrier), invalid. The outcome of each order is verified.",
		"file_help": "Place the orders of these files in turn instead of a mix, each with a new id and customer. " +
			"A file has OrderPlaced events in JSON, as order convert writes them. All must be in stock and end COMPLETED.",
		"convert_sku_help": "Our SKU for a SKU of the shop's, for example when theirs has characters that ours must not have.",
	}
}
