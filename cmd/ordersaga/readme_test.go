package main

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPromisesNameTheirProof: each promise of the README has a command, and what
// that runs is there. With a name that is not, go test says "no tests to run",
// and passes.
func TestPromisesNameTheirProof(t *testing.T) {
	root := filepath.Join("..", "..")
	readme, makefile := read(t, filepath.Join(root, "README.md")), read(t, filepath.Join(root, "Makefile"))
	_, section, _ := strings.Cut(readme, "\n## What it promises\n")
	section, _, _ = strings.Cut(section, "\n## ")
	promises := strings.Split(section, "\n- ")[1:]
	if len(promises) < 5 {
		t.Fatalf("%d promises", len(promises))
	}
	command := regexp.MustCompile("`(go test|make) ([^ `]+)(?: -run ([^`]+))?`")
	for _, p := range promises {
		found := command.FindAllStringSubmatch(p, -1)
		if len(found) == 0 {
			t.Errorf("nothing proves %q", p)
		}
		for _, c := range found {
			if c[1] == "make" {
				if !strings.Contains(makefile, "\n"+c[2]+": ") {
					t.Errorf("there is no make %s", c[2])
				}
				continue
			}
			for name := range strings.SplitSeq(strings.Trim(c[3], "'"), "|") {
				if !hasTest(t, filepath.Join(root, strings.TrimSuffix(c[2], "/...")), strings.HasSuffix(c[2], "/..."), name) {
					t.Errorf("%s has no test %s", c[2], name)
				}
			}
		}
	}
}

// hasTest looks for a test in a folder, and in those below if deep.
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
		t.Error(err)
	}
	return has
}
