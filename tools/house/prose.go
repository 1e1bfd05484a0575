package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// word is a line of words.txt.
type word struct {
	match   *regexp.Regexp
	instead string
}

type checker struct {
	root    string
	allowed []*regexp.Regexp
	words   []word
	counts  map[string]int
	places  []place
	structs map[string]map[string]bool // by directory: names of struct types
}

func newChecker(root string) (*checker, error) {
	c := &checker{root: root, counts: map[string]int{}, structs: map[string]map[string]bool{}}
	list, err := os.ReadFile(filepath.Join(root, "tools/house/words.txt"))
	if err != nil {
		return nil, fmt.Errorf("read the list of words: %w", err)
	}
	for line := range strings.Lines(string(list)) {
		pattern, instead, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		switch {
		case pattern == "" || strings.HasPrefix(pattern, "#"):
		case pattern == "allow":
			c.allowed = append(c.allowed, regexp.MustCompile("(?i)"+instead))
		default:
			c.words = append(c.words, word{match: regexp.MustCompile("(?i)" + pattern), instead: instead})
		}
	}
	return c, nil
}

func (c *checker) add(rule, file string, line int, text string) {
	c.counts[rule]++
	c.places = append(c.places, place{rule: rule, file: file, line: line, text: text})
}

// exempt matches files of third parties and generated files.
var exempt = regexp.MustCompile(`(^|/)(testdata|findings)/|^LICENSE$|_gen_test\.go$|^tools/house/|^docs/assets/|\.(svg|csv|png|sum|patch)$`)

func (c *checker) file(name string) error {
	if exempt.MatchString(name) {
		return nil
	}
	src, err := os.ReadFile(filepath.Join(c.root, name))
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	text := string(src)
	switch filepath.Ext(name) {
	case ".go":
		return c.goFile(name, src)
	case ".md":
		c.markdown(name, text)
	case ".html", ".txt", ".tpl", ".tmpl":
		c.prose(name, 1, text)
	case ".yaml", ".yml", ".sh", ".toml", "":
		for n, line := range numbered(text) {
			if _, comment, found := strings.Cut(line, "#"); found {
				c.prose(name, n, comment)
			} else if strings.Contains(line, "escription: ") {
				c.prose(name, n, line)
			}
		}
	}
	return nil
}

func numbered(text string) func(func(int, string) bool) {
	return func(yield func(int, string) bool) {
		for n, line := range strings.Split(text, "\n") {
			if !yield(n+1, line) {
				return
			}
		}
	}
}

// prose looks for words in a text that begins at that line.
func (c *checker) prose(file string, line int, text string) {
	for n, l := range numbered(text) {
		seen := l
		for _, a := range c.allowed {
			seen = a.ReplaceAllString(seen, "")
		}
		for _, w := range c.words {
			for _, found := range w.match.FindAllString(seen, -1) {
				c.add("words", file, line+n-1, fmt.Sprintf("%q: write %s", found, w.instead))
			}
		}
	}
}

var (
	inlineCode = regexp.MustCompile("`[^`]*`")
	link       = regexp.MustCompile(`\]\(([^)\s]+)\)`)
)

func (c *checker) markdown(name, text string) {
	fenced := false
	for n, line := range numbered(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			continue
		}
		if fenced {
			continue
		}
		bare := inlineCode.ReplaceAllString(line, "")
		c.prose(name, n, link.ReplaceAllString(bare, "]")) // targets are names, not prose
		for _, l := range link.FindAllStringSubmatch(bare, -1) {
			c.link(name, n, l[1])
		}
	}
}

func (c *checker) link(file string, line int, target string) {
	path, _, _ := strings.Cut(target, "#")
	if path == "" || strings.Contains(path, "://") || strings.HasPrefix(path, "mailto:") {
		return
	}
	if _, err := os.Stat(filepath.Join(c.root, filepath.Dir(file), path)); err != nil {
		c.add("dead-link", file, line, target)
	}
}

var (
	sentenceEnd = regexp.MustCompile(`[.!?:](\s|$)`)
	adrNumber   = regexp.MustCompile(`^docs/adr/(\d{4})-`)
	wordLike    = regexp.MustCompile(`[\pL\pN][\pL\pN'’.-]*`)
)

// sizes are the counts of whole documents.
func (c *checker) sizes(files []string) {
	highest, numbers := 0, map[int]bool{}
	for _, name := range files {
		switch m := adrNumber.FindStringSubmatch(name); {
		case m != nil:
			n, _ := strconv.Atoi(m[1]) // four digits
			numbers[n] = true
			highest = max(highest, n)
		case name == "README.md":
			c.readme(name)
		case name == "docs/glossary.md":
			text, _ := os.ReadFile(filepath.Join(c.root, name))                                               // its absence is no term
			c.counts["glossary"] = strings.Count(string(text), "\n| ") - strings.Count(string(text), "\n|--") // less each table's head
		}
	}
	for n := 1; n < highest; n++ {
		if !numbers[n] {
			c.add("adr-hole", "docs/adr", 0, fmt.Sprintf("there is no %04d", n))
		}
	}
}

// readme counts words outside of code blocks, and the words of sentences
// outside of tables and lists of links.
func (c *checker) readme(name string) {
	text, _ := os.ReadFile(filepath.Join(c.root, name)) // git lists it
	words, sentences, inSentences, fenced := 0, 0, 0, false
	for _, line := range numbered(string(text)) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			continue
		}
		if fenced {
			continue
		}
		n := len(wordLike.FindAllString(link.ReplaceAllString(line, "]"), -1))
		words += n
		if n > 0 && !strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "#") {
			inSentences += n
			sentences += max(1, len(sentenceEnd.FindAllString(line, -1)))
		}
	}
	c.counts["readme-words"] = words
	if sentences > 0 {
		c.counts["readme-sentence"] = inSentences / sentences
	}
}
