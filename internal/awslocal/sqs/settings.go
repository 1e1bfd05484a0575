package sqs

import (
	"bytes"
	"encoding/json"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/ordersaga/ordersaga/internal/awslocal/wire"
)

// settings holds a queue's parsed attributes. It is immutable: a change replaces it.
type settings struct {
	raw        map[string]string // the attributes as given, and the defaults
	delay      time.Duration
	maxSize    int
	retention  time.Duration
	wait       time.Duration
	visibility time.Duration
	redrive    *redrive // nil without a RedrivePolicy
}

// redrive is a parsed RedrivePolicy.
type redrive struct {
	target      string // ARN of the dead-letter queue
	maxReceives int
}

// integerAttributes holds the range and the default of the numeric attributes.
var integerAttributes = map[string]struct{ low, high, initial int }{
	"DelaySeconds":                  {low: 0, high: maxDelay, initial: 0},
	"MaximumMessageSize":            {low: minMessageLimit, high: maxMessageBytes, initial: maxMessageBytes},
	"MessageRetentionPeriod":        {low: minRetention, high: maxRetention, initial: defaultRetention},
	"ReceiveMessageWaitTimeSeconds": {low: 0, high: maxWait, initial: 0},
	"VisibilityTimeout":             {low: 0, high: maxVisibility, initial: defaultVisibility},
}

// with returns a copy of s with attrs changed. s may be nil, which means the defaults.
func (s *settings) with(attrs map[string]string) (*settings, error) {
	n := &settings{raw: map[string]string{"SqsManagedSseEnabled": "true"}}
	for name, r := range integerAttributes {
		n.raw[name] = strconv.Itoa(r.initial)
	}
	if s != nil {
		maps.Copy(n.raw, s.raw)
	}
	for name, value := range attrs {
		if err := n.setOne(name, value); err != nil {
			return nil, err
		}
	}
	seconds := func(name string) time.Duration {
		v, _ := strconv.Atoi(n.raw[name]) // validated by setOne
		return time.Duration(v) * time.Second
	}
	n.delay, n.wait = seconds("DelaySeconds"), seconds("ReceiveMessageWaitTimeSeconds")
	n.retention, n.visibility = seconds("MessageRetentionPeriod"), seconds("VisibilityTimeout")
	n.maxSize, _ = strconv.Atoi(n.raw["MaximumMessageSize"]) // validated by setOne
	if policy := n.raw["RedrivePolicy"]; policy != "" {
		r, err := parseRedrive(policy)
		if err != nil {
			return nil, err
		}
		n.redrive = r
	}
	return n, nil
}

// setOne validates an attribute and stores it in s.raw.
func (s *settings) setOne(name, value string) error {
	if r, ok := integerAttributes[name]; ok {
		v, err := strconv.Atoi(value)
		if err != nil || v < r.low || v > r.high {
			return errInvalidAttribute("Invalid value for the parameter " + name + ".")
		}
		s.raw[name] = strconv.Itoa(v)
		return nil
	}
	switch name {
	case "RedrivePolicy", "RedriveAllowPolicy", "Policy":
		if value == "" {
			delete(s.raw, name)
			return nil
		}
		if !json.Valid([]byte(value)) {
			return errInvalidAttribute("Invalid value for the parameter " + name + ".")
		}
	case "SqsManagedSseEnabled":
		if value != "true" && value != "false" {
			return errInvalidAttribute("Invalid value for the parameter " + name + ".")
		}
	case "FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit":
		if name == "FifoQueue" && value == "false" {
			return errUnknownAttribute(name) // AWS rejects it too
		}
		return errNoFIFO()
	case "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds":
		if value != "" {
			return errUnsupported("The local endpoint has no KMS; leave " + name + " out.")
		}
		return nil
	default:
		return errUnknownAttribute(name)
	}
	s.raw[name] = value
	return nil
}

func errNoFIFO() *wire.Error {
	return errUnsupported("The local endpoint has standard queues only; FIFO queues are not supported.")
}

func parseRedrive(policy string) (*redrive, error) {
	bad := func(reason string) error { return errInvalidValue(policy, "RedrivePolicy", reason) }
	var p struct {
		Target string          `json:"deadLetterTargetArn"`
		Max    json.RawMessage `json:"maxReceiveCount"` // a number, or one in quotes
	}
	if err := json.Unmarshal([]byte(policy), &p); err != nil {
		return nil, bad("Amazon SQS can't parse it as JSON.")
	}
	if p.Target == "" || len(p.Max) == 0 {
		return nil, bad("Redrive policy must have deadLetterTargetArn and maxReceiveCount.")
	}
	n, err := strconv.Atoi(string(bytes.Trim(p.Max, `"`)))
	if err != nil || n < 1 || n > maxReceiveCount {
		return nil, bad("Invalid value for maxReceiveCount: " + string(p.Max) + ", valid values are from 1 to 1000 both inclusive.")
	}
	return &redrive{target: p.Target, maxReceives: n}, nil
}

// validName checks AWS's rule for queue names: 1 to 80 letters, digits, hyphens and
// underscores.
func validName(name string) error {
	if strings.HasSuffix(name, ".fifo") {
		return errNoFIFO()
	}
	ok := len(name) >= 1 && len(name) <= 80
	for _, c := range []byte(name) {
		ok = ok && (c == '-' || c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z')
	}
	if !ok {
		return errInvalidValue(name, "QueueName", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length.")
	}
	return nil
}
