# `make` lists what there is.
SHELL := bash
.SHELLFLAGS := -eo pipefail -c
FUZZTIME ?= 30s
LINT := $(CURDIR)/bin/golangci-lint

.DEFAULT_GOAL := help
.PHONY: help demo dev test race lint bench fuzz crash ci

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

demo: ## 200 mixed orders on embedded defaults, every outcome checked
	go run ./cmd/ordersaga dev --demo 200 --exit --ephemeral

dev: ## everything in one process, until Ctrl-C
	go run ./cmd/ordersaga dev

test: ## all tests
	go test ./...

race: ## all tests with the race detector
	go test -race -count=1 ./...

lint: $(LINT) ## golangci-lint, at the version tools/lint pins
	$(LINT) run ./...

$(LINT): tools/lint/go.mod tools/lint/go.sum
	cd tools/lint && go build -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

bench: ## all benchmarks (docs/benchmarks.md)
	go test -run '^$$' -bench . -benchmem ./...

fuzz: ## every fuzz test for FUZZTIME
	@for p in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$p/*_test.go | cut -c6-); do \
	    echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p | tail -n 1 || exit 1; \
	  done; done

crash: ## kill -9 processes 100 times at random moments while orders flow
	ORDERSAGA_CRASH_KILLS=100 go test -count=1 -v -timeout 60m -run TestCrash ./cmd/ordersaga

ci: ## what must pass before a change lands
	bash .ci/run
