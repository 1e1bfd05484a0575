package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ordersaga/ordersaga/api/client"
)

// apiFlags are the flags of commands that call the API of a running system.
type apiFlags struct {
	API     string        `default:"http://127.0.0.1:8080" help:"Base URL of the API."`
	Token   string        `name:"api-token" placeholder:"TOKEN" help:"Bearer token for the API."`
	Timeout time.Duration `name:"api-timeout" default:"30s" help:"Time limit of one API call."`
	Output  string        `short:"o" default:"table" enum:"table,json" help:"Output format: ${enum}."`
}

func (f apiFlags) client() client.Client {
	return client.Client{Base: f.API, HTTP: &http.Client{Timeout: f.Timeout}, Header: f.header()}
}

func (f apiFlags) call(e env, method, path string, in, out any) error {
	return f.client().Call(e.ctx, method, path, in, out)
}

func (f apiFlags) header() http.Header {
	header := http.Header{}
	if f.Token != "" {
		header.Set("Authorization", "Bearer "+f.Token)
	}
	return header
}

// write writes v as JSON, or rows as a table under columns, which are separated
// by spaces.
func (f apiFlags) write(e env, v any, columns string, rows [][]string) error {
	if f.Output == "json" {
		return printJSON(e.out, v)
	}
	w := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, strings.ReplaceAll(columns, " ", "\t"))
	for _, row := range rows {
		_, _ = fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush() // it returns the first error of the writes above
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// noteFlags record with an action who took it and why.
type noteFlags struct {
	By   string `placeholder:"NAME" help:"Who takes the action. Default: the login name."`
	Note string `placeholder:"TEXT" help:"Why. Stored with the order, and for dead letters in the audit log."`
}

func (f noteFlags) body() map[string]string {
	if f.By == "" {
		f.By = os.Getenv("USER")
	}
	return map[string]string{"by": f.By, "note": f.Note}
}

// query is body for a DELETE request, which has none.
func (f noteFlags) query() string {
	q := url.Values{}
	for name, v := range f.body() {
		if v != "" {
			q.Set(name, v)
		}
	}
	return q.Encode()
}
