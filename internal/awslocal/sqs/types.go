package sqs

import "github.com/ordersaga/ordersaga/internal/awslocal/wire"

// The inputs and outputs of the operations; see
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html

type (
	attributeMap      = map[string]string
	messageAttributes = map[string]wire.MessageAttribute
)

// empty is the output of operations that return nothing.
type empty struct{}

// AppendJSON appends an empty JSON object.
func (*empty) AppendJSON(b []byte) []byte { return append(b, "{}"...) }

type queueURLInput struct{ QueueUrl string }

type createQueueInput struct {
	QueueName  string
	Attributes attributeMap      `aws:"Attribute,flat,Name,Value"`
	Tags       map[string]string `aws:"Tag,flat,Key,Value" json:"tags"`
}

type queueURLOutput struct{ QueueUrl string }

type getQueueURLInput struct {
	QueueName              string
	QueueOwnerAWSAccountId string
}

type listQueuesInput struct {
	QueueNamePrefix string
	MaxResults      *int32
	NextToken       string
}

type listQueuesOutput struct {
	QueueUrls []string `aws:"QueueUrl,flat" json:",omitempty"`
	NextToken string   `json:",omitempty"`
}

type listSourcesInput struct {
	QueueUrl   string
	MaxResults *int32
	NextToken  string
}

type listSourcesOutput struct {
	QueueUrls []string `aws:"QueueUrl,flat" json:"queueUrls"`
	NextToken string   `json:",omitempty"`
}

type getAttributesInput struct {
	QueueUrl       string
	AttributeNames []string `aws:"AttributeName,flat"`
}

type getAttributesOutput struct {
	Attributes attributeMap `aws:"Attribute,flat,Name,Value" json:",omitempty"`
}

type setAttributesInput struct {
	QueueUrl   string
	Attributes attributeMap `aws:"Attribute,flat,Name,Value"`
}

type tagInput struct {
	QueueUrl string
	Tags     map[string]string `aws:"Tag,flat,Key,Value"`
}

type untagInput struct {
	QueueUrl string
	TagKeys  []string `aws:"TagKey,flat"`
}

type tagsOutput struct {
	Tags map[string]string `aws:"Tag,flat,Key,Value" json:",omitempty"`
}

type sendInput struct {
	QueueUrl                string
	MessageBody             string
	DelaySeconds            *int32
	MessageAttributes       messageAttributes `aws:"MessageAttribute,flat,Name,Value"`
	MessageSystemAttributes messageAttributes `aws:"MessageSystemAttribute,flat,Name,Value"`
	MessageGroupId          string
	MessageDeduplicationId  string
}

type sendOutput struct {
	MessageId              string
	MD5OfMessageBody       string
	MD5OfMessageAttributes string `json:",omitempty"`
}

type sendBatchInput struct {
	QueueUrl string
	Entries  []sendEntry `aws:"SendMessageBatchRequestEntry,flat"`
}

type sendEntry struct {
	Id                      string
	MessageBody             string
	DelaySeconds            *int32
	MessageAttributes       messageAttributes `aws:"MessageAttribute,flat,Name,Value"`
	MessageSystemAttributes messageAttributes `aws:"MessageSystemAttribute,flat,Name,Value"`
	MessageGroupId          string
	MessageDeduplicationId  string
}

type sendBatchOutput struct {
	Successful []sendEntryOutput `aws:"SendMessageBatchResultEntry,flat"`
	Failed     []failedEntry     `aws:"BatchResultErrorEntry,flat" json:",omitempty"`
}

type sendEntryOutput struct {
	Id                     string
	MessageId              string
	MD5OfMessageBody       string
	MD5OfMessageAttributes string `json:",omitempty"`
}

type failedEntry struct {
	Id          string
	Code        string
	Message     string `json:",omitempty"`
	SenderFault bool
}

type receiveInput struct {
	QueueUrl                    string
	MaxNumberOfMessages         *int32
	VisibilityTimeout           *int32
	WaitTimeSeconds             *int32
	AttributeNames              []string `aws:"AttributeName,flat"`
	MessageSystemAttributeNames []string `aws:"MessageSystemAttributeName,flat"`
	MessageAttributeNames       []string `aws:"MessageAttributeName,flat"`
	ReceiveRequestAttemptId     string
}

type receiveOutput struct {
	Messages []received `aws:"Message,flat"`
}

type received struct {
	MessageId              string
	ReceiptHandle          string
	MD5OfBody              string
	MD5OfMessageAttributes string
	Body                   string
	Attributes             attributeMap      `aws:"Attribute,flat,Name,Value"`
	MessageAttributes      messageAttributes `aws:"MessageAttribute,flat,Name,Value"`
}

type deleteInput struct {
	QueueUrl      string
	ReceiptHandle string
}

type deleteBatchInput struct {
	QueueUrl string
	Entries  []handleEntry `aws:"DeleteMessageBatchRequestEntry,flat"`
}

type deleteBatchOutput struct {
	Successful []entryOutput `aws:"DeleteMessageBatchResultEntry,flat"`
	Failed     []failedEntry `aws:"BatchResultErrorEntry,flat" json:",omitempty"`
}

type handleEntry struct {
	Id                string
	ReceiptHandle     string
	VisibilityTimeout *int32
}

type entryOutput struct{ Id string }

type changeInput struct {
	QueueUrl          string
	ReceiptHandle     string
	VisibilityTimeout *int32
}

type changeBatchInput struct {
	QueueUrl string
	Entries  []handleEntry `aws:"ChangeMessageVisibilityBatchRequestEntry,flat"`
}

type changeBatchOutput struct {
	Successful []entryOutput `aws:"ChangeMessageVisibilityBatchResultEntry,flat"`
	Failed     []failedEntry `aws:"BatchResultErrorEntry,flat" json:",omitempty"`
}

type startMoveInput struct {
	SourceArn                    string
	DestinationArn               string
	MaxNumberOfMessagesPerSecond *int32
}

type startMoveOutput struct{ TaskHandle string }

type cancelMoveInput struct{ TaskHandle string }

type cancelMoveOutput struct{ ApproximateNumberOfMessagesMoved int64 }

type listMovesInput struct {
	SourceArn  string
	MaxResults *int32
}

type listMovesOutput struct {
	Results []moveResult `aws:"ListMessageMoveTasksResultEntry,flat"`
}

type moveResult struct {
	TaskHandle                        string `json:",omitempty"`
	Status                            string
	SourceArn                         string
	DestinationArn                    string `json:",omitempty"`
	MaxNumberOfMessagesPerSecond      int32  `json:",omitempty"`
	ApproximateNumberOfMessagesMoved  int64
	ApproximateNumberOfMessagesToMove int64
	FailureReason                     string `json:",omitempty"`
	StartedTimestamp                  int64
}
