package conformance

// deviations are all that is known. One that has gone fails its test, which is
// the way to learn that an emulator has been mended.
var deviations = []deviation{
	// moto 5.2.5. It answers 500 with an HTML page where it meets what it has not thought of.
	{moto, "SQS: ten message attributes", "takes eleven", sees{"eleven: accepted"}},
	{moto, "SQS: visibility of what is not in flight", "takes it", sees{"visible: accepted"}},
	{moto, "SQS: dead letters", "moves it, without DeadLetterQueueSourceArn", sees{"DeadLetterQueueSourceArn: got nothing"}},
	{moto, "SQS: redrive", "internal error", sees{"start: " + failed + "SQS: StartMessageMoveTask" + html}},
	{moto, "SQS: redrive from elsewhere", "internal error", sees{"start: " + failed + "SQS: StartMessageMoveTask" + html}},
	{moto, "SQS: no such redrive", "internal error", sees{"cancel: " + failed + "SQS: CancelMessageMoveTask" + html}},
	{moto, "SQS: message size, attributes", "does not count them", sees{"above the limit: accepted"}},
	{moto, "SQS: characters", "takes all", sees{"U+0001: accepted", "U+FFFE: accepted"}},
	{moto, "SQS: empty body", "takes it", sees{"accepted"}},
	{moto, "SQS: send batch fails in part", "takes the forbidden character", sees{"sent: got 3", "failed: got nothing", "received 3 messages"}},
	{moto, "SQS: attributes set", "keeps the Policy and does not tell it", sees{"Policy: got nothing"}},
	{moto, "SQS: unknown attribute", "takes it", sees{"set: accepted"}},
	{moto, "SQS: attribute out of range", "takes it", sees{"set: accepted"}},
	{moto, "SNS: raw delivery", "a Binary attribute that arrives so makes each receive an internal error", sees{"receive: " + failed + "SQS: ReceiveMessage" + html}},
	{moto, "SNS: subscribe again, differently", "takes it", sees{"subscribe: accepted"}},
	{moto, "SNS: message size, attributes", "does not count them", sees{"above the limit: accepted"}},
	{moto, "SNS: empty message", "takes it", sees{"publish: accepted"}},
	{moto, "SNS: publish batch fails in part", "takes the empty message", sees{"published: got 3", "failed: 0", "received 3 messages"}},
	{moto, "SNS: unknown protocol", "takes it", sees{"subscribe: accepted"}},
	{moto, "DynamoDB: sets", "keeps numbers as they were written", sees{"numbers: got [1.0 2]"}},
	{moto, "DynamoDB: numbers, form", "keeps them as they were written", sees{`1.0 becomes "1.0"`, `-0 becomes "-0"`, `0.10 becomes "0.10"`, `1e3 becomes "1e3"`, `1E-2 becomes "1E-2"`, `+5 becomes "+5"`, `00012 becomes "00012"`}},
	{moto, "DynamoDB: numbers, refused", "takes 39 digits and underscores", sees{`"123456789012345678901234567890123456789": accepted`, `"1_0": accepted`}},
	{moto, "DynamoDB: batch of 26 writes", "takes it", sees{"write: accepted"}},
	{moto, "DynamoDB: batch with an item twice", "takes it if their attributes come in another order", sees{"write: accepted"}},
	{moto, "DynamoDB: item size", "refuses an item of just 400 KB", sees{"at the limit: "}},
	{moto, "DynamoDB: no such index", "ResourceNotFoundException", sees{"ResourceNotFoundException: Invalid index"}},
	{moto, "DynamoDB: time to live twice", "takes it", sees{"again: accepted"}},
	{moto, "DynamoDB: update refused, name not defined", "internal error", sees{failed + "DynamoDB: UpdateItem" + html}},
	{moto, "DynamoDB: update refused, path into text", "takes it and changes nothing", sees{"accepted"}},
	{moto, "DynamoDB: update refused, BETWEEN backwards", "a condition that does not hold", sees{"ConditionalCheckFailedException"}},
	{moto, "DynamoDB: put refused, index key of another type", "takes it", sees{"put: accepted"}},
	{moto, "DynamoDB: query refused, BETWEEN backwards", "finds nothing", sees{"query: accepted"}},
	{moto, "DynamoDB: query refused, filter on the key", "takes it", sees{"query: accepted"}},
	{moto, "DynamoDB: transaction, an invalid item", "the whole call is ValidationException", sees{"ValidationException: Invalid UpdateExpression"}},
	{moto, "DynamoDB: transaction, 4 MB", "takes it", sees{"write: accepted"}},
	{moto, "DynamoDB: transaction, token", "has its effect each time", sees{"n: got 13"}},
	{moto, "DynamoDB: transaction, token with other content", "takes it", sees{"other content: accepted", "n: got 13"}},
	{moto, "DynamoDB: transactional read", "gives whole items", sees{"found: got map[n:10 pk:a s:x sk:1]"}},

	// ElasticMQ 1.7.1. Nearly all that it refuses is InvalidAttributeValue.
	{amazon, "SQS: message attributes by name", "knows no prefixes", sees{`asked for ["co.*" "kind"]: got [kind]`}},
	{amazon, "SQS: ten message attributes", "InvalidAttributeValue", sees{"InvalidAttributeValue: Number of message attributes"}},
	{amazon, "SQS: at most ten messages", "InvalidAttributeValue", sees{"InvalidAttributeValue: The attribute value for MaxNumberOfMessages"}},
	{amazon, "SQS: visibility of what is not in flight", "takes it", sees{"visible: accepted"}},
	{amazon, "SQS: delete twice", "ReceiptHandleIsInvalid", sees{"second: ", "ReceiptHandleIsInvalid"}},
	{amazon, "SQS: older handle", "ReceiptHandleIsInvalid", sees{"ReceiptHandleIsInvalid"}},
	{amazon, "SQS: redrive from elsewhere", "answers 503 after 20 s", sees{"StatusCode: 503"}},
	{amazon, "SQS: message size", "InvalidAttributeValue", sees{"InvalidAttributeValue: MessageTooLong"}},
	{amazon, "SQS: message size, attributes", "does not count them", sees{"above the limit: accepted"}},
	{amazon, "SQS: message size of the queue", "has no MaximumMessageSize", sees{"above the limit: accepted"}},
	{amazon, "SQS: characters", "InvalidAttributeValue", sees{"InvalidAttributeValue: InvalidMessageContents"}},
	{amazon, "SQS: send batch fails in part", "its code is InvalidAttributeValue", sees{"failed: got [b InvalidAttributeValue true]"}},
	{amazon, "SQS: batch with a bad id", "takes it", sees{"batch: accepted"}},
	{amazon, "SQS: batch with nothing in it", "takes it", sees{"batch: accepted"}},
	{amazon, "SQS: batch too long", "InvalidAttributeValue", sees{"InvalidAttributeValue: MessageTooLong"}},
	{amazon, "SQS: defaults", "has no MaximumMessageSize and no MessageRetentionPeriod", sees{"MaximumMessageSize: got nothing", "MessageRetentionPeriod: got nothing"}},
	{amazon, "SQS: attributes set", "has no Policy and no MessageRetentionPeriod", sees{"Policy: got nothing", "MessageRetentionPeriod: got nothing"}},
	{amazon, "SQS: attribute out of range", "takes it", sees{"set: accepted"}},
	{amazon, "SQS: no such queue", "QueueDoesNotExist without the older code", sees{"com.amazonaws.sqs#QueueDoesNotExist"}},
	{amazon, "SQS: list", "gives all in one page", sees{"a page of 3"}},

	// DynamoDB Local 3.3.1.
	{amazon, "DynamoDB: transaction, an invalid item", "the whole call is ValidationException", sees{"ValidationException: An operand in the update expression has an incorrect data type"}},

	// MiniStack 1.5.33.
	{ministack, "SQS: ten message attributes", "takes eleven", sees{"eleven: accepted"}},
	{ministack, "SQS: visibility of what is not in flight", "takes it", sees{"visible: accepted"}},
	{ministack, "SQS: delete twice", "ReceiptHandleIsInvalid", sees{"second: ", "ReceiptHandleIsInvalid"}},
	{ministack, "SQS: older handle", "ReceiptHandleIsInvalid", sees{"ReceiptHandleIsInvalid"}},
	{ministack, "SQS: sources of a dead-letter queue", "not offered", sees{"InvalidAction"}},
	{ministack, "SQS: redrive", "not offered", sees{"InvalidAction"}},
	{ministack, "SQS: redrive from elsewhere", "not offered", sees{"InvalidAction"}},
	{ministack, "SQS: no such redrive", "not offered", sees{"InvalidAction"}},
	{ministack, "SQS: message size, attributes", "does not count them", sees{"above the limit: accepted"}},
	{ministack, "SQS: unknown attribute", "takes it", sees{"set: accepted"}},
	{ministack, "SNS: envelope", "leaves Binary attributes out", sees{"Binary, in base64: got nothing"}},
	{ministack, "SNS: subscribe again, differently", "takes it", sees{"subscribe: accepted"}},
	{ministack, "SNS: empty message", "takes it", sees{"publish: accepted"}},
	{ministack, "SNS: publish batch fails in part", "takes the empty message", sees{"published: got 3", "failed: 0", "received 3 messages"}},
	{ministack, "SNS: unknown protocol", "takes it", sees{"subscribe: accepted"}},
	{ministack, "SNS: bad filter policy", "takes it", sees{"set: accepted"}},
	{ministack, "SNS: filter policy, exists false", "does not deliver a message without attributes", sees{"received: got 0"}},
	{ministack, "DynamoDB: numbers, arithmetic", "rounds to 28 digits", sees{"sum: got 12345678901234567890123456790000000000"}},
	{ministack, "DynamoDB: time to live twice", "takes it", sees{"again: accepted"}},
	{ministack, "DynamoDB: update refused, syntax", "takes it and changes nothing", sees{"accepted"}},
	{ministack, "DynamoDB: update refused, same path twice", "takes it", sees{"accepted", "the item afterwards: got map[a:1 "}},
	{ministack, "DynamoDB: update refused, overlapping paths", "says another reason", sees{"ValidationException: The document path provided in the update expression"}},
	{ministack, "DynamoDB: update refused, adding to text", "takes it and changes nothing", sees{"accepted"}},
	{ministack, "DynamoDB: update refused, appending to text", "replaces the text by the list", sees{"accepted", "the item afterwards: got map[n:1 pk:a s:[1] sk:1]"}},
	{ministack, "DynamoDB: update refused, path into text", "says another reason", sees{"ValidationException: Supplied AttributeValue has more than one datatypes set"}},
	{ministack, "DynamoDB: update refused, two SETs", "takes the second", sees{"accepted", "the item afterwards: got map[b:1 "}},
	{ministack, "DynamoDB: query refused, range of hash keys", "says another reason", sees{"ValidationException: Query condition missed key schema element: pk"}},
	{ministack, "DynamoDB: query refused, filter on the key", "takes it", sees{"query: accepted"}},
	{ministack, "DynamoDB: transaction, an invalid item", "takes it", sees{"<nil>, want TransactionCanceledException"}},
}

type sees []string

// failed and html are around the name of the call that moto broke at.
const (
	failed = "operation error "
	html   = ", exceeded maximum number of attempts, 1, https response error StatusCode: 500"
)
