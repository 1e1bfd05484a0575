// Command house checks the rules of this repository that no linter has: the
// words of its prose, plain control flow, failure messages with words, and the
// sizes that docs promise. CONTRIBUTING.md explains each rule.
//
//	go run ./tools/house                 # the counts, against their limits
//	go run ./tools/house -v internal api # every place, in these directories
//
// It exits with status 1 if a count is over its limit.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// rule is one count and how high it may be.
type rule struct {
	name  string
	limit int
	what  string
}

var rules = []rule{
	{name: "words", what: "words that tools/house/words.txt replaces"},
	{name: "if-init", limit: 5, what: "assignments and calls in the header of an if or a switch (:= and err = are fine)"},
	{name: "map-ternary", what: "maps of bool used to choose a value"},
	{name: "positional", what: "literals of this package's own structs without field names"},
	{name: "long-line", what: "lines over 140 columns (struct tags and links may be longer)"},
	{name: "mute-failure", what: "test failures whose message has no word"},
	{name: "no-want", what: "test failures whose message does not state what was wanted"},
	{name: "helper-copy", what: "test helpers that copy internal/testkit/require: must, eventually, noError, mustNot, waitFor"},
	{name: "readme-words", limit: 900, what: "words in README.md"},
	{name: "readme-sentence", limit: 20, what: "words in README's average sentence"},
	{name: "glossary", limit: 60, what: "terms in docs/glossary.md"},
	{name: "adr-hole", what: "missing numbers in docs/adr"},
	{name: "dead-link", what: "links in docs to files that do not exist"},
}

// place is where a rule is broken.
type place struct {
	rule, file string
	line       int
	text       string
}

func main() {
	verbose := flag.Bool("v", false, "list every place")
	root := flag.String("C", ".", "the repository's `directory`")
	flag.Parse()
	ok, err := run(*root, flag.Args(), *verbose)
	if err != nil {
		fmt.Fprintln(os.Stderr, "house:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// run checks the files that git has in these directories of root; none means all.
func run(root string, dirs []string, verbose bool) (ok bool, err error) {
	c, err := check(root, dirs)
	if err != nil {
		return false, err
	}
	return report(c, verbose), nil
}

func check(root string, dirs []string) (*checker, error) {
	files, err := tracked(root, dirs)
	if err != nil {
		return nil, err
	}
	c, err := newChecker(root)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if err := c.file(f); err != nil {
			return nil, err
		}
	}
	c.sizes(files)
	return c, nil
}

// tracked lists the files that git tracks or would add.
func tracked(root string, dirs []string) ([]string, error) {
	args := append([]string{"ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"}, dirs...)
	list := exec.Command("git", args...) //nolint:noctx // it only reads the index, in milliseconds
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("list the files of %s with git: %w", root, err)
	}
	var files []string
	for name := range bytes.SplitSeq(out, []byte{0}) {
		if _, err := os.Stat(filepath.Join(root, string(name))); err == nil && len(name) > 0 {
			files = append(files, string(name))
		}
	}
	return files, nil
}

func report(c *checker, verbose bool) (ok bool) {
	ok = true
	if verbose {
		slices.SortStableFunc(c.places, func(a, b place) int { return strings.Compare(a.rule, b.rule) })
		for _, p := range c.places {
			fmt.Printf("%s:%d: %s: %s\n", p.file, p.line, p.rule, p.text)
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	for _, r := range rules {
		verdict := "ok"
		if c.counts[r.name] > r.limit {
			verdict, ok = "TOO MANY", false
		}
		_, _ = fmt.Fprintf(w, "%s\t%d\tof %d\t%s\t%s\n", r.name, c.counts[r.name], r.limit, verdict, r.what)
	}
	_ = w.Flush()
	return ok
}
