package sns

import (
	"maps"
	"slices"
	"strings"
)

func (s *Service) subscribe(_ *call, in *subscribeInput) (*subscriptionARN, error) {
	if in.Protocol != "sqs" {
		return nil, errInvalid("Protocol Reason: the local endpoint delivers to sqs only, not to " + in.Protocol)
	}
	if !strings.HasPrefix(in.Endpoint, "arn:aws:sqs:") {
		return nil, errInvalid("SQS endpoint ARN")
	}
	sub := &subscription{ARN: newSubscriptionARN(in.TopicArn), Topic: in.TopicArn, Endpoint: in.Endpoint}
	sub, err := sub.with(in.Attributes)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	t, err := s.topic(in.TopicArn)
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	for _, old := range t.subs {
		if old.Endpoint != in.Endpoint {
			continue
		}
		s.mu.Unlock()
		// Subscribing a queue again returns the existing ARN; with different attributes it is
		// an error.
		if !maps.Equal(old.Attrs, sub.Attrs) && len(in.Attributes) > 0 {
			return nil, errInvalid("Attributes Reason: Subscription already exists with different attributes")
		}
		return &subscriptionARN{SubscriptionArn: old.ARN}, nil
	}
	return &subscriptionARN{SubscriptionArn: sub.ARN}, s.commit(record{Sub: sub})
}

func (s *Service) unsubscribe(_ *call, in *subscriptionARN) (*empty, error) {
	if err := s.checkARN(in.SubscriptionArn); err != nil {
		return nil, errInvalid("SubscriptionArn")
	}
	s.mu.Lock()
	if s.subs[in.SubscriptionArn] == nil { // idempotent, like AWS
		s.mu.Unlock()
		return &empty{}, nil
	}
	return &empty{}, s.commit(record{SubGone: in.SubscriptionArn})
}

func (s *Service) listSubscriptions(_ *call, in *nextToken) (*listSubscriptionsOutput, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.subscriptionPage(slices.Collect(maps.Keys(s.subs)), in.NextToken)
}

func (s *Service) listByTopic(_ *call, in *listByTopicInput) (*listSubscriptionsOutput, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t, err := s.topic(in.TopicArn)
	if err != nil {
		return nil, err
	}
	arns := make([]string, len(t.subs))
	for i, sub := range t.subs {
		arns[i] = sub.ARN
	}
	return s.subscriptionPage(arns, in.NextToken)
}

// subscriptionPage lists one page of subscriptions. The caller holds s.mu.
func (s *Service) subscriptionPage(arns []string, token string) (*listSubscriptionsOutput, error) {
	slices.Sort(arns)
	part, next, err := page(arns, token)
	if err != nil {
		return nil, err
	}
	out := &listSubscriptionsOutput{NextToken: next}
	for _, arn := range part {
		sub := s.subs[arn]
		out.Subscriptions = append(out.Subscriptions, subscriptionEntry{
			SubscriptionArn: arn, Owner: s.opt.AccountID, Protocol: "sqs", Endpoint: sub.Endpoint, TopicArn: sub.Topic,
		})
	}
	return out, nil
}

func (s *Service) getSubscriptionAttributes(_ *call, in *subscriptionARN) (*attributesOutput, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	sub := s.subs[in.SubscriptionArn]
	if sub == nil {
		return nil, errNotFound("Subscription")
	}
	a := map[string]string{
		"SubscriptionArn": sub.ARN, "TopicArn": sub.Topic, "Endpoint": sub.Endpoint, "Protocol": "sqs",
		"Owner": s.opt.AccountID, "ConfirmationWasAuthenticated": "true", "PendingConfirmation": "false",
		"RawMessageDelivery": "false", "SubscriptionPrincipal": "arn:aws:iam::" + s.opt.AccountID + ":root",
	}
	maps.Copy(a, sub.Attrs)
	if sub.filter != nil && a["FilterPolicyScope"] == "" {
		a["FilterPolicyScope"] = "MessageAttributes"
	}
	return &attributesOutput{Attributes: a}, nil
}

func (s *Service) setSubscriptionAttributes(_ *call, in *setSubscriptionAttributesInput) (*empty, error) {
	s.mu.Lock()
	sub := s.subs[in.SubscriptionArn]
	if sub == nil {
		s.mu.Unlock()
		return nil, errNotFound("Subscription")
	}
	sub, err := sub.with(map[string]string{in.AttributeName: in.AttributeValue})
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	return &empty{}, s.commit(record{Sub: sub})
}
