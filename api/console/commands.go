package console

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/ordersaga/ordersaga/api"
)

// command is a shell command with its description.
type command struct{ Text, Description string }

// commands are the shell commands for a saga.
type commands struct {
	Read []command // of this program, that only read
	Act  []command // of this program, for each of the page's buttons
	Dapr []command // of Dapr's command line, if Dapr runs the saga
}

// apiAddress returns the API's base URL as the browser uses it, or "" if that is
// the default of --api.
func apiAddress(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	address := scheme + "://" + r.Host
	if address == "http://127.0.0.1:8080" || address == "http://localhost:8080" {
		return ""
	}
	return address
}

func commandsOf(s api.Saga, buttons []button, address string) commands {
	ours := func(description string, words ...string) command {
		if address != "" {
			words = append(words, "--api", address)
		}
		return command{Text: shell(append([]string{"ordersaga", "saga"}, words...), s.OrderID), Description: description}
	}
	all := commands{Read: []command{
		ours("Order and saga.", "show"), ours("All events.", "history"), ours("All events with their data.", "history", "--output", "json"),
	}}
	for _, b := range buttons {
		call := actions[b.Action]
		switch {
		case call.resolution != "":
			all.Act = append(all.Act, ours(b.Title+".", "resolve", "--action", string(call.resolution)))
		case call.behalf != "":
			all.Act = append(all.Act, ours(b.Title+".", "cancel", "--for", string(call.behalf)))
		default:
			all.Act = append(all.Act, ours(b.Title+".", b.Action))
		}
	}
	if s.Engine != "dapr" {
		return all
	}
	daprs := func(description, verb string, id ...string) command {
		return command{Text: shell([]string{"dapr", "workflow", verb, "--app-id", "ordersaga"}, id...), Description: description}
	}
	all.Dapr = []command{daprs("All sagas.", "list"), daprs("All events, with Dapr's names.", "history", s.OrderID)}
	for _, b := range buttons {
		if slices.Contains([]string{"suspend", "resume", "terminate", "purge"}, b.Action) {
			all.Dapr = append(all.Dapr, daprs("Bypasses the API: not audited.", b.Action, s.OrderID))
		}
	}
	return all
}

// shell quotes the words of a command for a POSIX shell. The last words may begin
// with - without being flags.
func shell(words []string, last ...string) string {
	if slices.ContainsFunc(last, func(w string) bool { return strings.HasPrefix(w, "-") }) {
		words = append(words, "--")
	}
	words = append(words, last...)
	for i, w := range words {
		safe := func(c rune) bool {
			return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("-_./:=", c)
		}
		if strings.ContainsFunc(cmp.Or(w, " "), func(c rune) bool { return !safe(c) }) {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
