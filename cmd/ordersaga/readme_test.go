package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestGuaranteesNameTheirProof verifies that each guarantee of README, and each
// invariant of docs/invariants.md, has a command, and that what the command runs
// exists. For a test that does not exist, go test reports "no tests to run" and
// passes.
func TestGuaranteesNameTheirProof(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	_, section, _ := strings.Cut(read(t, filepath.Join(root, "README.md")), "\n## Guarantees\n")
	section, _, _ = strings.Cut(section, "\n## ")
	guarantees := strings.Split(section, "\n- ")[1:]
	if len(guarantees) < 5 {
		t.Fatalf("README has %d guarantees, want at least 5", len(guarantees))
	}
	invariants := regexp.MustCompile(`(?m)^\| I\d .*$`).FindAllString(read(t, filepath.Join(root, "docs", "invariants.md")), -1)
	if len(invariants) != 8 {
		t.Fatalf("docs/invariants.md has %d invariants, want 8", len(invariants))
	}
	command := regexp.MustCompile("`((?:go test|make) [^`]+)`")
	for _, g := range slices.Concat(guarantees, invariants) {
		found := command.FindAllStringSubmatch(g, -1)
		if len(found) == 0 {
			t.Errorf("no command proves %q, want at least one", g)
		}
		for _, c := range found {
			wantRunnable(t, root, c[1])
		}
	}
}

// wantRunnable fails if a command of make or go test has nothing to run.
func wantRunnable(t *testing.T, root, command string) {
	t.Helper()
	if target, ok := strings.CutPrefix(command, "make "); ok {
		if !strings.Contains(read(t, filepath.Join(root, "Makefile")), "\n"+target+": ") {
			t.Errorf("the Makefile has no target for %q, want one", command)
		}
		return
	}
	packages, pattern, _ := strings.Cut(strings.TrimPrefix(command, "go test "), " -run ")
	for name := range strings.SplitSeq(strings.Trim(pattern, "'"), "|") {
		has := false
		for p := range strings.FieldsSeq(packages) {
			dir, deep := strings.CutSuffix(p, "/...")
			has = hasTest(t, filepath.Join(root, dir), deep, name) || has
		}
		if !has {
			t.Errorf("%q runs no test named %q, want at least one", command, name)
		}
	}
}

// hasTest reports whether a folder, or a folder below it if deep, has a test
// whose name contains name.
func hasTest(t *testing.T, dir string, deep bool, name string) (has bool) {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func Test\w*\(t \*testing\.T\)`)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != dir && !deep {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, "_test.go") {
			for _, f := range declared.FindAllString(read(t, path), -1) {
				has = has || strings.Contains(f, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("look for tests in %s: %v", dir, err)
	}
	return has
}

var (
	fenced  = regexp.MustCompile("(?ms)^```.*?^```")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	markup  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestDocumentLinksLeadToFilesAndHeadings verifies that every relative link in the documents leads to a file
// of the repository and, where it names one, to a heading in it.
func TestDocumentLinksLeadToFilesAndHeadings(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	for _, doc := range markdownFiles(t, root) {
		for _, l := range link.FindAllStringSubmatch(fenced.ReplaceAllString(read(t, doc), ""), -1) {
			target, anchor, _ := strings.Cut(l[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			path := doc
			if target != "" {
				path = filepath.Join(filepath.Dir(doc), target)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s: link %s: %v, want a link to a file", doc, l[1], err)
			} else if anchor != "" && !slices.Contains(anchors(t, path), anchor) {
				t.Errorf("%s: link %s leads to no heading, want one of %s", doc, l[1], path)
			}
		}
	}
}

// TestDocumentedFilesExist verifies that the documents that lead a reader to the
// code name files that exist.
func TestDocumentedFilesExist(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	file := regexp.MustCompile("`([a-z][a-zA-Z0-9_./-]*/[a-zA-Z0-9_-]+\\.(?:go|tpl|yaml|json))`")
	for _, doc := range []string{"README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/extend.md", "docs/invariants.md"} {
		found := file.FindAllStringSubmatch(read(t, filepath.Join(root, doc)), -1)
		for _, f := range found {
			if _, err := os.Stat(filepath.Join(root, f[1])); err != nil {
				t.Errorf("%s names %s: %v", doc, f[1], err)
			}
		}
	}
}

// markdownFiles are the Markdown files at the root and below docs.
func markdownFiles(t *testing.T, root string) []string {
	t.Helper()
	docs, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		t.Fatalf("list documents: %v", err)
	}
	err = filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			docs = append(docs, path)
		}
		return err
	})
	if err != nil || len(docs) < 10 {
		t.Fatalf("list documents: %d found (error %v), want at least 10", len(docs), err)
	}
	return docs
}

// anchors are the headings of a document as GitHub makes anchors of them.
func anchors(t *testing.T, path string) (all []string) {
	t.Helper()
	for _, h := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(read(t, path), ""), -1) {
		text := markup.ReplaceAllString(strings.ToLower(link.ReplaceAllString(h[1], "")), "")
		all = append(all, strings.ReplaceAll(strings.TrimSpace(text), " ", "-"))
	}
	return all
}
