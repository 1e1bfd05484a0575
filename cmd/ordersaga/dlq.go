package main

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/ordersaga/ordersaga/internal/deadletter"
)

// dlqCmd reads, redrives and deletes dead letters through the API.
type dlqCmd struct {
	List    dlqListCmd    `cmd:"" help:"List dead letters with their reasons."`
	Show    dlqShowCmd    `cmd:"" help:"Show the body of a dead letter."`
	Redrive dlqRedriveCmd `cmd:"" help:"Send a dead letter, or all with --all, back to its source queue."`
	Delete  dlqDeleteCmd  `cmd:"" help:"Delete a dead letter permanently. Its message is then never processed."`
}

// sourceQueueFlag names the queue whose dead letters a command is about.
type sourceQueueFlag struct {
	apiFlags

	Queue string `default:"OrderProcessingQueue" enum:"OrderProcessingQueue,CarrierRequestsQueue,CarrierAnswersQueue" help:"Source queue of the dead letters: ${enum}."`
}

func (f sourceQueueFlag) path() string { return "/v1/dead-letters/" + f.Queue }

func (f sourceQueueFlag) list(e env, limit int) ([]deadletter.Message, error) {
	var page struct{ Letters []deadletter.Message }
	err := f.call(e, http.MethodGet, f.path()+"?limit="+strconv.Itoa(limit), nil, &page)
	return page.Letters, err
}

type dlqListCmd struct {
	sourceQueueFlag

	Limit int `default:"20" env:"ORDERSAGA_DLQ_LIMIT,ORDERSAGA_LIMIT" help:"Maximum number of dead letters, 1 to 100."`
}

func (c dlqListCmd) Run(e env) error {
	letters, err := c.list(e, c.Limit)
	if err != nil {
		return err
	}
	rows := make([][]string, len(letters))
	for i, l := range letters {
		rows[i] = []string{l.ID, l.SentAt.Format(time.RFC3339), l.Reason}
	}
	return c.write(e, letters, "ID SENT REASON", rows)
}

type dlqShowCmd struct {
	sourceQueueFlag

	ID string `arg:"" help:"Message id of the dead letter."`
}

func (c dlqShowCmd) Run(e env) error {
	letters, err := c.list(e, 100)
	if err != nil {
		return err
	}
	for _, l := range letters {
		if l.ID == c.ID {
			if c.Output == "json" {
				return printJSON(e.out, l)
			}
			_, err := fmt.Fprintln(e.out, l.Body)
			return err
		}
	}
	return fmt.Errorf("dead letter %s of %s: %w", c.ID, c.Queue, deadletter.ErrNotFound)
}

type dlqDeleteCmd struct {
	sourceQueueFlag
	noteFlags

	ID string `arg:"" help:"Message id of the dead letter."`
}

func (c dlqDeleteCmd) Run(e env) error {
	return c.call(e, http.MethodDelete, c.path()+"/"+url.PathEscape(c.ID)+"?"+c.query(), nil, nil)
}

type dlqRedriveCmd struct {
	sourceQueueFlag

	ID   string  `arg:"" optional:"" help:"Message id of the dead letter."`
	All  bool    `help:"Redrive every dead letter in the DLQ."`
	Body string  `type:"existingfile" placeholder:"FILE" help:"Send the content of this file instead of the dead letter's body."`
	Rate float64 `default:"10" env:"ORDERSAGA_REDRIVE_RATE" help:"Maximum messages per second with --all, 1 to 1000."`
}

func (c dlqRedriveCmd) Run(e env) error {
	if (c.ID == "") != c.All || c.All && c.Body != "" {
		return errors.New("give either the id of one dead letter, optionally with --body, or --all")
	}
	if !c.All {
		in := map[string]string{}
		if c.Body != "" {
			b, err := os.ReadFile(c.Body)
			if err != nil {
				return err
			}
			in["body"] = string(b)
		}
		return c.call(e, http.MethodPost, c.path()+"/"+url.PathEscape(c.ID)+"/redrive", in, nil)
	}
	if math.IsNaN(c.Rate) || c.Rate < 1 || c.Rate > 1000 {
		return fmt.Errorf("--rate must be 1 to 1000, is %v", c.Rate)
	}
	return c.redriveAll(e)
}

// redriveAll repeats the API's call, which has a time limit, until the DLQ is
// empty.
func (c dlqRedriveCmd) redriveAll(e env) error {
	const callSeconds = 20 // the API's time limit of one call
	path := c.path() + "/redrive?rate=" + strconv.FormatFloat(c.Rate, 'g', -1, 64)
	total := 0
	for {
		var out struct{ Redriven int }
		if err := c.call(e, http.MethodPost, path, nil, &out); err != nil {
			return err
		}
		total += out.Redriven
		if float64(out.Redriven) < c.Rate*callSeconds {
			break
		}
		_, _ = fmt.Fprintf(e.err, "redriven %d dead letters so far\n", total) // progress only
	}
	_, err := fmt.Fprintf(e.out, "redriven %d dead letters\n", total)
	return err
}
