package sqs

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// benchServe returns the part of awslocal's dispatcher that the benchmarks need.
func benchServe(s *Service) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		_, _ = b.ReadFrom(r.Body)
		s.ServeJSON(w, r, r.Header.Get("X-Amz-Target"), b.Bytes())
	}
}

// BenchmarkSendReceiveDelete measures the three requests of one message of 512 bytes: send,
// receive and delete, with a journal on disk.
func BenchmarkSendReceiveDelete(b *testing.B) {
	t := open(b, b.TempDir())
	defer t.close()
	url := t.queue("q", nil)
	send := []byte(`{"QueueUrl":"` + url + `","MessageBody":"` + strings.Repeat("x", 512) + `"}`)
	receive := []byte(`{"QueueUrl":"` + url + `","MaxNumberOfMessages":1,"AttributeNames":["All"]}`)

	roundTrip := func(b *testing.B, post func(action string, body []byte) []byte) {
		b.Helper()
		post("SendMessage", send)
		var got struct {
			Messages []struct{ ReceiptHandle string }
		}
		if err := json.Unmarshal(post("ReceiveMessage", receive), &got); err != nil || len(got.Messages) != 1 {
			b.Errorf("received %d messages, want 1; error: %v", len(got.Messages), err)
			return
		}
		post("DeleteMessage", []byte(`{"QueueUrl":"`+url+`","ReceiptHandle":"`+got.Messages[0].ReceiptHandle+`"}`))
	}
	handler := benchServe(t.s)
	b.Run("handler", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				roundTrip(b, func(action string, body []byte) []byte {
					r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
					r.Header.Set("X-Amz-Target", action)
					w := httptest.NewRecorder()
					handler(w, r)
					return w.Body.Bytes()
				})
			}
		})
	})
	b.Run("loopback", func(b *testing.B) {
		server := httptest.NewServer(handler)
		defer server.Close()
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
		defer client.CloseIdleConnections()
		b.ReportAllocs()
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				roundTrip(b, func(action string, body []byte) []byte {
					r, _ := http.NewRequestWithContext(b.Context(), http.MethodPost, server.URL, bytes.NewReader(body))
					r.Header.Set("X-Amz-Target", action)
					resp, err := client.Do(r)
					if err != nil {
						b.Errorf("request failed: %v", err)
						return nil
					}
					defer resp.Body.Close()
					var out bytes.Buffer
					_, _ = out.ReadFrom(resp.Body)
					return out.Bytes()
				})
			}
		})
	})
	// Without HTTP and JSON: the cost of the queue itself.
	b.Run("queue", func(b *testing.B) {
		b.ReportAllocs()
		body := strings.Repeat("x", 512)
		one := int32(1)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_, err := t.s.sendMessage(t.c, &sendInput{QueueUrl: url, MessageBody: body})
				out, err2 := t.s.receiveMessage(t.c, &receiveInput{QueueUrl: url, MaxNumberOfMessages: &one})
				if err != nil || err2 != nil || len(out.Messages) != 1 {
					b.Errorf("send: error %v; receive: %v, error %v, want no errors and one message", err, out, err2)
					return
				}
				in := &deleteInput{QueueUrl: url, ReceiptHandle: out.Messages[0].ReceiptHandle}
				if _, err := t.s.deleteMessage(t.c, in); err != nil {
					b.Errorf("delete failed: %v", err)
				}
			}
		})
	})
}
