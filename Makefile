# `make` lists the targets.
SHELL := bash
.SHELLFLAGS := -eo pipefail -c
FUZZ ?= 1
LINT := $(CURDIR)/bin/golangci-lint

.DEFAULT_GOAL := help
.PHONY: help demo dev test test-short race faults house generate lint dapr kube-tools moto emulators cfn-lint schemathesis helm lambda compose interop images containers autoscaling bench bench-engines bench-engine bench-million fuzz crash ci

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: ## run 200 mixed orders on the embedded engine, and check every outcome
	go run ./cmd/ordersaga dev --demo 200 --exit --ephemeral

dev: ## run everything in one process, until Ctrl-C
	go run ./cmd/ordersaga dev

test: ## run all tests
	go test -timeout 30m ./...

# Excludes the packages whose tests start processes or take long. Go caches the
# results of unchanged packages.
LONG := /(integration|deploy|tools)/|/cmd/ordersaga$$|/internal/(daprlocal|devenv|hostile|journal|worker)(/|$$)|/internal/engine/(dapr|embedded)$$
test-short: ## run the fast tests, in under a minute: they start no processes and need no tools
	go test -short -vet=off -parallel 8 -timeout 5m $$(go list ./... | grep -Ev '$(LONG)')

# Excludes tests that mostly drive other programs, which are not built with the
# race detector. `make test` runs them.
race: ## run the tests of our own code with the race detector
	go test -race -count=1 -timeout 20m -skip 'TestOthersReadSagas|TestOpenSidecars|TestOperatorManagesSagasAsWorkflows/dapr|TestSchemathesis' $$(go list ./... | grep -Ev '/integration/(containers|compose|cloudformation|keda)$$|/deploy/helm$$')

faults: ## reintroduce each fault that was fixed, and expect the seeds of internal/hostile to fail (ten minutes; docs/reliability.md)
	bash internal/hostile/faults.sh

# This does not update golden files and recorded histories: review each difference.
generate: ## update all generated files: copies of components, docs/order-states.md, docs/aws-fidelity.md, the OpenAPI client
	go run ./tools/generate
	go test -count=1 -run 'TestDiagram$$' ./internal/order -update
	go test -count=1 -run 'TestFidelityTable$$' ./integration/conformance -update
	go test -count=1 -run 'TestClientIsGenerated$$' ./integration/openapi -update

lint: $(LINT) ## run golangci-lint, at the version that tools/lint pins
	$(LINT) run ./...
	cd integration/interop && $(LINT) run ./...
	cd tools/bench && $(LINT) run ./...

house: ## check the rules that no linter has: words, control flow, failure messages, sizes of docs (CONTRIBUTING.md)
	go run ./tools/house

$(LINT): tools/lint/go.mod tools/lint/go.sum
	cd tools/lint && go build -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

dapr: bin/daprd bin/placement bin/scheduler bin/sentry ## build the real Dapr into bin/, at the version that tools/dapr pins (10 minutes the first time)

# The tag selects all components, as in Dapr's releases. The stable components do
# not include AWS Secrets Manager, and without a tag daprd panics at start.
# Without cgo the programs run on any Linux.
bin/daprd bin/placement bin/scheduler bin/sentry: bin/%: tools/dapr/go.mod tools/dapr/go.sum Makefile
	@echo "building Dapr's $* $$(sed -n 's/^require github.com\/dapr\/dapr //p' tools/dapr/go.mod) (one or two minutes; ten for the first)"
	cd tools/dapr && CGO_ENABLED=0 go build -tags allcomponents -o ../../bin/$* \
	  -ldflags "-X github.com/dapr/dapr/pkg/buildinfo.version=$$(sed -n 's/^require github.com\/dapr\/dapr v//p' go.mod)" github.com/dapr/dapr/cmd/$*
	@echo "  done: $$(du -h bin/$* | cut -f1) bin/$*"

kube-tools: bin/kube-apiserver bin/kube-controller-manager bin/keda-operator bin/keda-adapter bin/keda-scaler ## build Kubernetes' control plane and KEDA into bin/, at the versions that tools/kube pins (20 minutes the first time)

pinned = $$(sed -n 's/^.*$(1) \(v[0-9.]*\).*/\1/p' $(2) | head -1)

# Clients parse the API server's version, and fail if it is not set.
bin/kube-apiserver bin/kube-controller-manager: bin/kube-%: tools/kube/kubernetes/go.mod tools/kube/kubernetes/go.sum
	@echo "building kube-$* $(call pinned,k8s.io\/kubernetes,$<) (8 minutes for both the first time)"
	@cd tools/kube/kubernetes && began=$$SECONDS && CGO_ENABLED=0 go build -o ../../../bin/kube-$* \
	  -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=$(call pinned,k8s.io\/kubernetes,go.mod)" k8s.io/kubernetes/cmd/kube-$* && \
	  echo "  done in $$((SECONDS - began)) s: $$(du -h ../../../bin/kube-$* | cut -f1) bin/kube-$*"

bin/keda-scaler: PACKAGE = ./scaler
bin/keda-scaler: $(wildcard tools/kube/keda/scaler/*.go)
bin/keda-operator: PACKAGE = github.com/kedacore/keda/v2/cmd/operator
bin/keda-adapter: PACKAGE = github.com/kedacore/keda/v2/cmd/adapter
bin/keda-operator bin/keda-adapter bin/keda-scaler: bin/keda-%: tools/kube/keda/go.mod tools/kube/keda/go.sum
	@echo "building KEDA's $* $(call pinned,github.com\/kedacore\/keda\/v2,$<) (13 minutes for all the first time)"
	@cd tools/kube/keda && began=$$SECONDS && CGO_ENABLED=0 go build -ldflags "-s -w" -o ../../../bin/keda-$* $(PACKAGE) && \
	  echo "  done in $$((SECONDS - began)) s: $$(du -h ../../../bin/keda-$* | cut -f1) bin/keda-$*"

moto: bin/moto/ready ## install moto, an AWS emulator for the tests of components/aws, into bin/moto (Python 3)

bin/moto/ready: tools/moto/requirements.txt
	python3 -m venv --clear bin/moto
	bin/moto/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

emulators: bin/ministack/ready bin/roto/ready bin/elasticmq/ready ## install the other AWS emulators, for integration/conformance, into bin/ (Python 3.11, Maven)

cfn-lint: bin/cfnlint/ready ## install cfn-lint, for deploy/cloudformation, into bin/ (Python 3)

schemathesis: bin/schemathesis/ready ## install schemathesis, for integration/openapi, into bin/ (Python 3)

bin/ministack/ready bin/roto/ready bin/cfnlint/ready bin/schemathesis/ready: bin/%/ready: tools/%/requirements.txt
	python3 -m venv --clear bin/$*
	bin/$*/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

bin/elasticmq/ready: tools/elasticmq/pom.xml
	@command -v mvn >/dev/null || { echo "mvn is not installed: apt-get install maven"; exit 1; }
	rm -rf bin/elasticmq
	mvn --quiet --batch-mode --strict-checksums -f $< dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/bin/elasticmq
	touch $@

helm: bin/helm bin/kubeconform bin/dapr-inject ## build helm, kubeconform, and Dapr's injector as a program, for deploy/helm, into bin/

bin/helm: MAIN = helm.sh/helm/v3/cmd/helm
bin/kubeconform: MAIN = github.com/yannh/kubeconform/cmd/kubeconform
# Helm's releases set these: the Kubernetes version that it assumes without a cluster.
bin/helm: LDFLAGS = $(foreach p,chartutil lint/rules,-X helm.sh/helm/v3/pkg/$(p).k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/$(p).k8sVersionMinor=36)
bin/helm bin/kubeconform: bin/%: tools/helm/go.mod tools/helm/go.sum Makefile
	cd tools/helm && CGO_ENABLED=0 go build -ldflags '$(LDFLAGS)' -o ../../bin/$* $(MAIN)

bin/dapr-inject: $(wildcard tools/dapr/inject/*.go) tools/dapr/go.mod tools/dapr/go.sum
	cd tools/dapr && CGO_ENABLED=0 go build -o ../../$@ ./inject

lambda: dist/stock-lambda.zip dist/intake-lambda.zip ## build the Lambda functions for provided.al2023 on x86_64, zipped into dist/

# lambda.norpc omits code that only the runtime go1.x needed. The same code makes
# the same zip, because CloudFormation compares the zip.
.PHONY: dist/stock-lambda.zip dist/intake-lambda.zip
dist/stock-lambda.zip dist/intake-lambda.zip: dist/%.zip:
	@mkdir -p dist/$*
	CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go build -tags lambda.norpc -trimpath -buildvcs=false -ldflags '-s -w' -o dist/$*/bootstrap ./cmd/$*
	touch -d '1980-01-01 00:00 UTC' dist/$*/bootstrap
	rm -f $@ && cd dist/$* && TZ=UTC python3 -m zipfile -c ../$*.zip bootstrap
	@echo "  $@: $$(stat -c %s $@) bytes, unpacked $$(stat -c %s dist/$*/bootstrap)"

compose: bin/docker-compose ## build Docker Compose, at the version that tools/compose pins, for integration/compose, into bin/

bin/docker-compose: tools/compose/go.mod tools/compose/go.sum
	cd tools/compose && CGO_ENABLED=0 go build -trimpath -o ../../$@ \
	  -ldflags "-s -w -X github.com/docker/compose/v5/internal.Version=$$(sed -n 's/.*compose\/v5 \(v[^ ]*\).*/\1/p' go.mod)" github.com/docker/compose/v5/cmd

interop: ## drive sagas on both engines with github.com/microsoft/durabletask-go
	cd integration/interop && go test -count=1 -timeout 10m ./...

images: ## build the Docker image ordersaga from this checkout
	docker build -f deploy/docker/Dockerfile -t ordersaga --build-arg VERSION="$$(git describe --always --dirty)" .

containers: ## test the whole system in containers (docs/testing.md)
	go test -count=1 -v -timeout 30m ./integration/containers

autoscaling: ## test autoscaling with the real KEDA and workers (ten minutes); PICTURES=docs/assets redraws those of docs/autoscaling.md
	ORDERSAGA_KEDA=1 ORDERSAGA_KEDA_PICTURES=$(if $(PICTURES),$(abspath $(PICTURES))) go test -count=1 -v -timeout 25m -run 'TestAutoscaling$$' ./integration/keda

bench: ## run all Go benchmarks except for BenchmarkEngines (docs/benchmarks.md)
	go test -run '^$$' -bench . -skip BenchmarkEngines -benchmem ./...

bench-engines: ## measure both engines with empty sagas and with the order saga (ten minutes)
	go test -run '^$$' -bench BenchmarkEngines -benchtime 1x -timeout 60m -v ./cmd/ordersaga

bench-engine: ## compare the embedded engine with an older build, DBOS, Restate, DTM, Dapr, Temporal and SQLite, and update docs/ (ten minutes, 4 GB; more the first time)
	-@$(MAKE) --no-print-directory -k bin/restate-server bin/dtm bin/temporal bin/daprd bin/placement bin/scheduler # the run reports what is missing
	cd tools/bench && go run . -docs ../../docs

bin/dtm: MODULE = github.com/dtm-labs/dtm@v1.18.0
bin/dtm: MAIN = .
CLIEXT := github.com/temporalio/cli/cliext
bin/temporal: MODULE = github.com/temporalio/cli@v1.9.1
bin/temporal: MAIN = main.go
bin/temporal: tools/bench/temporal/main.go

# Builds a copy of the module instead of a dependency, so that its own go.sum
# verifies its dependencies: the checksum database lacks some of them. The sed
# makes DTM listen on loopback, for which DTM has no setting. Of Temporal's CLI only
# the dev server is built: the module cliext is in no module proxy.
bin/dtm bin/temporal: bin/%: Makefile
	@echo "building $(MODULE) (a few minutes the first time)"
	rm -rf bin/src-$*
	cp -r "$$(go mod download -json $(MODULE) | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')" bin/src-$*
	chmod -R u+w bin/src-$*
	find bin/src-$* -path '*/dtmsvr/svr.go' -exec sed -i 's/Sprintf(":%d"/Sprintf("127.0.0.1:%d"/' {} +
	[ $* != temporal ] || cp tools/bench/temporal/main.go bin/src-temporal/
	[ $* != temporal ] || (cd bin/src-temporal && go mod edit -dropreplace=$(CLIEXT) -droprequire=$(CLIEXT))
	cd bin/src-$* && go build -o ../$* $(MAIN)
	rm -rf bin/src-$*
	@echo "  done: $$(du -h $@ | cut -f1) $@"

# Restate's licence (BSL) allows to run it. It is measured, and not shipped.
bin/restate-server: tools/restate/package.json tools/restate/package-lock.json
	npm ci --prefix tools/restate --ignore-scripts --no-audit --no-fund
	@mkdir -p bin
	mv tools/restate/node_modules/@restatedev/restate-server-linux-x64/bin/restate-server $@
	rm -rf tools/restate/node_modules
	touch $@

bench-million: ## measure memory, disk, restart and the pauses of a snapshot with a million waiting sagas (2 minutes, 4 GB)
	go test -run 'TestMillion$$' -count=1 -v -timeout 20m ./internal/engine/embedded -waiting-sagas 1000000

# Limits the number of inputs instead of the time: Go 1.26 sometimes fails a fuzz
# test with "context deadline exceeded" at the time limit (go.dev/issue/75804).
fuzz: ## run every fuzz test for about FUZZ (a whole number) times 10 s
	@for p in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  case $$p in ./api) n=2000;; ./internal/intake) n=20000;; *) n=300000;; esac; \
	  for f in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$p/*_test.go | cut -c6-); do \
	    echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $$((n * $(FUZZ)))x -fuzzminimizetime 1x $$p || exit 1; \
	  done; done

crash: ## kill -9 processes 100 times on the embedded engine, and ten rounds of every process on Dapr
	ORDERSAGA_CRASH_KILLS=100 ORDERSAGA_CRASH_ROUNDS=10 go test -count=1 -v -timeout 90m -run TestCrash ./cmd/ordersaga

ci: ## run all checks that a change must pass
	bash .ci/run
