package sns

import (
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"
)

const (
	pageSize = 100 // topics or subscriptions per page, as with AWS
	maxTags  = 50
)

func (s *Service) createTopic(_ *call, in *createTopicInput) (*topicARN, error) {
	if strings.HasSuffix(in.Name, ".fifo") || in.Attributes["FifoTopic"] == "true" {
		return nil, errInvalid("Name Reason: the local endpoint has standard topics only; FIFO topics are not supported")
	}
	ok := len(in.Name) >= 1 && len(in.Name) <= 256
	for _, c := range []byte(in.Name) {
		ok = ok && (c == '-' || c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z')
	}
	if !ok {
		return nil, errInvalid("Topic Name")
	}
	tags, err := withTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	t := &topic{ARN: s.arn(in.Name), Attrs: map[string]string{}, Tags: tags}
	for name, value := range in.Attributes {
		if err := checkTopicAttribute(name); err != nil {
			return nil, err
		}
		t.Attrs[name] = value
	}
	s.mu.Lock()
	if old := s.topics[t.ARN]; old != nil {
		s.mu.Unlock()
		for name, value := range in.Attributes {
			if old.Attrs[name] != value {
				return nil, errInvalid("Attributes Reason: Topic already exists with different attributes")
			}
		}
		return &topicARN{TopicArn: t.ARN}, nil
	}
	return &topicARN{TopicArn: t.ARN}, s.commit(record{Topic: t})
}

// checkTopicAttribute checks that a topic has an attribute of that name.
func checkTopicAttribute(name string) error {
	switch name {
	case "DisplayName", "Policy", "DeliveryPolicy", "TracingConfig", "SignatureVersion", "FifoTopic":
		return nil
	}
	return errInvalid("AttributeName")
}

func (s *Service) deleteTopic(_ *call, in *topicARN) (*empty, error) {
	s.mu.Lock()
	if s.topics[in.TopicArn] == nil { // idempotent, like AWS
		s.mu.Unlock()
		return &empty{}, s.checkARN(in.TopicArn)
	}
	return &empty{}, s.commit(record{TopicGone: in.TopicArn})
}

// checkARN checks that an ARN is one of this account and region.
func (s *Service) checkARN(arn string) error {
	if name, ok := strings.CutPrefix(arn, s.arn("")); !ok || name == "" {
		return errInvalid("TopicArn Reason: An ARN of this account and region must be given: " + strconv.Quote(arn))
	}
	return nil
}

// topic returns the topic with that ARN. The caller holds s.mu.
func (s *Service) topic(arn string) (*topic, error) {
	if err := s.checkARN(arn); err != nil {
		return nil, err
	}
	if t := s.topics[arn]; t != nil {
		return t, nil
	}
	return nil, errNotFound("Topic")
}

func (s *Service) listTopics(_ *call, in *nextToken) (*listTopicsOutput, error) {
	s.mu.RLock()
	all := slices.Sorted(maps.Keys(s.topics))
	s.mu.RUnlock()
	names, next, err := page(all, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &listTopicsOutput{NextToken: next}
	for _, arn := range names {
		out.Topics = append(out.Topics, topicARN{TopicArn: arn})
	}
	return out, nil
}

// page returns one page of a sorted list, and the token of the next. A token is the last
// entry of the previous page.
func page(all []string, token string) (part []string, next string, err error) {
	after, err := base64.URLEncoding.DecodeString(token)
	if err != nil {
		return nil, "", errInvalid("NextToken Reason: not a token of this endpoint")
	}
	i, found := slices.BinarySearch(all, string(after))
	if found {
		i++
	}
	part = all[i:]
	if len(part) > pageSize {
		part = part[:pageSize]
		next = base64.URLEncoding.EncodeToString([]byte(part[pageSize-1]))
	}
	return part, next, nil
}

func (s *Service) getTopicAttributes(_ *call, in *topicARN) (*attributesOutput, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, err := s.topic(in.TopicArn)
	if err != nil {
		return nil, err
	}
	a := map[string]string{
		"TopicArn": t.ARN, "Owner": s.opt.AccountID, "SubscriptionsConfirmed": strconv.Itoa(len(t.subs)),
		"SubscriptionsPending": "0", "SubscriptionsDeleted": "0", "DisplayName": "",
	}
	maps.Copy(a, t.Attrs)
	return &attributesOutput{Attributes: a}, nil
}

func (s *Service) setTopicAttributes(_ *call, in *setTopicAttributesInput) (*empty, error) {
	if err := checkTopicAttribute(in.AttributeName); err != nil || in.AttributeName == "FifoTopic" {
		return nil, errInvalid("AttributeName")
	}
	return s.changeTopic(in.TopicArn, func(t *topic) error {
		t.Attrs[in.AttributeName] = in.AttributeValue
		return nil
	})
}

// changeTopic replaces a topic by a copy that f has changed.
func (s *Service) changeTopic(arn string, f func(*topic) error) (*empty, error) {
	s.mu.Lock()
	old, err := s.topic(arn)
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	t := &topic{ARN: old.ARN, Attrs: maps.Clone(old.Attrs), Tags: maps.Clone(old.Tags)}
	if err := f(t); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	return &empty{}, s.commit(record{Topic: t})
}

// withTags returns a copy of old with tags added.
func withTags(old map[string]string, tags []tag) (map[string]string, error) {
	if len(tags) == 0 {
		return old, nil
	}
	n := maps.Clone(old)
	if n == nil {
		n = map[string]string{}
	}
	for _, t := range tags {
		n[t.Key] = t.Value
	}
	if len(n) > maxTags {
		return nil, errCode("TagLimitExceeded", "Could not complete request: tag quota of per resource exceeded")
	}
	return n, nil
}

func (s *Service) tagResource(_ *call, in *tagInput) (*empty, error) {
	return s.changeTopic(in.ResourceArn, func(t *topic) (err error) {
		t.Tags, err = withTags(t.Tags, in.Tags)
		return err
	})
}

func (s *Service) untagResource(_ *call, in *untagInput) (*empty, error) {
	return s.changeTopic(in.ResourceArn, func(t *topic) error {
		for _, k := range in.TagKeys {
			delete(t.Tags, k)
		}
		return nil
	})
}

func (s *Service) listTags(_ *call, in *resourceInput) (*tagsOutput, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, err := s.topic(in.ResourceArn)
	if err != nil {
		return nil, err
	}
	out := &tagsOutput{}
	for _, k := range slices.Sorted(maps.Keys(t.Tags)) {
		out.Tags = append(out.Tags, tag{Key: k, Value: t.Tags[k]})
	}
	return out, nil
}
