package sqsconsumer_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/ordersaga/ordersaga/internal/events"
	"github.com/ordersaga/ordersaga/internal/sqsconsumer"
	"github.com/ordersaga/ordersaga/internal/testkit"
	"github.com/ordersaga/ordersaga/internal/testkit/require"
)

const messageLimit = 1 << 20 // SQS's, in bytes

func poison(reason string) func(context.Context, events.Message) error {
	return func(context.Context, events.Message) error {
		return &sqsconsumer.PermanentError{Reason: errors.New(reason)}
	}
}

func unpack(t *testing.T, body string) string {
	t.Helper()
	z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(body)))
	require.NoError(t, err)
	b, err := io.ReadAll(z)
	require.NoError(t, err)
	return string(b)
}

// noise returns text that hardly compresses: it uses six and a half of a byte's eight bits.
func noise(n int) string {
	rnd := rand.New(rand.NewPCG(1, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(' ' + rnd.IntN(95))
	}
	return string(b)
}

func TestDeadLetterHasReasonAndOwnAttributes(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	own := map[string]types.MessageAttributeValue{
		"Reason": testkit.StringAttribute("of an earlier dead letter"),
		"a-num":  {DataType: aws.String("Number.int"), StringValue: aws.String("7")},
		"b-bin":  {DataType: aws.String("Binary"), BinaryValue: []byte{0, 1, 255}},
	}
	for n := range 7 {
		own[fmt.Sprint("c", n)] = testkit.StringAttribute("x")
	}
	id := a.Send(t, "body", own)
	outcomes, _ := a.Consume(t, sqsconsumer.Options{Handle: poison("no good")})
	testkit.WantOutcomes(t, outcomes, "poison", 1)
	m := a.Receive(t, a.Resources.OrderDLQ, 1)[0]
	reason, original := testkit.Attribute(m, sqsconsumer.AttributeReason), testkit.Attribute(m, sqsconsumer.AttributeOriginal)
	if *m.Body != "body" || reason != "no good" || original != id {
		t.Errorf("dead letter = %q with reason %q of %q, want the body, \"no good\" and %q", *m.Body, reason, original, id)
	}
	if num := m.MessageAttributes["a-num"]; aws.ToString(num.DataType) != "Number.int" || *num.StringValue != "7" ||
		!bytes.Equal(m.MessageAttributes["b-bin"].BinaryValue, []byte{0, 1, 255}) {
		t.Errorf("attributes = %v, want their types kept", m.MessageAttributes)
	}
	// SQS's maximum is ten: two of ours and eight of its nine others.
	if len(m.MessageAttributes) != 10 || testkit.Attribute(m, "c5") != "x" || testkit.Attribute(m, "c6") != "" {
		t.Errorf("attributes = %v, want ten, the last of its own c5", m.MessageAttributes)
	}
}

// TestDeadLetterKeepsItsType, whatever else is dropped: redriven without it, it would be
// another event.
func TestDeadLetterKeepsItsType(t *testing.T) {
	t.Parallel()
	many := map[string]types.MessageAttributeValue{"type": testkit.StringAttribute("OrderCancelled")}
	for n := range 9 {
		many[fmt.Sprint("a", n)] = testkit.StringAttribute("x")
	}
	one := map[string]types.MessageAttributeValue{"ce-type": testkit.StringAttribute("OrderCancelled")}
	for _, c := range []struct {
		name, body string
		own        map[string]types.MessageAttributeValue
	}{
		{"of ten attributes", "body", many},
		{"full", strings.Repeat("<order/>", messageLimit/8)[:messageLimit-27], one},
		{"full of what does not compress", noise(messageLimit - 27), one},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := testkit.NewAWS(t, nil)
			a.Send(t, c.body, c.own)
			outcomes, stop := a.Consume(t, sqsconsumer.Options{Handle: poison("no good")})
			testkit.WantOutcomes(t, outcomes, "poison", 1)
			stop()
			m := a.Receive(t, a.Resources.OrderDLQ, 1)[0]
			if testkit.Attribute(m, "type")+testkit.Attribute(m, "ce-type") != "OrderCancelled" {
				t.Errorf("attributes = %v, want the type OrderCancelled", m.MessageAttributes)
			}
		})
	}
}

func TestReasonsAreCutToWhatSQSAccepts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, reason, want string }{
		{"control characters", "bad \x00\x1b[31m\v\x7f\t\r\n", "bad \ufffd\ufffd[31m \ufffd   "},
		{"not UTF-8", "bad \xff\xfe", "bad \ufffd\ufffd"},
		{"no characters", "bad \ufffe\uffff", "bad \ufffd\ufffd"},
		{"the last allowed ones", "\ud7ff\ue000\ufffd\U00010000\U0010ffff", "\ud7ff\ue000\ufffd\U00010000\U0010ffff"},
		{"empty", "", "no reason given"},
		{"long", strings.Repeat("ü", 5000), strings.Repeat("ü", 999) + "…"},
	} {
		t.Run(c.name, func(t *testing.T) {
			// An endpoint each: one on which a consumer has just been stopped may
			// still give a message to its last poll, as AWS may.
			a := testkit.NewAWS(t, nil)
			a.Send(t, c.name, nil)
			outcomes, stop := a.Consume(t, sqsconsumer.Options{Handle: poison(c.reason)})
			testkit.WantOutcomes(t, outcomes, "poison", 1)
			stop()
			m := a.Receive(t, a.Resources.OrderDLQ, 1)[0]
			if *m.Body != c.name || testkit.Attribute(m, sqsconsumer.AttributeReason) != c.want {
				t.Errorf("%s: reason = %q, want %q", *m.Body, testkit.Attribute(m, sqsconsumer.AttributeReason), c.want)
			}
		})
	}
}

func TestFullMessagesAreDeadLetteredWhole(t *testing.T) {
	t.Parallel()
	full := strings.Repeat("<order/>", messageLimit/8)
	trace := map[string]types.MessageAttributeValue{"trace": testkit.StringAttribute("t-1")}
	big := map[string]types.MessageAttributeValue{"big": testkit.StringAttribute(noise(messageLimit - 1009))}
	for _, c := range []struct {
		name, body string
		own        map[string]types.MessageAttributeValue
		compressed bool
		reason     string // "" if there is no room for it
		kept       int    // own attributes
	}{
		{"fits", full[:messageLimit-4096], nil, false, "too much", 0},
		{"full", full, nil, true, "too much", 0},
		{"full, with attributes", full[:messageLimit-50], trace, true, "too much", 1},
		{"full of what does not compress", noise(messageLimit), nil, false, "", 0},
		{"full of attributes", noise(1000), big, false, "too much", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			// An endpoint each: one on which a consumer has just been stopped may
			// still give a message to its last poll, as AWS may.
			a := testkit.NewAWS(t, nil)
			a.Send(t, c.body, c.own)
			outcomes, stop := a.Consume(t, sqsconsumer.Options{Handle: poison("too much")})
			testkit.WantOutcomes(t, outcomes, "poison", 1)
			stop()
			m := a.Receive(t, a.Resources.OrderDLQ, 1)[0]
			body := *m.Body
			if compressed := testkit.Attribute(m, sqsconsumer.AttributeEncoding) == sqsconsumer.GzipBase64; compressed != c.compressed {
				t.Fatalf("compressed = %t, want %t", compressed, c.compressed)
			} else if compressed {
				body = unpack(t, body)
			}
			if body != c.body {
				t.Errorf("body has changed: %d bytes, want the %d that were sent", len(body), len(c.body))
			}
			kept := len(m.MessageAttributes)
			for _, ours := range []string{sqsconsumer.AttributeReason, sqsconsumer.AttributeOriginal, sqsconsumer.AttributeEncoding} {
				if testkit.Attribute(m, ours) != "" {
					kept--
				}
			}
			if testkit.Attribute(m, sqsconsumer.AttributeReason) != c.reason || kept != c.kept {
				t.Errorf("reason = %q with %d own attributes, want %q with %d",
					testkit.Attribute(m, sqsconsumer.AttributeReason), kept, c.reason, c.kept)
			}
		})
	}
}

func TestDLQWithASmallerMessageLimit(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	_, err := a.Clients.SQS.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{
		QueueUrl: &a.Resources.OrderDLQ, Attributes: map[string]string{"MaximumMessageSize": "1024"},
	})
	require.NoError(t, err)
	body := strings.Repeat("x", 1020)
	a.Send(t, body, nil)
	outcomes, _ := a.Consume(t, sqsconsumer.Options{Handle: poison("small")})
	testkit.WantOutcomes(t, outcomes, "poison", 1)
	m := a.Receive(t, a.Resources.OrderDLQ, 1)[0]
	if unpack(t, *m.Body) != body || testkit.Attribute(m, sqsconsumer.AttributeReason) != "small" {
		t.Errorf("attributes = %v, want the body compressed and the reason \"small\"", m.MessageAttributes)
	}
}

// TestCompressedMessageIsRedriven: it is handled as it was sent, and dead-lettered again in
// the same form.
func TestCompressedMessageIsRedriven(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	full := strings.Repeat("<order/>", messageLimit/8)
	a.Send(t, full, nil)
	seen := make(chan string, 2)
	outcomes, _ := a.Consume(t, sqsconsumer.Options{Handle: func(_ context.Context, m events.Message) error {
		seen <- string(m.Body)
		return &sqsconsumer.PermanentError{Reason: errors.New("still bad")}
	}})
	testkit.WantOutcomes(t, outcomes, "poison", 1)
	first := a.Receive(t, a.Resources.OrderDLQ, 1)[0]
	a.Send(t, *first.Body, first.MessageAttributes)
	testkit.WantOutcomes(t, outcomes, "poison", 1)
	second := a.Receive(t, a.Resources.OrderDLQ, 1)[0]
	for range 2 {
		if <-seen != full {
			t.Error("the handler received another body, want the one that was sent")
		}
	}
	encoding := testkit.Attribute(second, sqsconsumer.AttributeEncoding)
	if *second.Body != *first.Body || encoding != sqsconsumer.GzipBase64 || len(second.MessageAttributes) != 3 {
		t.Errorf("second dead letter has attributes %v, want the first one's body and three attributes", second.MessageAttributes)
	}
}

func TestBrokenCompressedMessagesArePoison(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, err := z.Write(make([]byte, 64<<20))
	require.NoError(t, errors.Join(err, z.Close()))
	compressed := map[string]types.MessageAttributeValue{sqsconsumer.AttributeEncoding: testkit.StringAttribute(sqsconsumer.GzipBase64)}
	want := map[string]string{
		"%%%": "is not gzip+base64", "aGVsbG8=": "is not gzip+base64",
		base64.StdEncoding.EncodeToString(bomb.Bytes()):                 "decompresses to more than",
		base64.StdEncoding.EncodeToString(bomb.Bytes()[:bomb.Len()/80]): "is not gzip+base64", // cut off
	}
	for body := range want {
		a.Send(t, body, compressed)
	}
	outcomes, _ := a.Consume(t, sqsconsumer.Options{Handle: func(context.Context, events.Message) error {
		t.Error("the handler was called, want no call for a body that cannot be decoded")
		return nil
	}})
	testkit.WantOutcomes(t, outcomes, "poison", len(want))
	for _, m := range a.Receive(t, a.Resources.OrderDLQ, len(want)) {
		if reason := testkit.Attribute(m, sqsconsumer.AttributeReason); !strings.Contains(reason, want[*m.Body]) || !utf8.ValidString(reason) {
			t.Errorf("body %.20s…: reason = %q, want it to contain %q", *m.Body, reason, want[*m.Body])
		}
	}
}

// TestFailedDeadLetterStaysInItsQueue until the dead-letter queue accepts it.
func TestFailedDeadLetterStaysInItsQueue(t *testing.T) {
	t.Parallel()
	a := testkit.NewAWS(t, nil)
	id := a.Send(t, "body", nil)
	c := &client{Client: a.Clients.SQS, failSend: 1}
	outcomes, _ := a.Consume(t, sqsconsumer.Options{SQS: c, Handle: poison("bad"), Visibility: second})
	testkit.WantOutcomes(t, outcomes, "retry", 1)
	testkit.WantOutcomes(t, outcomes, "poison", 1)
	if m := a.Receive(t, a.Resources.OrderDLQ, 1)[0]; testkit.Attribute(m, sqsconsumer.AttributeOriginal) != id {
		t.Errorf("attributes = %v, want the original id %s", m.MessageAttributes, id)
	}
}
