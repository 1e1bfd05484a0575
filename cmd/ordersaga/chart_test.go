package main

import (
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// TestChartEnvironmentSetsFlags checks that each ORDERSAGA_… variable in the
// chart's manifests sets a flag of its command, with a valid value. Unknown
// variables would be ignored.
func TestChartEnvironmentSetsFlags(t *testing.T) {
	files, err := filepath.Glob("../../deploy/helm/testdata/*.golden.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d golden files, %v, want some", len(files), err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		d := yaml.NewDecoder(strings.NewReader(read(t, file)))
		for {
			var r manifest
			if err := d.Decode(&r); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(file, err)
			}
			for _, c := range r.Spec.Template.Spec.Containers {
				t.Run(filepath.Base(file)+"/"+r.Metadata.Name, func(t *testing.T) { c.check(t, filepath.Base(file)) })
				seen[c.Name] = true
			}
		}
	}
	for _, name := range []string{"api", "worker", "reconciler", "payment", "carrier"} {
		if !seen[name] {
			t.Errorf("no golden file has a container %s, want one", name)
		}
	}
}

type manifest struct {
	Metadata struct{ Name string }
	Spec     struct {
		Template struct {
			Spec struct{ Containers []container }
		}
	}
}

type container struct {
	Name string
	Args []string
	Env  []struct{ Name, Value string }
}

func (c container) check(t *testing.T, file string) {
	for _, e := range c.Env {
		t.Setenv(e.Name, e.Value)
	}
	var flags cli
	parser, err := newKong(&flags, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	at, err := parser.Parse(c.Args)
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	for _, group := range at.Selected().AllFlags(false) {
		for _, f := range group {
			known = append(known, f.Envs...)
		}
	}
	for _, e := range c.Env {
		if strings.HasPrefix(e.Name, "ORDERSAGA_") && !slices.Contains(known, e.Name) {
			t.Errorf("variable %s sets no flag of %v, want only variables that set one", e.Name, c.Args)
		}
	}
	if c.Args[0] != "worker" {
		return
	}
	w := flags.Worker
	if w.Engine != "dapr" || w.Listen != ":8080" || w.NoSagas == (c.Name == "worker") {
		t.Errorf("container %s has --engine %s --listen %s --no-sagas=%t, want dapr, :8080 and %t",
			c.Name, w.Engine, w.Listen, w.NoSagas, c.Name != "worker")
	}
	// The reconciler runs in one deployment: reconciler, or else worker.
	if (w.ReconcileEvery > 0) != (c.Name == "reconciler" || c.Name == "worker" && file == "elsewhere.golden.yaml") {
		t.Errorf("container %s of %s has --reconcile-every %s, want it above 0 in reconciler and in the worker of elsewhere.golden.yaml, else 0",
			c.Name, file, w.ReconcileEvery)
	}
	if got, want := [3]string{w.PaymentApp, w.PaymentURL, w.SecretStore}, map[string][3]string{
		"first.golden.yaml":      {"payment", "http://127.0.0.1:8090", "secretstore"},
		"production.golden.yaml": {"", "https://payments.example.com", "secretstore"},
		"elsewhere.golden.yaml":  {"till", "http://127.0.0.1:8090", ""},
	}[file]; got != want {
		t.Errorf("container %s: payment app, URL and secret store = %q, want %q", c.Name, got, want)
	}
}
