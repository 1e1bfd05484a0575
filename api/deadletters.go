package api

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordersaga/ordersaga/internal/auth"
	"github.com/ordersaga/ordersaga/internal/deadletter"
	"github.com/ordersaga/ordersaga/internal/order"
)

// DeadLetters is what the API uses of the queues.
type DeadLetters interface {
	// Queues returns the queues that have a dead-letter queue.
	Queues(ctx context.Context) ([]Queue, error)
	// List returns up to limit dead letters of a queue.
	List(ctx context.Context, queue string, limit int) ([]deadletter.Message, error)
	// Redrive returns a dead letter to its queue, with another body unless body is nil.
	// It returns deadletter.ErrNotFound or deadletter.ErrUnread if it did not find it.
	Redrive(ctx context.Context, queue, id string, body *string) error
	// RedriveAll redrives all dead letters of a queue and returns their number.
	RedriveAll(ctx context.Context, queue string, perSecond float64) (int, error)
	// Delete deletes a dead letter permanently. Its errors are those of Redrive.
	Delete(ctx context.Context, queue, id string) error
	// Forget deletes the dead letters of all queues that matches accepts and returns their
	// number. It returns deadletter.ErrUnread if it could not read all of them.
	Forget(ctx context.Context, matches func(deadletter.Message) bool) (int, error)
}

// QueueInput is the path parameter of a queue. It is exported for the same reason as
// IDInput.
type QueueInput struct {
	Queue string `path:"queue" enum:"OrderProcessingQueue,CarrierRequestsQueue,CarrierAnswersQueue" doc:"Source queue of the dead letters."`
}

type listDeadLettersInput struct {
	QueueInput

	Limit int `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"Highest number of entries in the response."`
}

type deadLettersOutput struct {
	Body struct {
		Letters []deadletter.Message `json:"letters" doc:"Dead letters that could be read."`
	}
}

type queuesOutput struct {
	Body struct {
		Queues []Queue `json:"queues" nullable:"false" doc:"Queues with a dead-letter queue."`
	}
}

// DeadLetterInput is the path parameters of a dead letter. It is exported for the same
// reason as IDInput.
type DeadLetterInput struct {
	QueueInput

	ID string `path:"id" maxLength:"128" doc:"Id of the dead letter."`
}

type deleteDeadLetterInput struct {
	DeadLetterInput

	By   string `query:"by" maxLength:"64" doc:"Name of the operator. Ignored for authenticated callers: the token names them."`
	Note string `query:"note" maxLength:"500" doc:"Reason of the action."`
}

type redriveInput struct {
	DeadLetterInput

	Body *struct {
		Body *string `json:"body,omitempty" minLength:"1" maxLength:"262144" doc:"Corrected message, at most 256 KiB of UTF-8. SQS does not accept control characters other than tabs and line ends, nor U+FFFE and U+FFFF."`
	} `required:"false"`
}

// maxDeadLetter is how many bytes a corrected dead letter may have. No consumer of the
// queues accepts more.
const maxDeadLetter = order.MaxEventBytes

// unsendable returns why a message cannot be sent to a queue, or "". See
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
func unsendable(body string) string {
	forbidden := func(c rune) bool {
		return c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0xFFFE || c == 0xFFFF
	}
	switch {
	case len(body) > maxDeadLetter: // the schema counts characters
		return "has more than " + strconv.Itoa(maxDeadLetter) + " bytes"
	case strings.ContainsFunc(body, forbidden):
		return "has a character that SQS does not accept: a control character, U+FFFE or U+FFFF"
	}
	return ""
}

type redriveAllInput struct {
	QueueInput

	Rate float64 `query:"rate" minimum:"1" maximum:"1000" default:"10" doc:"Highest number of messages per second."`
}

type redriveAllOutput struct {
	Body struct {
		Redriven int `json:"redriven" doc:"Number of messages that were redriven."`
	}
}

func (s *server) deadLetters(h huma.API) {
	op := func(id, method, path, summary, description string) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: method, Path: "/v1/dead-letters" + path, Tags: []string{"dead letters"},
			Summary: summary, Description: description,
		}
	}
	huma.Register(h, op("listQueues", http.MethodGet, "", "List the queues with the number of their dead letters", ""), s.listQueues)
	huma.Register(h, op("listDeadLetters", http.MethodGet, "/{queue}", "Read messages that could not be processed",
		"While they are read, other clients do not see them; for up to 20 seconds if the reader exits. "+
			"For a caller who may not act, payment tokens, addresses and the customer are masked."), s.listDeadLetters)
	one := func(op huma.Operation) huma.Operation {
		op.DefaultStatus, op.Errors = http.StatusNoContent, []int{http.StatusNotFound}
		op.MaxBodyBytes = -1 // bounded has checked the size
		return op
	}
	huma.Register(h, one(op("redriveDeadLetter", http.MethodPost, "/{queue}/{id}/redrive", "Redrive a dead letter",
		"Returns the message to its queue, unchanged or with a corrected body. "+
			"An event type in the corrected body replaces the message attributes with the type. "+
			"Processing a message twice is harmless.")), s.redrive)
	huma.Register(h, one(op("deleteDeadLetter", http.MethodDelete, "/{queue}/{id}", "Delete a dead letter permanently",
		"For a message whose request was carried out by hand, or must not be carried out. "+
			"The audit log keeps who deleted it and why, but not the message.")), s.deleteDeadLetter)
	huma.Register(h, op("redriveDeadLetters", http.MethodPost, "/{queue}/redrive", "Redrive all dead letters of a queue",
		"Redrives those that are there when it starts. It stops after 25 seconds; repeat it for the rest."), s.redriveAll)
}

func (s *server) listQueues(ctx context.Context, _ *struct{}) (*queuesOutput, error) {
	queues, err := s.DeadLetters.Queues(ctx)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	out := &queuesOutput{}
	out.Body.Queues = append([]Queue{}, queues...)
	return out, nil
}

func (s *server) listDeadLetters(ctx context.Context, in *listDeadLettersInput) (*deadLettersOutput, error) {
	found, err := s.DeadLetters.List(ctx, in.Queue, in.Limit)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	out := &deadLettersOutput{}
	out.Body.Letters = append([]deadletter.Message{}, found...)
	if p, ok := auth.FromContext(ctx); ok && !p.May(auth.Operator) {
		for i, l := range found {
			out.Body.Letters[i] = l.Masked()
		}
	}
	return out, nil
}

func (s *server) redrive(ctx context.Context, in *redriveInput) (*struct{}, error) {
	body := deref(in.Body).Body
	if fault := unsendable(deref(body)); fault != "" {
		return nil, huma.Error422UnprocessableEntity(invalid, &huma.ErrorDetail{Location: "body.body", Message: fault})
	}
	err := s.DeadLetters.Redrive(ctx, in.Queue, in.ID, body)
	if err != nil {
		return nil, s.failedDeadLetter(ctx, err)
	}
	s.Logger.Info().Str("queue", in.Queue).Str("letter", in.ID).Msg("dead letter redriven")
	return nil, nil
}

func (s *server) deleteDeadLetter(ctx context.Context, in *deleteDeadLetterInput) (*struct{}, error) {
	err := s.DeadLetters.Delete(ctx, in.Queue, in.ID)
	if err != nil {
		return nil, s.failedDeadLetter(ctx, err)
	}
	s.Logger.Info().Str("queue", in.Queue).Str("letter", in.ID).Msg("dead letter deleted")
	return nil, nil
}

func (s *server) redriveAll(ctx context.Context, in *redriveAllInput) (*redriveAllOutput, error) {
	if math.IsNaN(in.Rate) { // it is not less than the minimum, nor more than the maximum
		fault := &huma.ErrorDetail{Location: "query.rate", Message: "expected a number from 1 to 1000"}
		return nil, huma.Error422UnprocessableEntity(invalid, fault)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout*5/6)
	defer cancel()
	n, err := s.DeadLetters.RedriveAll(ctx, in.Queue, in.Rate)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, s.failed(ctx, err)
	}
	s.Logger.Info().Str("queue", in.Queue).Int("letters", n).Msg("dead letters redriven")
	out := &redriveAllOutput{}
	out.Body.Redriven = n
	return out, nil
}

// failedDeadLetter maps an error of DeadLetters to its problem document.
func (s *server) failedDeadLetter(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, deadletter.ErrNotFound):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, deadletter.ErrUnread):
		return huma.Error503ServiceUnavailable(err.Error() + ", or redrive all of them")
	}
	return s.failed(ctx, err)
}
