// Package wire implements the two protocols that the local AWS services share: AWS
// JSON 1.0, and the older query protocol (form in, XML out).
//
// An operation's input and output are plain structs. Their fields have the names of
// AWS's JSON protocol, and an `aws` tag where the query protocol names or nests
// them differently:
//
//	QueueUrls  []string          `aws:"QueueUrl,flat"`              // QueueUrl.1=…
//	Topics     []Topic           `aws:"Topics,member"`              // Topics.member.1.TopicArn=…
//	Attributes map[string]string `aws:"Attribute,flat,Name,Value"`  // Attribute.1.Name=…
//	Attributes map[string]string `aws:"Attributes,entry,key,value"` // Attributes.entry.1.key=…
//
// The specifications are https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html
// and https://smithy.io/2.0/aws/protocols/aws-query-protocol.html.
package wire
