package cloud

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/sns"
)

// Pipe makes what is missing of a topic and a queue with dead letters that gets
// the topic's events of a type, raw.
func (c *Clients) Pipe(ctx context.Context, topic, queue, event string) (topicARN string, q Queue, err error) {
	out, err := c.SNS.CreateTopic(ctx, &sns.CreateTopicInput{Name: &topic})
	if err != nil {
		return "", q, fmt.Errorf("create topic %s: %w", topic, err)
	}
	q.Name = queue
	if q.DeadURL, err = c.queue(ctx, queue+"-dlq", ""); err != nil {
		return "", q, err
	}
	if q.URL, err = c.queue(ctx, queue, q.DeadURL); err != nil {
		return "", q, err
	}
	return *out.TopicArn, q, c.subscribe(ctx, *out.TopicArn, q.URL, true, event)
}
