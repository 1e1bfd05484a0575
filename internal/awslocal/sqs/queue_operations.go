package sqs

import (
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// This file holds the operations on queues: create, delete, list, attributes, tags and
// purge.

func (s *Service) createQueue(c *call, in *createQueueInput) (*queueURLOutput, error) {
	if in.QueueName == "" {
		return nil, errMissing("QueueName")
	}
	if err := validName(in.QueueName); err != nil {
		return nil, err
	}
	if len(in.Tags) > maxTags {
		return nil, errInvalidValue(len(in.Tags), "Tags", "A queue can have at most 50 tags.")
	}
	set, err := (*settings)(nil).with(in.Attributes)
	if err != nil {
		return nil, err
	}
	if err := s.checkRedrive(set); err != nil {
		return nil, err
	}
	s.mu.Lock()
	if q := s.queues[in.QueueName]; q != nil {
		s.mu.Unlock()
		// Like AWS, compare only the attributes of the request.
		for name := range in.Attributes {
			if q.settings.Load().raw[name] != set.raw[name] {
				return nil, &wire.Error{
					Shape: shape + "QueueNameExists", Code: "QueueAlreadyExists",
					Message: "A queue already exists with the same name and a different value for attribute " + name + ".",
				}
			}
		}
		return &queueURLOutput{QueueUrl: s.url(c, q)}, nil
	}
	if at, ok := s.deletedAt[in.QueueName]; ok && time.Now().UnixNano()-at < int64(coolDown) {
		s.mu.Unlock()
		return nil, errLegacy("QueueDeletedRecently",
			"You must wait 60 seconds after deleting a queue before you can create another with the same name.")
	}
	q := s.newQueue(in.QueueName, set, in.Tags)
	r, err := queueRecordOf(q)
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	s.queues[q.name] = q
	s.append(r)
	s.mu.Unlock()
	return &queueURLOutput{QueueUrl: s.url(c, q)}, nil
}

// checkRedrive checks that the dead-letter queue of a redrive policy exists.
func (s *Service) checkRedrive(set *settings) error {
	if set.redrive != nil && !s.Exists(set.redrive.target) {
		return errInvalidValue(set.raw["RedrivePolicy"], "RedrivePolicy", "Dead letter target does not exist.")
	}
	return nil
}

func (s *Service) deleteQueue(_ *call, in *queueURLInput) (*empty, error) {
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.queues[q.name] != q {
		s.mu.Unlock()
		return nil, errNoQueue()
	}
	delete(s.queues, q.name)
	now := time.Now().UnixNano()
	maps.DeleteFunc(s.deletedAt, func(_ string, at int64) bool { return now-at >= int64(coolDown) })
	s.deletedAt[q.name] = now
	s.append(queueIDRecord(recQueueDeleted, q))
	s.mu.Unlock()
	q.close()
	return &empty{}, nil
}

func (s *Service) getQueueURL(c *call, in *getQueueURLInput) (*queueURLOutput, error) {
	if in.QueueName == "" {
		return nil, errMissing("QueueName")
	}
	q := s.byName(in.QueueName)
	if q == nil || (in.QueueOwnerAWSAccountId != "" && in.QueueOwnerAWSAccountId != s.opt.AccountID) {
		return nil, errNoQueue()
	}
	return &queueURLOutput{QueueUrl: s.url(c, q)}, nil
}

func (s *Service) listQueues(c *call, in *listQueuesInput) (*listQueuesOutput, error) {
	urls, next, err := s.page(c, in.MaxResults, in.NextToken, func(q *queue) bool {
		return strings.HasPrefix(q.name, in.QueueNamePrefix)
	})
	if err != nil {
		return nil, err
	}
	return &listQueuesOutput{QueueUrls: urls, NextToken: next}, nil
}

func (s *Service) listSources(c *call, in *listSourcesInput) (*listSourcesOutput, error) {
	target, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	urls, next, err := s.page(c, in.MaxResults, in.NextToken, func(q *queue) bool {
		r := q.settings.Load().redrive
		return r != nil && r.target == target.arn
	})
	if err != nil {
		return nil, err
	}
	return &listSourcesOutput{QueueUrls: urls, NextToken: next}, nil
}

// page lists the queues for which want returns true, by name. The token is the last
// name of the previous page.
func (s *Service) page(c *call, limit *int32, token string, want func(*queue) bool) (urls []string, next string, err error) {
	n := maxListed
	if limit != nil {
		n = int(*limit)
		if n < 1 || n > maxListed {
			return nil, "", errInvalidValue(n, "MaxResults", "Must be between 1 and 1000.")
		}
	}
	after, err := base64.URLEncoding.DecodeString(token)
	if err != nil {
		return nil, "", errInvalidValue(token, "NextToken", "Is not a token of this endpoint.")
	}
	s.mu.RLock()
	names := slices.Sorted(maps.Keys(s.queues))
	urls = []string{}
	last := ""
	for _, name := range names {
		q := s.queues[name]
		if name <= string(after) || !want(q) {
			continue
		}
		if len(urls) == n {
			next = base64.URLEncoding.EncodeToString([]byte(last))
			break
		}
		urls = append(urls, s.url(c, q))
		last = name
	}
	s.mu.RUnlock()
	if limit == nil {
		next = "" // AWS returns a token only if the request has MaxResults
	}
	return urls, next, nil
}

func (s *Service) getAttributes(_ *call, in *getAttributesInput) (*getAttributesOutput, error) {
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	now := time.Now().UnixNano()
	q.mu.Lock()
	q.advance(now)
	q.sweep(now, func(m *message) { s.append(deletedRecord(m.id)) })
	q.wakePolls(now)
	counts := q.counts
	all := maps.Clone(q.settings.Load().raw)
	q.mu.Unlock()

	all["QueueArn"] = q.arn
	all["CreatedTimestamp"] = strconv.FormatInt(q.created/int64(time.Second), 10)
	all["LastModifiedTimestamp"] = all["CreatedTimestamp"]
	all["ApproximateNumberOfMessages"] = strconv.Itoa(counts[visible])
	all["ApproximateNumberOfMessagesNotVisible"] = strconv.Itoa(counts[inFlight])
	all["ApproximateNumberOfMessagesDelayed"] = strconv.Itoa(counts[delayed])

	out := &getAttributesOutput{Attributes: attributeMap{}}
	for _, name := range in.AttributeNames {
		if name == "All" {
			return &getAttributesOutput{Attributes: all}, nil
		}
		if !knownAttribute(name) {
			return nil, errUnknownAttribute(name)
		}
		if v, ok := all[name]; ok {
			out.Attributes[name] = v
		}
	}
	return out, nil
}

// knownAttribute reports whether SQS has a queue attribute of that name.
func knownAttribute(name string) bool {
	switch name {
	case "Policy", "VisibilityTimeout", "MaximumMessageSize", "MessageRetentionPeriod",
		"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed",
		"CreatedTimestamp", "LastModifiedTimestamp", "QueueArn", "DelaySeconds", "ReceiveMessageWaitTimeSeconds",
		"RedrivePolicy", "RedriveAllowPolicy", "FifoQueue", "ContentBasedDeduplication", "DeduplicationScope",
		"FifoThroughputLimit", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled":
		return true
	}
	return false
}

func (s *Service) setAttributes(_ *call, in *setAttributesInput) (*empty, error) {
	if len(in.Attributes) == 0 {
		return nil, errMissing("Attributes")
	}
	return s.updateQueue(in.QueueUrl, func(q *queue) error {
		set, err := q.settings.Load().with(in.Attributes)
		if err != nil {
			return err
		}
		q.settings.Store(set)
		return nil
	}, in.Attributes)
}

// updateQueue applies f to a queue's settings or tags and journals the result. attrs
// are the attributes that f sets.
func (s *Service) updateQueue(url string, f func(*queue) error, attrs attributeMap) (*empty, error) {
	q, err := s.byURL(url)
	if err != nil {
		return nil, err
	}
	// Check the dead-letter queue before q.mu is locked, because that locks Service.mu.
	set, err := q.settings.Load().with(attrs)
	if err != nil {
		return nil, err
	}
	if attrs["RedrivePolicy"] != "" {
		if err := s.checkRedrive(set); err != nil {
			return nil, err
		}
	}
	q.mu.Lock()
	if q.deleted {
		q.mu.Unlock()
		return nil, errNoQueue()
	}
	if err := f(q); err != nil {
		q.mu.Unlock()
		return nil, err
	}
	r, err := queueRecordOf(q)
	if err != nil {
		q.mu.Unlock()
		return nil, err
	}
	s.append(r)
	q.mu.Unlock()
	return &empty{}, nil
}

func (s *Service) tag(_ *call, in *tagInput) (*empty, error) {
	return s.updateQueue(in.QueueUrl, func(q *queue) error {
		tags := make(map[string]string, len(q.tags)+len(in.Tags))
		maps.Copy(tags, q.tags)
		maps.Copy(tags, in.Tags)
		if len(tags) > maxTags {
			return errInvalidValue(len(tags), "Tags", "A queue can have at most 50 tags.")
		}
		q.tags = tags
		return nil
	}, nil)
}

func (s *Service) untag(_ *call, in *untagInput) (*empty, error) {
	return s.updateQueue(in.QueueUrl, func(q *queue) error {
		tags := maps.Clone(q.tags)
		for _, k := range in.TagKeys {
			delete(tags, k)
		}
		q.tags = tags
		return nil
	}, nil)
}

func (s *Service) listTags(_ *call, in *queueURLInput) (*tagsOutput, error) {
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return &tagsOutput{Tags: q.tags}, nil
}

func (s *Service) purge(_ *call, in *queueURLInput) (*empty, error) {
	q, err := s.byURL(in.QueueUrl)
	if err != nil {
		return nil, err
	}
	now := time.Now().UnixNano()
	q.mu.Lock()
	if q.purged > 0 && now-q.purged < int64(coolDown) {
		q.mu.Unlock()
		return nil, errLegacy("PurgeQueueInProgress", "Only one PurgeQueue operation on "+q.name+" is allowed every 60 seconds.")
	}
	q.purged = now
	clear(q.msgs)
	q.ready, q.timed, q.counts = messageList{}, nil, [3]int{}
	s.append(queueIDRecord(recPurge, q))
	q.mu.Unlock()
	return &empty{}, nil
}
