package conformance

// deviations are the known deviations by emulator. If one is no longer there its test fails,
// which shows that the emulator was fixed.
var deviations = map[string][]deviation{
	// moto 5.2.5. An unexpected request gets status 500 and an HTML page.
	moto: {
		{behaviour: "SQS: message attributes, invalid characters", does: "accepts all", reports: reports{"U+0001: accepted"}},
		{behaviour: "SQS: message attributes, empty value", does: "accepts it", reports: reports{"accepted"}},
		{behaviour: "SQS: message attributes, limit", does: "accepts eleven", reports: reports{"eleven: accepted"}},
		{behaviour: "SQS: visibility timeout, not in flight", does: "accepts it", reports: reports{"visible: accepted"}},
		{
			behaviour: "SQS: dead letters", does: "moves it without DeadLetterQueueSourceArn",
			reports: reports{"DeadLetterQueueSourceArn: got nothing"},
		},
		{
			behaviour: "SQS: redrive", does: "internal error",
			reports: reports{"start: unexpected error: " + failed + "SQS: StartMessageMoveTask" + html},
		},
		{
			behaviour: "SQS: redrive, other source", does: "internal error",
			reports: reports{"start: " + failed + "SQS: StartMessageMoveTask" + html},
		},
		{
			behaviour: "SQS: redrive, unknown task", does: "internal error",
			reports: reports{"cancel: " + failed + "SQS: CancelMessageMoveTask" + html},
		},
		{behaviour: "SQS: message size, attributes", does: "does not count them", reports: reports{"above the limit: accepted"}},
		{behaviour: "SQS: invalid characters", does: "accepts all", reports: reports{"U+0001: accepted", "U+FFFE: accepted"}},
		{behaviour: "SQS: empty body", does: "accepts it", reports: reports{"accepted"}},
		{
			behaviour: "SQS: send batch, partial failure", does: "accepts the invalid character",
			reports: reports{"sent: got 3", "failed: got nothing", "received 3 messages"},
		},
		{behaviour: "SQS: set attributes", does: "stores the Policy and does not return it", reports: reports{"Policy: got nothing"}},
		{behaviour: "SQS: unknown attribute", does: "accepts it", reports: reports{"set: accepted"}},
		{behaviour: "SQS: attribute out of range", does: "accepts it", reports: reports{"set: accepted"}},
		{behaviour: "SQS: create queue, just deleted", does: "accepts it", reports: reports{"again: accepted"}},
		{
			behaviour: "SNS: raw delivery", does: "a receive of a message with a Binary attribute is an internal error",
			reports: reports{"receive: unexpected error: " + failed + "SQS: ReceiveMessage" + html},
		},
		{behaviour: "SNS: subscribe again, other attributes", does: "accepts it", reports: reports{"subscribe: accepted"}},
		{behaviour: "SNS: message size, attributes", does: "does not count them", reports: reports{"above the limit: accepted"}},
		{behaviour: "SNS: empty message", does: "accepts it", reports: reports{"publish: accepted"}},
		{
			behaviour: "SNS: publish batch, partial failure", does: "accepts the empty message",
			reports: reports{"published: got 3", "failed: 0", "received 3 messages"},
		},
		{behaviour: "SNS: unknown protocol", does: "accepts it", reports: reports{"subscribe: accepted"}},
		{behaviour: "SNS: filter policy, exists false, no attributes", does: "delivers it", reports: reports{"received: got 1"}},
		{behaviour: "SNS: filter policy, body, exists false", does: "does not deliver it", reports: reports{"received: got 0"}},
		{
			behaviour: "DynamoDB: index, existing name", does: "internal error",
			reports: reports{"add an index that is there: " + failed + "DynamoDB: UpdateTable" + html},
		},
		{behaviour: "DynamoDB: sets", does: "stores numbers as they were sent", reports: reports{"numbers: got [1.0 2]"}},
		{
			behaviour: "DynamoDB: numbers, canonical form", does: "stores them as they were sent",
			reports: reports{
				`1.0 becomes "1.0"`, `-0 becomes "-0"`, `0.10 becomes "0.10"`, `1e3 becomes "1e3"`, `1E-2 becomes "1E-2"`,
				`+5 becomes "+5"`, `00012 becomes "00012"`,
			},
		},
		{
			behaviour: "DynamoDB: numbers, invalid", does: "accepts 39 digits and underscores",
			reports: reports{`"123456789012345678901234567890123456789": accepted`, `"1_0": accepted`},
		},
		{behaviour: "DynamoDB: batch, 26 writes", does: "accepts it", reports: reports{"write: accepted"}},
		{
			behaviour: "DynamoDB: batch, duplicate item", does: "accepts it if the attributes are in another order",
			reports: reports{"write: accepted"},
		},
		{behaviour: "DynamoDB: item size", does: "rejects an item of exactly 400 KB", reports: reports{"at the limit: "}},
		{
			behaviour: "DynamoDB: unknown index", does: "ResourceNotFoundException",
			reports: reports{"ResourceNotFoundException: Invalid index"},
		},
		{behaviour: "DynamoDB: time to live, already enabled", does: "accepts it", reports: reports{"again: accepted"}},
		{
			behaviour: "DynamoDB: update rejected, undefined name", does: "internal error",
			reports: reports{failed + "DynamoDB: UpdateItem" + html},
		},
		{
			behaviour: "DynamoDB: update rejected, path into a string", does: "accepts it and changes nothing",
			reports: reports{"accepted"},
		},
		{
			behaviour: "DynamoDB: update rejected, BETWEEN with reversed bounds", does: "reports a failed condition",
			reports: reports{"ConditionalCheckFailedException"},
		},
		{behaviour: "DynamoDB: put rejected, index key of another type", does: "accepts it", reports: reports{"put: accepted"}},
		{
			behaviour: "DynamoDB: query rejected, BETWEEN with reversed bounds", does: "returns no items",
			reports: reports{"query: accepted"},
		},
		{behaviour: "DynamoDB: query rejected, filter on the key", does: "accepts it", reports: reports{"query: accepted"}},
		{
			behaviour: "DynamoDB: transaction cancelled, invalid item", does: "the whole request is ValidationException",
			reports: reports{"ValidationException: Invalid UpdateExpression"},
		},
		{behaviour: "DynamoDB: transaction, size", does: "accepts it", reports: reports{"write: accepted"}},
		{behaviour: "DynamoDB: transaction, token", does: "applies it each time", reports: reports{"n: got 13"}},
		{
			behaviour: "DynamoDB: transaction, token of another request", does: "accepts it",
			reports: reports{"other content: accepted", "n: got 13"},
		},
		{behaviour: "DynamoDB: capacity of a transaction", does: "returns none", reports: reports{"units: got 0"}},
		{behaviour: "DynamoDB: capacity of transactional reads", does: "returns none", reports: reports{"units: got 0"}},
		{behaviour: "DynamoDB: capacity of batches", does: "counts one unit for all writes", reports: reports{"written: got 1"}},
		{
			behaviour: "DynamoDB: concurrent transactions", does: "sometimes loses updates, because it does not lock",
			reports: reports{"a: got 9", "b: got "},
		},
		{
			behaviour: "DynamoDB: concurrent conditional updates", does: "sometimes takes more than there is, because it does not lock",
			reports: reports{"taken: got 1", "left: got "},
		},
		{behaviour: "DynamoDB: transactional read", does: "returns whole items", reports: reports{"found: got map[n:10 pk:a s:x sk:1]"}},
	},

	// ElasticMQ 1.7.1. Nearly all of its errors are InvalidAttributeValue.
	elasticmq: {
		{
			behaviour: "SQS: message attributes by name", does: "does not support prefixes",
			reports: reports{`asked for ["co.*" "kind"]: got [kind]`},
		},
		{
			behaviour: "SQS: message attributes, limit", does: "InvalidAttributeValue",
			reports: reports{"InvalidAttributeValue: Number of message attributes"},
		},
		{
			behaviour: "SQS: receive, limit", does: "InvalidAttributeValue",
			reports: reports{"InvalidAttributeValue: The attribute value for MaxNumberOfMessages"},
		},
		{behaviour: "SQS: visibility timeout, not in flight", does: "accepts it", reports: reports{"visible: accepted"}},
		{behaviour: "SQS: delete twice", does: "ReceiptHandleIsInvalid", reports: reports{"second: ", "ReceiptHandleIsInvalid"}},
		{behaviour: "SQS: receipt handle, earlier receive", does: "ReceiptHandleIsInvalid", reports: reports{"ReceiptHandleIsInvalid"}},
		{behaviour: "SQS: redrive, other source", does: "returns 500 or 503 after 20 s", reports: reports{"StatusCode: 50"}},
		{behaviour: "SQS: message size", does: "InvalidAttributeValue", reports: reports{"InvalidAttributeValue: MessageTooLong"}},
		{behaviour: "SQS: message size, attributes", does: "does not count them", reports: reports{"above the limit: accepted"}},
		{
			behaviour: "SQS: message size, limit of the queue", does: "has no MaximumMessageSize",
			reports: reports{"above the limit: accepted"},
		},
		{
			behaviour: "SQS: invalid characters", does: "InvalidAttributeValue",
			reports: reports{"InvalidAttributeValue: InvalidMessageContents"},
		},
		{
			behaviour: "SQS: send batch, partial failure", does: "its code is InvalidAttributeValue",
			reports: reports{"failed: got [b InvalidAttributeValue true]"},
		},
		{behaviour: "SQS: batch, invalid id", does: "accepts it", reports: reports{"batch: accepted"}},
		{behaviour: "SQS: batch, empty", does: "accepts it", reports: reports{"batch: accepted"}},
		{behaviour: "SQS: batch, size", does: "InvalidAttributeValue", reports: reports{"InvalidAttributeValue: MessageTooLong"}},
		{
			behaviour: "SQS: default attributes", does: "has no MaximumMessageSize and no MessageRetentionPeriod",
			reports: reports{"MaximumMessageSize: got nothing", "MessageRetentionPeriod: got nothing"},
		},
		{
			behaviour: "SQS: set attributes", does: "has no Policy and no MessageRetentionPeriod",
			reports: reports{"Policy: got nothing", "MessageRetentionPeriod: got nothing"},
		},
		{behaviour: "SQS: attribute out of range", does: "accepts it", reports: reports{"set: accepted"}},
		{
			behaviour: "SQS: unknown queue", does: "QueueDoesNotExist without the older code",
			reports: reports{"com.amazonaws.sqs#QueueDoesNotExist"},
		},
		{behaviour: "SQS: list queues", does: "returns all in one page", reports: reports{"a page of 3"}},
		{behaviour: "SQS: purge twice", does: "accepts it", reports: reports{"again: accepted"}},
		{behaviour: "SQS: create queue, just deleted", does: "accepts it", reports: reports{"again: accepted"}},
	},

	// MiniStack 1.5.33.
	ministack: {
		{behaviour: "SQS: message attributes, invalid characters", does: "accepts all", reports: reports{"U+0001: accepted"}},
		{behaviour: "SQS: message attributes, empty value", does: "accepts it", reports: reports{"accepted"}},
		{behaviour: "SQS: message attributes, limit", does: "accepts eleven", reports: reports{"eleven: accepted"}},
		{behaviour: "SQS: visibility timeout, not in flight", does: "accepts it", reports: reports{"visible: accepted"}},
		{behaviour: "SQS: delete twice", does: "ReceiptHandleIsInvalid", reports: reports{"second: ", "ReceiptHandleIsInvalid"}},
		{behaviour: "SQS: receipt handle, earlier receive", does: "ReceiptHandleIsInvalid", reports: reports{"ReceiptHandleIsInvalid"}},
		{behaviour: "SQS: sources of a dead-letter queue", does: "not supported", reports: reports{"InvalidAction"}},
		{behaviour: "SQS: redrive", does: "not supported", reports: reports{"InvalidAction"}},
		{behaviour: "SQS: redrive, other source", does: "not supported", reports: reports{"InvalidAction"}},
		{behaviour: "SQS: redrive, unknown task", does: "not supported", reports: reports{"InvalidAction"}},
		{behaviour: "SQS: message size, attributes", does: "does not count them", reports: reports{"above the limit: accepted"}},
		{behaviour: "SQS: unknown attribute", does: "accepts it", reports: reports{"set: accepted"}},
		{behaviour: "SQS: purge twice", does: "accepts it", reports: reports{"again: accepted"}},
		{behaviour: "SQS: create queue, just deleted", does: "accepts it", reports: reports{"again: accepted"}},
		{behaviour: "SNS: envelope", does: "leaves out Binary attributes", reports: reports{"Binary, in base64: got nothing"}},
		{behaviour: "SNS: subscribe again, other attributes", does: "accepts it", reports: reports{"subscribe: accepted"}},
		{behaviour: "SNS: empty message", does: "accepts it", reports: reports{"publish: accepted"}},
		{
			behaviour: "SNS: publish batch, partial failure", does: "accepts the empty message",
			reports: reports{"published: got 3", "failed: 0", "received 3 messages"},
		},
		{behaviour: "SNS: unknown protocol", does: "accepts it", reports: reports{"subscribe: accepted"}},
		{behaviour: "SNS: invalid filter policy", does: "accepts it", reports: reports{"set: accepted"}},
		{
			behaviour: "DynamoDB: numbers, arithmetic", does: "rounds to 28 digits",
			reports: reports{"sum: got 12345678901234567890123456790000000000"},
		},
		{behaviour: "DynamoDB: time to live, already enabled", does: "accepts it", reports: reports{"again: accepted"}},
		{behaviour: "DynamoDB: update rejected, syntax error", does: "accepts it and changes nothing", reports: reports{"accepted"}},
		{
			behaviour: "DynamoDB: update rejected, same path twice", does: "accepts it",
			reports: reports{"accepted", "the item afterwards: got map[a:1 "},
		},
		{
			behaviour: "DynamoDB: update rejected, overlapping paths", does: "reports another reason",
			reports: reports{"ValidationException: The document path provided in the update expression"},
		},
		{
			behaviour: "DynamoDB: update rejected, addition to a string", does: "accepts it and changes nothing",
			reports: reports{"accepted"},
		},
		{
			behaviour: "DynamoDB: update rejected, append to a string", does: "replaces the string with the list",
			reports: reports{"accepted", "the item afterwards: got map[n:1 pk:a s:[1] sk:1]"},
		},
		{
			behaviour: "DynamoDB: update rejected, path into a string", does: "reports another reason",
			reports: reports{"ValidationException: Supplied AttributeValue has more than one datatypes set"},
		},
		{
			behaviour: "DynamoDB: update rejected, two SET clauses", does: "applies the second",
			reports: reports{"accepted", "the item afterwards: got map[b:1 "},
		},
		{
			behaviour: "DynamoDB: query rejected, range of hash keys", does: "reports another reason",
			reports: reports{"ValidationException: Query condition missed key schema element: pk"},
		},
		{behaviour: "DynamoDB: query rejected, filter on the key", does: "accepts it", reports: reports{"query: accepted"}},
		{behaviour: "DynamoDB: capacity of batches", does: "returns none for reads", reports: reports{"read: got 0"}},
		{
			behaviour: "DynamoDB: transaction cancelled, invalid item", does: "accepts it",
			reports: reports{"<nil>, want TransactionCanceledException"},
		},
	},

	// roto 0.10.1.
	roto: {
		{behaviour: "SQS: message attributes, invalid characters", does: "accepts all", reports: reports{"U+0001: accepted"}},
		{behaviour: "SQS: message attributes, empty value", does: "accepts it", reports: reports{"accepted"}},
		{behaviour: "SQS: message attributes, limit", does: "accepts eleven", reports: reports{"eleven: accepted"}},
		{
			behaviour: "SQS: system attributes", does: "returns the AWSTraceHeader without a request for it",
			reports: reports{"asked for one system attribute, got map[AWSTraceHeader:"},
		},
		{behaviour: "SQS: visibility timeout, not in flight", does: "accepts it", reports: reports{"visible: accepted"}},
		{
			behaviour: "SQS: dead letters", does: "moves it without DeadLetterQueueSourceArn",
			reports: reports{"DeadLetterQueueSourceArn: got nothing"},
		},
		{behaviour: "SQS: sources of a dead-letter queue", does: "not supported", reports: reports{"NotImplemented"}},
		{behaviour: "SQS: redrive", does: "not supported", reports: reports{"NotImplemented"}},
		{behaviour: "SQS: redrive, other source", does: "not supported", reports: reports{"NotImplemented"}},
		{behaviour: "SQS: redrive, unknown task", does: "not supported", reports: reports{"NotImplemented"}},
		{behaviour: "SQS: purge twice", does: "accepts it", reports: reports{"again: accepted"}},
		{
			behaviour: "SQS: message size", does: "accepts at most 262,144 bytes",
			reports: reports{"Message must be shorter than 262144 bytes"},
		},
		{behaviour: "SQS: message size, attributes", does: "does not count them", reports: reports{"above the limit: accepted"}},
		{behaviour: "SQS: invalid characters", does: "accepts all", reports: reports{"U+0001: accepted", "U+FFFE: accepted"}},
		{behaviour: "SQS: empty body", does: "accepts it", reports: reports{"accepted"}},
		{
			behaviour: "SQS: send batch, partial failure", does: "accepts the invalid character",
			reports: reports{"sent: got 3", "failed: got nothing", "received 3 messages"},
		},
		{
			behaviour: "SQS: batch, size", does: "accepts at most 262,144 bytes",
			reports: reports{"Batch requests cannot be longer than 262144 bytes"},
		},
		{behaviour: "SQS: default attributes", does: "the limit is 256 KiB", reports: reports{"MaximumMessageSize: got 262144"}},
		{behaviour: "SQS: create queue, other attributes", does: "QueueAlreadyExists", reports: reports{"QueueAlreadyExists"}},
		{behaviour: "SQS: unknown attribute", does: "accepts it", reports: reports{"set: accepted"}},
		{
			behaviour: "SQS: unknown queue", does: "only the older code",
			reports: reports{
				"find: " + older + "GetQueueUrl", "send: " + older + "SendMessage", "receive: " + older + "ReceiveMessage",
			},
		},
		{behaviour: "SQS: deleted queue", does: "only the older code", reports: reports{"receive: " + older + "ReceiveMessage"}},
		{behaviour: "SQS: create queue, just deleted", does: "accepts it", reports: reports{"again: accepted"}},
		{behaviour: "SNS: subscribe again, other attributes", does: "accepts it", reports: reports{"subscribe: accepted"}},
		{behaviour: "SNS: message size, attributes", does: "does not count them", reports: reports{"above the limit: accepted"}},
		{behaviour: "SNS: invalid filter policy", does: "accepts it", reports: reports{"set: accepted"}},
		{behaviour: "SNS: filter policy, exists false, no attributes", does: "delivers it", reports: reports{"received: got 1"}},
		{behaviour: "SNS: filter policy, $or", does: "does not support $or", reports: reports{"received: got 0"}},
		{behaviour: "DynamoDB: sets", does: "stores numbers as they were sent", reports: reports{"numbers: got [1.0 2]"}},
		{
			behaviour: "DynamoDB: numbers, canonical form", does: "stores them as they were sent",
			reports: reports{
				`1.0 becomes "1.0"`, `-0 becomes "-0"`, `0.10 becomes "0.10"`, `1e3 becomes "1e3"`, `1E-2 becomes "1E-2"`,
				`+5 becomes "+5"`, `00012 becomes "00012"`,
			},
		},
		{
			behaviour: "DynamoDB: conditions, item of a failed one", does: "never returns it",
			reports: reports{"put: got nothing", "update: got nothing", "delete: got nothing"},
		},
		{behaviour: "DynamoDB: item size", does: "accepts more", reports: reports{"above the limit: accepted"}},
		{
			behaviour: "DynamoDB: unknown index", does: "ResourceNotFoundException",
			reports: reports{"ResourceNotFoundException: Invalid index"},
		},
		{behaviour: "DynamoDB: query, pages of 1 MB", does: "returns all in one page", reports: reports{"pages: got 1"}},
		{behaviour: "DynamoDB: put rejected, empty index key", does: "accepts it", reports: reports{"put: accepted"}},
		{behaviour: "DynamoDB: put rejected, key of 2049 bytes", does: "accepts it", reports: reports{"put: accepted"}},
		{
			behaviour: "DynamoDB: query rejected, BETWEEN with reversed bounds", does: "returns no items",
			reports: reports{"query: accepted"},
		},
		{behaviour: "DynamoDB: query rejected, filter on the key", does: "accepts it", reports: reports{"query: accepted"}},
		{behaviour: "DynamoDB: Select of projected attributes", does: "accepts it", reports: reports{"query: accepted"}},
		{
			behaviour: "DynamoDB: Select with a projection", does: "accepts COUNT, and reports another reason",
			reports: reports{"all attributes: ", "Cannot specify the AttributesToGet", "count: accepted"},
		},
		{behaviour: "DynamoDB: capacity of a transaction", does: "returns none", reports: reports{"units: got 0"}},
		{behaviour: "DynamoDB: capacity of transactional reads", does: "returns none", reports: reports{"units: got 0"}},
		{
			behaviour: "DynamoDB: capacity of batches", does: "counts half a unit for a strongly consistent read",
			reports: reports{"read: got 1.5"},
		},
		{
			behaviour: "DynamoDB: transaction cancelled, invalid item", does: "the whole request is ValidationException",
			reports: reports{"ValidationException: An operand in the update expression has an incorrect data type"},
		},
		{behaviour: "DynamoDB: transaction, size", does: "accepts it", reports: reports{"write: accepted"}},
		{behaviour: "DynamoDB: transaction, token", does: "applies it each time", reports: reports{"n: got 13"}},
		{
			behaviour: "DynamoDB: transaction, token of another request", does: "accepts it",
			reports: reports{"other content: accepted", "n: got 13"},
		},
	},
}

// reports are parts of the failures that a check reports.
type reports []string

// failed and html surround the name of the operation in an internal error of moto. older
// precedes it in an error of roto that has only the older code.
const (
	failed = "operation error "
	html   = ", https response error StatusCode: 500"
	older  = failed + "SQS: "
)
