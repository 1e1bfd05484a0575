package sns

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
	"github.com/ordersaga/ordersaga/internal/journal"
)

// Queues delivers messages; the local SQS implements it. It must be safe for concurrent
// use.
type Queues interface {
	// Exists reports whether a queue with that ARN exists.
	Exists(arn string) bool
	// Enqueue sends a message to the queue with that ARN. The message is durable when
	// WaitAll has returned nil.
	Enqueue(ctx context.Context, arn, body string, attrs map[string]wire.MessageAttribute) error
	// WaitForSpace and WaitAll are as those of journal.Journal.
	WaitForSpace(ctx context.Context) error
	WaitAll(ctx context.Context) error
}

// Options configures a Service. The zero value is usable.
type Options struct {
	Region    string         // default us-east-1
	AccountID string         // default 000000000000
	Logger    zerolog.Logger // the zero value writes nothing
	FS        journal.FS     // as in journal.Options
}

// Service implements the topics of one account in one region. Its methods are safe for
// concurrent use.
type Service struct {
	opt    Options
	queues Queues
	log    *journal.Journal

	mu     sync.RWMutex             // guards the maps
	topics map[string]*topic        // by ARN
	subs   map[string]*subscription // by ARN
}

// topic is immutable once it is in Service.topics: a change replaces it. The exception is
// subs, which Service.mu guards. JSON encodes its journal record.
type topic struct {
	ARN   string
	Attrs map[string]string
	Tags  map[string]string `json:",omitempty"`
	subs  []*subscription
}

// subscription is immutable once it is in Service.subs. JSON encodes its journal record;
// parse derives the unexported fields from Attrs.
type subscription struct {
	ARN      string
	Topic    string // ARN
	Endpoint string // ARN of a queue
	Attrs    map[string]string

	raw        bool
	filter     *Filter // nil delivers every message
	bodyScope  bool    // the filter applies to the body
	deadLetter string  // ARN of the RedrivePolicy's queue
}

// record is one journal entry; exactly one field is set.
type record struct {
	Topic     *topic        `json:",omitempty"`
	TopicGone string        `json:",omitempty"`
	Sub       *subscription `json:",omitempty"`
	SubGone   string        `json:",omitempty"`
}

// Open returns a Service with the topics in dir; with "" it keeps them in memory only. The
// caller must Close it.
func Open(dir string, queues Queues, o Options) (*Service, error) {
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.AccountID == "" {
		o.AccountID = "000000000000"
	}
	s := &Service{opt: o, queues: queues, topics: map[string]*topic{}, subs: map[string]*subscription{}}
	j, err := journal.Open(dir, journal.Options{Sync: journal.SyncOff, Logger: o.Logger, FS: o.FS}, s.replay)
	if err != nil {
		return nil, fmt.Errorf("open topics: %w", err)
	}
	s.log = j
	return s, nil
}

// Ready returns why no change can be made durable at the moment, or nil.
func (s *Service) Ready() error { return s.log.Err() }

// Watch is as that of journal.Journal.
func (s *Service) Watch(ctx context.Context) error { return s.log.Watch(ctx) }

// Close closes the journal. No request may be in progress.
func (s *Service) Close() error {
	if err := s.log.Close(); err != nil {
		return fmt.Errorf("close topics: %w", err)
	}
	return nil
}

// replay applies a record of the journal.
func (s *Service) replay(b []byte) error {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("sns: journal record is malformed: %w", err)
	}
	if r.Sub != nil {
		if err := r.Sub.parse(); err != nil {
			return fmt.Errorf("sns: journal record of subscription %s: %w", r.Sub.ARN, err)
		}
	}
	s.apply(r)
	return nil
}

// apply makes the change of a record in the maps. The caller holds s.mu, or is Open.
func (s *Service) apply(r record) {
	switch {
	case r.Topic != nil:
		if old := s.topics[r.Topic.ARN]; old != nil {
			r.Topic.subs = old.subs
		}
		s.topics[r.Topic.ARN] = r.Topic
	case r.TopicGone != "":
		if t := s.topics[r.TopicGone]; t != nil {
			for _, sub := range t.subs {
				delete(s.subs, sub.ARN)
			}
		}
		delete(s.topics, r.TopicGone)
	case r.Sub != nil:
		s.removeSubscription(r.Sub.ARN)
		if t := s.topics[r.Sub.Topic]; t != nil {
			t.subs = append(slices.Clip(t.subs), r.Sub)
			s.subs[r.Sub.ARN] = r.Sub
		}
	case r.SubGone != "":
		s.removeSubscription(r.SubGone)
	}
}

// removeSubscription removes a subscription, if it exists. It copies the topic's list,
// because a Publish may be reading it. The caller holds s.mu, or is Open.
func (s *Service) removeSubscription(arn string) {
	sub := s.subs[arn]
	if sub == nil {
		return
	}
	delete(s.subs, arn)
	if t := s.topics[sub.Topic]; t != nil {
		t.subs = slices.DeleteFunc(slices.Clone(t.subs), func(o *subscription) bool { return o == sub })
	}
}

// commit journals and applies a change. run waits until it is durable. The caller holds
// s.mu; commit unlocks it.
func (s *Service) commit(r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		s.mu.Unlock()
		return fmt.Errorf("encode sns record: %w", err)
	}
	s.apply(r)
	s.log.Append(b)
	s.mu.Unlock()
	s.log.CompactIfNeeded(s.snapshot)
	return nil
}

// snapshot emits a record for every topic, and then for every subscription.
func (s *Service) snapshot(emit func([]byte) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var records []record
	for _, t := range s.topics {
		records = append(records, record{Topic: t})
	}
	for _, sub := range s.subs {
		records = append(records, record{Sub: sub})
	}
	for _, r := range records {
		b, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode sns record: %w", err)
		}
		if err := emit(b); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) arn(name string) string {
	return "arn:aws:sns:" + s.opt.Region + ":" + s.opt.AccountID + ":" + name
}

// parse derives the fields that Publish uses from the subscription's attributes.
func (sub *subscription) parse() error {
	sub.raw = strings.EqualFold(sub.Attrs["RawMessageDelivery"], "true")
	sub.bodyScope = sub.Attrs["FilterPolicyScope"] == "MessageBody"
	if p := sub.Attrs["FilterPolicy"]; p != "" {
		f, err := ParseFilter(p, sub.bodyScope)
		if err != nil {
			return errInvalid("Attributes Reason: FilterPolicy: " + err.Error())
		}
		sub.filter = f
	}
	if p := sub.Attrs["RedrivePolicy"]; p != "" {
		var policy struct {
			Target string `json:"deadLetterTargetArn"`
		}
		if err := json.Unmarshal([]byte(p), &policy); err != nil || policy.Target == "" {
			return errInvalid("Attributes Reason: RedrivePolicy: must have a deadLetterTargetArn")
		}
		sub.deadLetter = policy.Target
	}
	return nil
}

// with returns a copy of sub with attrs changed. The value "" removes an attribute.
func (sub *subscription) with(attrs map[string]string) (*subscription, error) {
	n := &subscription{ARN: sub.ARN, Topic: sub.Topic, Endpoint: sub.Endpoint, Attrs: maps.Clone(sub.Attrs)}
	if n.Attrs == nil {
		n.Attrs = map[string]string{}
	}
	for name, value := range attrs {
		invalid := false
		switch name {
		case "RawMessageDelivery":
			value = strings.ToLower(value)
			invalid = value != "true" && value != "false"
		case "FilterPolicyScope":
			invalid = value != "MessageAttributes" && value != "MessageBody"
		case "FilterPolicy":
			if value == "{}" {
				value = ""
			}
		case "RedrivePolicy":
		default:
			return nil, errInvalid("AttributeName")
		}
		if invalid {
			return nil, errInvalid("Attributes Reason: " + name + ": Invalid value [" + value + "].")
		}
		if value == "" {
			delete(n.Attrs, name)
		} else {
			n.Attrs[name] = value
		}
	}
	return n, n.parse()
}

func newSubscriptionARN(topic string) string { return topic + ":" + uuid.NewString() }
