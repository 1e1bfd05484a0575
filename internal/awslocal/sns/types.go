package sns

import "github.com/ordersaga/ordersaga/internal/awslocal/wire"

// The inputs and outputs of the operations; see
// https://docs.aws.amazon.com/sns/latest/api/API_Operations.html

type messageAttributes = map[string]wire.MessageAttribute

// empty is the output of operations that return nothing.
type empty struct{}

type tag struct{ Key, Value string }

type createTopicInput struct {
	Name       string
	Attributes map[string]string `aws:"Attributes,entry,key,value"`
	Tags       []tag             `aws:"Tags,member"`
}

type topicARN struct{ TopicArn string }

type nextToken struct{ NextToken string }

type listTopicsOutput struct {
	Topics    []topicARN `aws:"Topics,member"`
	NextToken string
}

type attributesOutput struct {
	Attributes map[string]string `aws:"Attributes,entry,key,value"`
}

type setTopicAttributesInput struct {
	TopicArn       string
	AttributeName  string
	AttributeValue string
}

type subscribeInput struct {
	TopicArn              string
	Protocol              string
	Endpoint              string
	Attributes            map[string]string `aws:"Attributes,entry,key,value"`
	ReturnSubscriptionArn bool
}

type subscriptionARN struct{ SubscriptionArn string }

type listByTopicInput struct {
	TopicArn  string
	NextToken string
}

type listSubscriptionsOutput struct {
	Subscriptions []subscriptionEntry `aws:"Subscriptions,member"`
	NextToken     string
}

type subscriptionEntry struct {
	SubscriptionArn string
	Owner           string
	Protocol        string
	Endpoint        string
	TopicArn        string
}

type setSubscriptionAttributesInput struct {
	SubscriptionArn string
	AttributeName   string
	AttributeValue  string
}

type publishInput struct {
	TopicArn               string
	TargetArn              string
	PhoneNumber            string
	Subject                string
	Message                string
	MessageStructure       string
	MessageAttributes      messageAttributes `aws:"MessageAttributes,entry,Name,Value"`
	MessageGroupId         string
	MessageDeduplicationId string
}

type publishOutput struct{ MessageId string }

type publishBatchInput struct {
	TopicArn string
	Entries  []publishEntry `aws:"PublishBatchRequestEntries,member"`
}

type publishEntry struct {
	Id                     string
	Subject                string
	Message                string
	MessageStructure       string
	MessageAttributes      messageAttributes `aws:"MessageAttributes,entry,Name,Value"`
	MessageGroupId         string
	MessageDeduplicationId string
}

type publishBatchOutput struct {
	Successful []publishedEntry `aws:"Successful,member"`
	Failed     []failedEntry    `aws:"Failed,member"`
}

type publishedEntry struct{ Id, MessageId string }

type failedEntry struct {
	Id, Code, Message string
	SenderFault       bool
}

type resourceInput struct{ ResourceArn string }

type tagInput struct {
	ResourceArn string
	Tags        []tag `aws:"Tags,member"`
}

type untagInput struct {
	ResourceArn string
	TagKeys     []string `aws:"TagKeys,member"`
}

type tagsOutput struct {
	Tags []tag `aws:"Tags,member"`
}
