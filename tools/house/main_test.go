package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestEveryRuleFindsWhatBreaksIt runs the checks over a repository that breaks
// each rule a known number of times, and over none of its exceptions.
func TestEveryRuleFindsWhatBreaksIt(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, content := range map[string]string{
		"tools/house/words.txt": "allow\tdead[- ]letters?\n\\bletters?\\b\tmessage\n",
		"README.md": "# Title\n\nA letter and a dead letter in one sentence. See [this](missing.md) and [that](docs/adr/0002-b.md).\n\n" +
			"```\na letter in code\n```\n",
		"docs/glossary.md":   "# Glossary\n\n| term | meaning |\n|---|---|\n| saga | steps |\n| step | one |\n",
		"docs/adr/0002-b.md": "Nothing.\n",
		"chart.yaml":         "a: letter # a letter\n",
		"page.html":          "<p>One letter</p>\n",
		"code.go": `package code

// Point is no letter.
type Point struct{ X, Y int }

func f() (err error) {
	var a int
	if a = 1; a > 0 {
		_ = Point{1, 2}
	}
	if err = g(); err != nil {
		return err
	}
	if b := 2; b > 1 {
		_ = map[bool]string{true: "a"}[a > 0]
	}
	_ = Point{X: 1, Y: 2}
	_ = "a letter of prose"
	return nil
}

func g() error { return nil }
`,
		"code_test.go": `package code

import "testing"

func must(t *testing.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

func noError(t *testing.T, err error) { must(t, err) }

type shop struct{ *testing.T }

func (shop) waitFor(what string) {}

func TestF(t *testing.T) {
	t.Errorf("%+v %v", 1, 2)
	t.Errorf("f() = %v, want 2, not a letter", 1)
	t.Errorf("status = %v", 1)
	t.Error("the redirect was followed")
	err := error(nil)
	t.Errorf("get the page: %v", err)
	if got := 1; err != nil || got != 2 {
		t.Errorf("got %d: %v", got, err)
	}
}
`,
		"integration/interop/code_test.go": "package interop\n\nfunc noError(err error) {}\n",
		"testdata/other.md":                "A letter of others.\n",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	initialize := exec.CommandContext(t.Context(), "git", "init", "--quiet")
	initialize.Dir = root
	if out, err := initialize.CombinedOutput(); err != nil {
		t.Fatalf("git init: %v\n%s", err, out)
	}

	c, err := check(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{
		"words": 6, "if-init": 1, "map-ternary": 1, "positional": 1, "mute-failure": 1, "no-want": 3, "helper-copy": 2,
		"readme-words": 14, "readme-sentence": 6, "glossary": 2, "adr-hole": 1, "dead-link": 1,
	}
	for _, r := range rules {
		if c.counts[r.name] != want[r.name] {
			t.Errorf("rule %s counts %d, want %d: %+v", r.name, c.counts[r.name], want[r.name], c.places)
		}
		delete(want, r.name)
	}
	if len(want) > 0 {
		t.Errorf("these rules do not exist: %v", want)
	}
}
