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
	Queues(ctx context.Context) ([]Queue, error)
	List(ctx context.Context, queue string, limit int) ([]deadletter.Message, error)
	// Redrive puts a letter back, with another body unless that is nil;
	// deadletter.ErrNotFound.
	Redrive(ctx context.Context, queue, id string, body *string) error
	RedriveAll(ctx context.Context, queue string, perSecond float64) (int, error)
	// Delete forgets a letter for good; deadletter.ErrNotFound.
	Delete(ctx context.Context, queue, id string) error
	// Forget deletes all letters that are such, of all queues; deadletter.ErrUnread.
	Forget(ctx context.Context, such func(deadletter.Message) bool) (int, error)
}

// QueueInput names a queue. It is exported because huma reads embedded
// parameters of exported types only.
type QueueInput struct {
	Queue string `path:"queue" enum:"OrderProcessingQueue,CarrierRequestsQueue,CarrierAnswersQueue" doc:"The queue that the letters come from."`
}

type lettersInput struct {
	QueueInput

	Limit int `query:"limit" minimum:"1" maximum:"100" default:"20"`
}

type lettersOutput struct {
	Body struct {
		Letters []deadletter.Message `json:"letters"`
	}
}

type queuesOutput struct {
	Body struct {
		Queues []Queue `json:"queues" nullable:"false"`
	}
}

// LetterInput names a letter; exported as QueueInput is.
type LetterInput struct {
	QueueInput

	ID string `path:"id" maxLength:"128" doc:"The letter's id."`
}

type deleteLetterInput struct {
	LetterInput

	By   string `query:"by" maxLength:"64" doc:"Who acts."`
	Note string `query:"note" maxLength:"500" doc:"Why."`
}

type redriveInput struct {
	LetterInput

	Body *struct {
		Body *string `json:"body,omitempty" minLength:"1" maxLength:"262144" doc:"What to put back instead, at most 256 KiB of UTF-8: nothing reads more. SQS takes no control characters but tabs and ends of lines, and neither U+FFFE nor U+FFFF."`
	} `required:"false"`
}

// maxLetter is how long a mended letter may be, as the document says; no reader
// of the queues takes more.
const maxLetter = order.MaxEventBytes

// unsendable is why a body cannot be put into a queue, or ""; nil is none. See
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
func unsendable(body *string) string {
	never := func(c rune) bool {
		return c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0xFFFE || c == 0xFFFF
	}
	switch {
	case body == nil:
		return ""
	case len(*body) > maxLetter: // the schema counts characters
		return "has more than " + strconv.Itoa(maxLetter) + " bytes"
	case strings.ContainsFunc(*body, never):
		return "has a character that SQS takes in no message: a control character, U+FFFE or U+FFFF"
	}
	return ""
}

type redriveAllInput struct {
	QueueInput

	Rate float64 `query:"rate" minimum:"1" maximum:"1000" default:"10" doc:"At most so many a second."`
}

type redriveAllOutput struct {
	Body struct {
		Redriven int `json:"redriven"`
	}
}

func (s *server) deadLetters(h huma.API) {
	const looked = "While they are read, and for up to 20 seconds if the reader dies, other readers do not see them."
	huma.Register(h, huma.Operation{
		OperationID: "listQueues", Method: http.MethodGet, Path: "/v1/dead-letters", Tags: []string{"dead letters"},
		Summary: "List the queues, and how many dead letters each has",
	}, func(ctx context.Context, _ *struct{}) (*queuesOutput, error) {
		queues, err := s.DeadLetters.Queues(ctx)
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		out := &queuesOutput{}
		out.Body.Queues = append([]Queue{}, queues...)
		return out, nil
	})
	huma.Register(h, huma.Operation{
		OperationID: "listDeadLetters", Method: http.MethodGet, Path: "/v1/dead-letters/{queue}", Tags: []string{"dead letters"},
		Summary: "Read messages that could not be processed", Description: looked + " Who may look and not act sees neither payment tokens nor addresses nor who is the customer.",
	}, func(ctx context.Context, in *lettersInput) (*lettersOutput, error) {
		letters, err := s.DeadLetters.List(ctx, in.Queue, in.Limit)
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		out := &lettersOutput{}
		out.Body.Letters = append([]deadletter.Message{}, letters...)
		if p, ok := auth.FromContext(ctx); ok && !p.May(auth.Operator) {
			for i, l := range letters {
				out.Body.Letters[i] = l.Masked()
			}
		}
		return out, nil
	})
	huma.Register(h, huma.Operation{
		OperationID: "redriveDeadLetter", Method: http.MethodPost, Path: "/v1/dead-letters/{queue}/{id}/redrive", Tags: []string{"dead letters"},
		Summary: "Put one back into its queue", Description: "As it is, or with another body. One that states the event's type replaces the message attributes that do. Processing it twice is harmless.", DefaultStatus: http.StatusNoContent, Errors: []int{http.StatusNotFound},
		MaxBodyBytes: -1, // bounded has seen to it
	}, func(ctx context.Context, in *redriveInput) (*struct{}, error) {
		body := deref(in.Body).Body
		if fault := unsendable(body); fault != "" {
			return nil, huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{Location: "body.body", Message: fault})
		}
		if err := s.DeadLetters.Redrive(ctx, in.Queue, in.ID, body); err != nil {
			return nil, s.noLetter(ctx, err)
		}
		s.Logger.Info().Str("queue", in.Queue).Str("letter", in.ID).Msg("dead letter put back")
		return nil, nil
	})
	huma.Register(h, huma.Operation{
		OperationID: "deleteDeadLetter", Method: http.MethodDelete, Path: "/v1/dead-letters/{queue}/{id}", Tags: []string{"dead letters"},
		Summary: "Forget one for good", Description: "When what it asks for was done by hand, or must not be done. The audit log keeps who did it and why, not the message.",
		DefaultStatus: http.StatusNoContent, Errors: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *deleteLetterInput) (*struct{}, error) {
		if err := s.DeadLetters.Delete(ctx, in.Queue, in.ID); err != nil {
			return nil, s.noLetter(ctx, err)
		}
		s.Logger.Info().Str("queue", in.Queue).Str("letter", in.ID).Msg("dead letter deleted")
		return nil, nil
	})
	huma.Register(h, huma.Operation{
		OperationID: "redriveDeadLetters", Method: http.MethodPost, Path: "/v1/dead-letters/{queue}/redrive", Tags: []string{"dead letters"},
		Summary: "Put all back that are there now", Description: "It ends after 25 seconds with what it has done; repeat it for the rest.",
	}, func(ctx context.Context, in *redriveAllInput) (*redriveAllOutput, error) {
		if math.IsNaN(in.Rate) { // it is not less than the minimum, nor more than the maximum
			return nil, huma.Error422UnprocessableEntity("validation failed", &huma.ErrorDetail{Location: "query.rate", Message: "expected a number from 1 to 1000"})
		}
		ctx, cancel := context.WithTimeout(ctx, requestTimeout*5/6)
		defer cancel()
		n, err := s.DeadLetters.RedriveAll(ctx, in.Queue, in.Rate)
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return nil, s.failed(ctx, err)
		}
		s.Logger.Info().Str("queue", in.Queue).Int("letters", n).Msg("dead letters put back")
		out := &redriveAllOutput{}
		out.Body.Redriven = n
		return out, nil
	})
}

// noLetter is why a letter could not be dealt with.
func (s *server) noLetter(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, deadletter.ErrNotFound):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, deadletter.ErrUnread):
		return huma.Error503ServiceUnavailable(err.Error() + "; try again, or put all back")
	}
	return s.failed(ctx, err)
}
