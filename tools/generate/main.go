// Command generate writes the copies of the Dapr components and of the Grafana
// files that other tools need beside their own files. Helm reads only files of
// the chart, and `dapr run -f` passes no environment variables to a sidecar.
//
//	go run ./tools/generate         # from the root of the repository; make generate
//	go run ./tools/generate -check  # exit status 1 if a copy is stale
package main

import (
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// copied is one source, a file or a folder, and where its copy goes. All paths
// are relative to the root of the repository.
type copied struct {
	from, to string
	// values replace `envRef: NAME` by `value: VALUE`.
	values map[string]string
	// except names files of a folder that are not copied.
	except []string
}

// runValues are the values of `dapr run -f deploy/dapr.yaml`.
var runValues = map[string]string{
	"ORDERSAGA_AWS_ENDPOINT":  "http://127.0.0.1:4566",
	"ORDERSAGA_STATE_ADDRESS": ".dapr/state.db",
	"ORDERSAGA_SECRETS_FILE":  "deploy/secrets.json",
}

var copies = []copied{
	{from: "components/aws", to: "deploy/helm/ordersaga/files/dapr"},
	{from: "deploy/grafana", to: "deploy/helm/ordersaga/files/grafana"},
	// The run file names components/local/configuration.yaml itself.
	{from: "components/local", to: "deploy/components", values: runValues, except: []string{"configuration.yaml"}},
	{from: "components/state/sqlite.yaml", to: "deploy/components/statestore.yaml", values: runValues},
}

// generatedFolders contain generated files and nothing else.
var generatedFolders = []string{"deploy/helm/ordersaga/files", "deploy/components"}

func main() {
	check := flag.Bool("check", false, "report stale copies and write nothing")
	flag.Parse()
	log.SetFlags(0)
	stale, err := staleFiles(".")
	if err != nil {
		log.Fatalf("generate: %v", err)
	}
	if *check && len(stale) > 0 {
		log.Fatalf("generate: stale: %s; run make generate", strings.Join(names(stale), " "))
	}
	for name, content := range stale {
		err = write(name, content)
		if err != nil {
			log.Fatalf("generate: %v", err)
		}
		fmt.Println(name)
	}
}

// staleFiles returns the files under root that differ from what is generated,
// with the generated content by path. The content is nil if the file has no
// source any more.
func staleFiles(root string) (map[string][]byte, error) {
	want := map[string][]byte{}
	for _, c := range copies {
		err := c.generate(root, want)
		if err != nil {
			return nil, fmt.Errorf("generate %s from %s: %w", c.to, c.from, err)
		}
	}
	stale := map[string][]byte{}
	for name, content := range want {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || string(got) != string(content) {
			stale[name] = content
		}
	}
	for _, folder := range generatedFolders {
		err := eachFile(root, folder, func(name string) error {
			if want[name] == nil {
				stale[name] = nil
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", folder, err)
		}
	}
	return stale, nil
}

// generate adds the generated files of one source to want.
func (c copied) generate(root string, want map[string][]byte) error {
	return eachFile(root, c.from, func(name string) error {
		if slices.Contains(c.except, path.Base(name)) {
			return nil
		}
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		text := string(b)
		for variable, value := range c.values {
			text = strings.ReplaceAll(text, "envRef: "+variable, "value: "+value)
		}
		if path.Ext(name) != ".json" { // JSON has no comments
			text = "# Generated from " + name + " by make generate; do not edit.\n" + text
		}
		want[c.to+strings.TrimPrefix(name, c.from)] = []byte(text)
		return nil
	})
}

// eachFile calls do with the slash-separated path of each file in a folder
// under root, or of the file that from names.
func eachFile(root, from string, do func(name string) error) error {
	return fs.WalkDir(os.DirFS(root), from, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return do(name)
	})
}

// write writes a generated file, or removes one that has no source.
func write(name string, content []byte) error {
	if content == nil {
		return os.Remove(name)
	}
	err := os.MkdirAll(filepath.Dir(name), 0o750)
	if err != nil {
		return err
	}
	return os.WriteFile(name, content, 0o600)
}

// names returns the sorted paths.
func names(files map[string][]byte) []string {
	var all []string
	for name := range files {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
