# Everything sets itself up: `make demo` and `make test` work in a fresh checkout. `make help` lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help venv demo test chaos adk check crds docs image kind release bench build-kube lock clean
BIN := .venv/bin
# Processes of tests (0.6 GiB each), and what else pytest is told: make test JOBS=0 ARGS="tests/queue -k rescue"
JOBS ?= 4
ARGS ?=

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: ## .venv with everything that the other targets need (PYTHON=… names the interpreter)
	@bash scripts/venv.sh

demo: venv ## the whole way: an API server, the operator, a worker, kubectl apply, the answer, the dashboard (KEEP=0: end at once)
	@$(if $(KEEP),DEMO_KEEP='$(KEEP)') $(BIN)/python scripts/demo.py

test: venv ## all tests that this machine can run (ARGS=… for pytest, JOBS=… processes)
	@$(BIN)/python scripts/kube.py --if-needed
	@JOBS='$(JOBS)' ARGS='$(ARGS)' bash scripts/test.sh

chaos: venv ## ten minutes in which everything fails, and a check of all that was promised (SECONDS=… SEED=…)
	@$(BIN)/python scripts/kube.py --if-needed
	@AGENTJOBS_CHAOS_SECONDS=$(or $(SECONDS),600) $(if $(SEED),AGENTJOBS_CHAOS_SEED=$(SEED)) \
	  $(BIN)/python -m pytest -q -s -p no:cacheprovider tests/api/test_chaos.py

adk: venv ## the agents' tests with the lowest, the newest and the next google-adk (JOBS=…)
	@JOBS='$(JOBS)' $(BIN)/python scripts/adk_versions.py

check: venv ## lint, format, types, import contracts, drift of the CRDs, duplicates
	@bash scripts/check.sh

crds: venv ## generate crds/, the chart's copy and schema of values, and the generated pages and tables of docs/
	@$(BIN)/agentjobs crds --directory crds
	@$(BIN)/agentjobs crds --directory charts/agentjobs/files/crds
	@$(BIN)/python -m agentjobs.api.reference docs/reference.md
	@$(BIN)/python -m agentjobs.cli.verbs_reference docs/cli-reference.md
	@$(BIN)/python scripts/chart_schema.py
	@$(BIN)/python scripts/chart_readme.py
	@$(BIN)/python -m agentjobs.cli.reference docs/settings.md docs/metrics.md docs/on-call.md
	@$(BIN)/python scripts/chart_reference.py

docs: venv ## the documentation as a site, in dist/site; a link that leads nowhere is an error
	@$(BIN)/python scripts/docs_site.py

image: ## build the images with Docker and pip, and their SBOM and provenance in dist/ (TAG=… PREFIX=registry/team/ BASE_IMAGE=…)
	@bash scripts/image.sh

kind: ## a kind cluster with the chart installed and the examples running (KIND_CLUSTER=…)
	@bash scripts/kind.sh

release: venv ## wheel, sdist, chart, images, SBOM and checksums in dist/; publishes nothing (IMAGES=0 DIRTY=1: scripts/release.sh)
	@bash scripts/release.sh

bench: venv ## measure, and print the table of docs/performance.md
	@$(BIN)/python -m benchmarks $(ARGS)

build-kube: venv ## build the tests' control plane from its Go modules (once; about 8 minutes on 2 cores)
	@$(BIN)/python scripts/kube.py

lock: venv ## pin the newest versions that pyproject.toml allows, with their hashes, in locks/
	@$(BIN)/python -m pip install -q uv
	@BIN=$(BIN) bash scripts/lock.sh --upgrade

clean: ## remove what was made here (the built control plane stays in the user's cache)
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .pytest-kind dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
