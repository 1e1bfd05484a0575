package console

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/ordersaga/ordersaga/api"
)

// command is one for a shell.
type command struct{ Text, What string }

// addressOf is where the browser finds the API, "" if that is where this
// program's commands look by themselves.
func addressOf(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	at := scheme + "://" + r.Host
	if at == "http://127.0.0.1:8080" || at == "http://localhost:8080" {
		return ""
	}
	return at
}

// commandsOf are commands that look at a saga and those that do what the page's
// buttons do; and, where Dapr runs it, what Dapr's own program has.
func commandsOf(s api.Saga, buttons []button, address string) (looks, acts, dapr []command) {
	our := func(what string, words ...string) command {
		if address != "" {
			words = append(words, "--api", address)
		}
		return command{shell(append([]string{"ordersaga", "saga"}, words...), s.OrderID), what}
	}
	looks = []command{our("The order and how its saga stands.", "show"), our("All its events.", "history"), our("With their data.", "history", "--output", "json")}
	for _, b := range buttons {
		switch d := deeds[b.Action]; {
		case d.resolution != "":
			acts = append(acts, our(b.Title+".", "retry", "--action", string(d.resolution)))
		case d.behalf != "":
			acts = append(acts, our(b.Title+".", "cancel", "--for", string(d.behalf)))
		default:
			acts = append(acts, our(b.Title+".", b.Action))
		}
	}
	if s.Engine != "dapr" {
		return looks, acts, nil
	}
	their := func(what, verb string, id ...string) command {
		return command{shell([]string{"dapr", "workflow", verb, "--app-id", "ordersaga"}, id...), what}
	}
	dapr = []command{their("All sagas.", "list"), their("The same events, as Dapr names them.", "history", s.OrderID)}
	for _, b := range buttons {
		if slices.Contains([]string{"suspend", "resume", "terminate", "purge"}, b.Action) {
			dapr = append(dapr, their("Past the API: it keeps no note of this.", b.Action, s.OrderID))
		}
	}
	return looks, acts, dapr
}

// shell writes a command; the last words may begin like flags.
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
