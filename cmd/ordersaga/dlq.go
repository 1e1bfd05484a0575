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

type dlqCmd struct {
	List    dlqListCmd    `cmd:"" help:"List dead letters with their reasons."`
	Show    dlqShowCmd    `cmd:"" help:"Show the body of one."`
	Redrive dlqRedriveCmd `cmd:"" help:"Put one back into its queue, or all."`
	Delete  dlqDeleteCmd  `cmd:"" help:"Forget one for good, when what it asks for was done by hand, or must not be."`
}

// queued names a queue.
type queued struct {
	remote

	Queue string `default:"OrderProcessingQueue" enum:"OrderProcessingQueue,CarrierRequestsQueue,CarrierAnswersQueue" help:"The queue that the letters come from: ${enum}."`
}

func (q queued) at() string { return "/v1/dead-letters/" + q.Queue }

func (q queued) letters(e env, limit int) (letters []deadletter.Letter, err error) {
	var page struct{ Letters []deadletter.Letter }
	err = q.call(e, http.MethodGet, q.at()+"?limit="+strconv.Itoa(limit), nil, &page)
	return page.Letters, err
}

type dlqListCmd struct {
	queued

	Limit int `default:"20" help:"At most so many, 1 to 100."`
}

func (c dlqListCmd) Run(e env) error {
	letters, err := c.letters(e, c.Limit)
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
	queued

	ID string `arg:"" help:"The letter's id."`
}

func (c dlqShowCmd) Run(e env) error {
	letters, err := c.letters(e, 100)
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
	return fmt.Errorf("letter %s of %s: %w", c.ID, c.Queue, deadletter.ErrNotFound)
}

type dlqDeleteCmd struct {
	queued
	said

	ID string `arg:"" help:"The letter's id."`
}

func (c dlqDeleteCmd) Run(e env) error {
	return c.call(e, http.MethodDelete, c.at()+"/"+url.PathEscape(c.ID)+"?"+c.query(), nil, nil)
}

type dlqRedriveCmd struct {
	queued

	ID   string  `arg:"" optional:"" help:"The letter's id."`
	All  bool    `help:"All that are there now."`
	Body string  `type:"existingfile" placeholder:"FILE" help:"What to put back instead."`
	Rate float64 `default:"10" help:"With --all: at most so many a second, 1 to 1000."`
}

func (c dlqRedriveCmd) Run(e env) error {
	if (c.ID == "") != c.All || c.All && c.Body != "" {
		return errors.New("name either one letter, with or without --body, or --all")
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
		return c.call(e, http.MethodPost, c.at()+"/"+url.PathEscape(c.ID)+"/redrive", in, nil)
	}
	if math.IsNaN(c.Rate) || c.Rate < 1 || c.Rate > 1000 {
		return fmt.Errorf("--rate: is %v, must be from 1 to 1000", c.Rate)
	}
	total := 0
	for {
		var out struct{ Redriven int }
		if err := c.call(e, http.MethodPost, c.at()+"/redrive?rate="+strconv.FormatFloat(c.Rate, 'g', -1, 64), nil, &out); err != nil {
			return err
		}
		if total += out.Redriven; float64(out.Redriven) < c.Rate*20 { // it did not run into its time limit
			break
		}
		_, _ = fmt.Fprintf(e.err, "%d put back, going on\n", total) // it is for looking at
	}
	_, err := fmt.Fprintf(e.out, "%d put back\n", total)
	return err
}
